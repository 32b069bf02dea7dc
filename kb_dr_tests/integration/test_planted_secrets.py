"""A secret in every setting that takes one, and none of them anywhere a person may look.

Which settings those are is read from the types of Settings: a new one is missed here until it is
planted. Looked at are what commands say, what their children are called with, what they leave in
their directories, and what Dagster keeps of a run.
"""

import base64
import dataclasses
import json
import os
import subprocess
import sys
import threading
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from kb_dr.cli.app import app
from kb_dr.settings import Secret, Settings, load_settings
from kb_dr_tests.protected_service import BUCKET, ProtectedService, Said, Service, environment
from kb_dr_tests.sinks.ping_sink import PingSink

MARK = "pl4nted"


def secret(name: str) -> str:
    """A secret like no other, with characters that addresses and JSON write in another way."""
    return f"{MARK}+{name}/&={name[::-1]}"


class Planted(typing.NamedTuple):
    """A service with secrets everywhere, and what was seen of it."""

    service: Service
    values: dict[str, str]
    seen: dict[str, str]
    """Where to what was said there."""


def planted_settings(service: ProtectedService, directory: Path, sink: PingSink) -> dict[str, str]:
    """Every secret setting there is: none of them is right, but for the source's password."""
    nowhere = "http://127.0.0.1:9"
    files = {}
    for name in ("KB_DR_CATALOG_PASSWORD_FILE", "KB_DR_SMTP_PASSWORD_FILE"):
        files[name] = str(directory / name.lower())
        Path(files[name]).write_text(secret(name))
        Path(files[name]).chmod(0o600)
    endpoint = service.settings["KB_DR_REPOSITORY_ENDPOINT_URL"]
    return (
        service.settings
        | {f"KB_DR_PING_{work}_URL": f"{nowhere}/{MARK}-{work.lower()}" for work in
           ("INCREMENT", "COPY", "WAL", "DRILL", "RETENTION", "WATCH")}
        | {f"KB_DR_PING_{work}_URL": sink.url(f"{MARK}-{work.lower()}") for work in
           ("BACKUP", "VERIFY")}
        | files
        | {
            "KB_DB_USER": "planted",
            "KB_DB_PASSWORD": secret("database"),
            "KB_DR_REPOSITORY_ENDPOINT_URL": endpoint,
            "KB_DR_REPOSITORY_ACCESS_KEY_ID": "",
            "KB_DR_REPOSITORY_SECRET_ACCESS_KEY": "",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": secret("aws"),
            "AWS_SESSION_TOKEN": secret("token"),
            "KB_DR_OFFSITE_URL": f"s3://{BUCKET}/other",
            "KB_DR_OFFSITE_ENDPOINT_URL": endpoint,
            "KB_DR_OFFSITE_ACCESS_KEY_ID": "somebody",
            "KB_DR_OFFSITE_SECRET_ACCESS_KEY": secret("offsite"),
            "KB_DR_S3_TIMEOUT_SECONDS": "3",
            "KB_DR_WAL_DEADLINE_SECONDS": "1",
            "KB_DR_STATE_DIR": str(directory / "state"),
            "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
            "KB_DR_CATALOG_URL": f"postgresql://planted@/none?host={service.settings['KB_DB_HOST']}",
            "KB_DR_SLACK_WEBHOOK_URL": f"{nowhere}/services/{MARK}/webhook",
            "KB_DR_SLACK_BOT_TOKEN": secret("bot"),
            "KB_DR_SLACK_CHANNEL": "C0123456789",
            "KB_DR_SLACK_API_URL": f"{nowhere}/api/",
            "KB_DR_EMAIL_TO": "nobody@localhost",
            "KB_DR_EMAIL_FROM": "kb@localhost",
            "KB_DR_SMTP_HOST": "127.0.0.1",
            "KB_DR_SMTP_PORT": "9",
            "KB_DR_SMTP_USER": "kb",
            "KB_DR_SMTP_TLS": "off",
            "KB_DR_PAGERDUTY_ROUTING_KEY": secret("routing"),
            "KB_DR_PAGERDUTY_URL": nowhere,
            "KB_DR_WEBHOOK_URL": f"{nowhere}/{MARK}/hook",
            "KB_DR_WEBHOOK_SECRET": secret("signature"),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def planted(
    protected_service: ProtectedService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Planted]:
    """All of it done once: what was said and left is looked at by each test."""
    directory = tmp_path_factory.mktemp("planted")
    cluster = protected_service.cluster
    rules = cluster.data / "pg_hba.conf"
    before = rules.read_text()
    cluster.query(
        f"create role planted superuser replication login password '{secret('database')}'"
    )
    rules.write_text(f"local all,replication planted scram-sha-256\n{before}")
    cluster.query("select pg_reload_conf()")
    try:
        with PingSink() as sink, arguments_of_all() as arguments:
            service = Service(directory, planted_settings(protected_service, directory, sink))
            seen = everything_said(protected_service, service)
            seen |= everything_left(service)
            seen["arguments of processes"] = "\n".join(sorted(arguments))
            for check in ("backup", "verify"):
                pings = sink.pings(f"{MARK}-{check}")
                assert pings, f"nothing was told of {check}"
                seen[f"pings of {check}"] = "\n".join(ping.body for ping in pings)
            yield Planted(service, planted_values(load_settings(service.settings)), seen)
    finally:
        rules.write_text(before)
        cluster.query("select pg_reload_conf()")
        cluster.query("drop role planted")


def everything_said(real: ProtectedService, service: Service) -> dict[str, str]:
    """What commands and a Dagster run say, right and wrong, of repositories that answer and not."""
    right = {
        "KB_DR_REPOSITORY_URL": str(real.directory / "offsite"),
        "KB_DR_OFFSITE_URL": str(service.directory / "offsite"),
    }
    (service.directory / "offsite").mkdir()
    wrong = {"KB_DB_PASSWORD": secret("wrong")}
    commands: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("doctor",), {}),
        (("doctor", "--json"), wrong),
        (("status",), {}),
        (("status", "--nagios"), {}),
        (("backup", "full"), wrong | right),
        (("verify", "--from", "primary"), right),
        (("catalog", "sync"), right),
        (("copy",), {}),
    ]
    verbs = app.list_commands(typing.cast("typing.Any", None))
    commands += [
        (words, {})
        for words in (("alerts", "test"), ("metrics", "textfile", "."), ("watch",))
        if words[0] in verbs
    ]
    seen = {}
    for words, more in commands:
        log_format = "text" if words[0] == "status" else "json"
        said = service.run("--verbose", *words, KB_DR_LOG_FORMAT=log_format, **more)
        assert said.out + said.err or words[0] == "metrics", words
        assert "Usage: " not in said.err, said
        seen[f"kb-dr {' '.join(words)}"] = said.out + said.err
        if words[0] == "verify":
            assert said.status == 0, said
    seen["retention_job"] = dagster_run(service).out
    return seen


def dagster_run(service: Service) -> Said:
    """A run that fails on repositories that refuse it; its event log and what it wrote stay."""
    home = service.directory / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    settings = service.settings | {"DAGSTER_HOME": str(home), "KB_DR_LOG_FORMAT": "json"}
    words = ["-m", "dagster", "job", "execute", "-m", "kb_dr.definitions", "-j", "retention_job"]
    done = subprocess.run(
        [sys.executable, *words],
        env=environment(settings),
        cwd=service.directory,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "RUN_FAILURE" in done.stdout + done.stderr
    return Said(done.returncode, done.stdout + done.stderr, "")


def everything_left(service: Service) -> dict[str, str]:
    """Every file of the service, but those the secrets were given in."""
    given = {service.env_file, *service.directory.glob("kb_dr_*_file")}
    return {
        str(file.relative_to(service.directory)): file.read_bytes().decode(errors="replace")
        for file in service.directory.rglob("*")
        if file.is_file() and file not in given
    }


@contextmanager
def arguments_of_all() -> Iterator[set[str]]:
    """The arguments of every process that was seen meanwhile."""
    found: set[str] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.03):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    found.add((process / "cmdline").read_bytes().decode(errors="replace"))
                except OSError:
                    continue

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield found
    finally:
        over.set()
        looking.join()


def secret_fields(kind: typing.Any, seen: set[typing.Any]) -> set[str]:
    """The fields of a type, and of those it is made of, that hold a secret or name its file."""
    found: set[str] = set()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in seen:
        seen.add(kind)
        for name, hint in typing.get_type_hints(kind).items():
            if Secret in parts_of(hint) or (name.endswith("_file") and name != "env_file"):
                found.add(f"{kind.__name__}.{name}")
            for part in parts_of(hint):
                found |= secret_fields(part, seen)
    return found


def parts_of(hint: typing.Any) -> set[typing.Any]:
    """The types a type is made of: of unions, dictionaries, tuples."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is not None:
        return {part for each in typing.get_args(hint) for part in parts_of(each)}
    return {hint}


def planted_values(value: typing.Any, where: str = "") -> dict[str, str]:
    """Field to the secret in it, of settings as they were read."""
    if isinstance(value, Secret):
        return {where: value.reveal()}
    if isinstance(value, Path):
        name = where.rpartition(".")[2]
        return {where: value.read_text()} if name.endswith("_file") and value.is_file() else {}
    if isinstance(value, dict):
        return {
            key: text
            for name, each in value.items()
            for key, text in planted_values(each, f"{where}[{name}]" if where else name).items()
        }
    if dataclasses.is_dataclass(value):
        return {
            key: text
            for field in dataclasses.fields(value)
            for key, text in planted_values(
                getattr(value, field.name), f"{type(value).__name__}.{field.name}"
            ).items()
        }
    return {}


def test_a_secret_is_planted_in_every_setting_that_takes_one(planted: Planted) -> None:
    held = {name.split("[")[0] for name in planted.values}

    assert held == secret_fields(Settings, set())
    right = {"Settings.identity_file"}
    assert all(MARK in text for name, text in planted.values.items() if name not in right)


def test_no_secret_is_said_or_left_anywhere(planted: Planted) -> None:
    texts = set(planted.values.values()) | {secret("wrong")}
    forms = {MARK, "AGE-SECRET-KEY-1"}
    for text in texts:
        forms |= {text.strip(), quote(text), quote(text, safe=""), json.dumps(text)[1:-1]}
        forms.add(base64.b64encode(text.encode()).decode().rstrip("=")[:-1])

    found = {
        where: text[max(0, text.index(form) - 80) : text.index(form) + 80]
        for where, text in planted.seen.items()
        for form in forms
        if form in text
    }

    assert not found


def test_what_was_looked_at_is_where_secrets_would_be(planted: Planted) -> None:
    # Each of these says what the secret beside it was refused for.
    assert "password authentication failed" in planted.seen["kb-dr backup full"]
    assert "ping of copy was not taken" in planted.seen["kb-dr copy"]
    (missed,) = (
        json.loads(line)
        for line in planted.seen["retention_job"].splitlines()
        if "ping of retention was not taken" in line and "fail ping" in line
    )
    assert missed["run_id"]
    assert missed["service"] == "kb"
    assert "postgres" in planted.seen["arguments of processes"]
    kept = [text for where, text in planted.seen.items() if where.startswith("dagster/")]
    assert any("RepositoryRefused" in text for text in kept)
    assert os.environ.get("KB_DB_PASSWORD") is None
