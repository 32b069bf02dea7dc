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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from kb_dr.cli.app import app
from kb_dr.settings import Secret, Settings, load_settings
from kb_dr_tests.protected_service import BUCKET, ProtectedService, Said, Service, environment
from kb_dr_tests.sinks import (
    DROP,
    HANG,
    MailSink,
    PagerDutySink,
    SlackSink,
    WebhookSink,
    status,
)
from kb_dr_tests.sinks.ping_sink import PingSink

pytestmark = pytest.mark.timeout(900)  # a backup, a proof and a run, all before the first test

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


class Sinks(typing.NamedTuple):
    """At the other end of the channels; they know the secrets planted."""

    slack: SlackSink
    bot: SlackSink
    mail: MailSink
    pager: PagerDutySink
    hook: WebhookSink

    def answer_badly(self) -> None:
        """Each in a way of its own: a connection that breaks, a wrong token, an answer that
        repeats what it was told, no answer at all."""
        self.slack.answer_next(DROP)
        self.bot.answer_next(status(200, body=json.dumps({"ok": False, "error": secret("bot")})))
        self.mail.answer_next(status(451, body=secret("KB_DR_SMTP_PASSWORD_FILE")))
        self.pager.answer_next(status(400, body=f"no routing_key {secret('routing')}"))
        self.hook.answer_next(HANG)

    def shown(self) -> dict[str, str]:
        """What people see there."""
        events = [
            {name: each for name, each in event.items() if name != "routing_key"}
            for event in self.pager.messages
        ]
        return {
            "shown by slack": "\n".join(f"{each}" for each in self.slack.messages),
            "shown by the bot": "\n".join(f"{each}" for each in self.bot.messages),
            "shown as mail": "\n".join(
                f"{each.message.items()}\n{each.text}\n{each.html}" for each in self.mail.messages
            ),
            "shown by pagerduty": "\n".join(f"{each}" for each in events),
            "shown by the webhook": "\n".join(f"{each.content}" for each in self.hook.messages),
        }


@contextmanager
def listening_sinks() -> Iterator[Sinks]:
    """One of each."""
    with ExitStack() as stack:
        made = Sinks(
            stack.enter_context(SlackSink()),
            stack.enter_context(SlackSink()),
            stack.enter_context(MailSink(user="kb", password=secret("KB_DR_SMTP_PASSWORD_FILE"))),
            stack.enter_context(PagerDutySink()),
            stack.enter_context(WebhookSink(secret=secret("signature"))),
        )
        made.slack.webhook_path = f"/services/{MARK}/webhook"
        made.bot.token = secret("bot")
        made.pager.routing_key = secret("routing")
        made.hook.path = f"/{MARK}/hook"
        yield made


def planted_settings(
    service: ProtectedService, directory: Path, sink: PingSink, sinks: Sinks
) -> dict[str, str]:
    """Every secret setting there is: none of them is right, but for the source's password, the
    catalog's and those of the channels."""
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
            "KB_DR_SLACK_WEBHOOK_URL": sinks.slack.webhook_url,
            "KB_DR_SLACK_BOT_TOKEN": secret("bot"),
            "KB_DR_SLACK_CHANNEL": sinks.bot.channel,
            "KB_DR_SLACK_API_URL": sinks.bot.api_url,
            "KB_DR_EMAIL_TO": "nobody@localhost",
            "KB_DR_EMAIL_FROM": "kb@localhost",
            "KB_DR_SMTP_HOST": "127.0.0.1",
            "KB_DR_SMTP_PORT": str(sinks.mail.port),
            "KB_DR_SMTP_USER": "kb",
            "KB_DR_SMTP_TLS": "off",
            "KB_DR_SNS_TOPIC_ARN": "arn:aws:sns:eu-west-1:123456789012:kb",
            "KB_DR_SNS_ENDPOINT_URL": nowhere,
            "KB_DR_PAGERDUTY_ROUTING_KEY": secret("routing"),
            "KB_DR_PAGERDUTY_URL": sinks.pager.url,
            "KB_DR_WEBHOOK_URL": sinks.hook.webhook_url,
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
    cluster.query(
        f"create role keeper superuser login password '{secret('KB_DR_CATALOG_PASSWORD_FILE')}'"
    )
    cluster.query("create database planted_alerts")
    rules.write_text(
        "local all,replication planted scram-sha-256\n"
        f"local planted_alerts keeper scram-sha-256\n{before}"
    )
    cluster.query("select pg_reload_conf()")
    try:
        with PingSink() as sink, listening_sinks() as sinks, arguments_of_all() as arguments:
            settings = planted_settings(protected_service, directory, sink, sinks)
            service = Service(directory, settings)
            seen = everything_said(protected_service, service)
            seen |= everything_told(protected_service, service, sinks)
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
        cluster.query("drop database planted_alerts with (force)")
        cluster.query("drop role keeper")


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
        (words, {}) for words in (("metrics", "textfile", "."), ("watch",)) if words[0] in verbs
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


def everything_told(real: ProtectedService, service: Service, sinks: Sinks) -> dict[str, str]:
    """Alerts in which every secret stands: by channels that fail and then work, kept in the
    database, and once more while that refuses us."""
    seen = {}
    sinks.answer_badly()
    unreachable = {"KB_DR_SMTP_PORT": "9", "KB_DR_LOG_FORMAT": "json"}
    for words, more in (("badly", unreachable), ("well", {})):
        said = service.run("--verbose", "alerts", "test", **more)
        seen[f"kb-dr alerts test, answered {words}"] = said.out + said.err
    host = service.settings["KB_DB_HOST"]
    kept = {"KB_DR_CATALOG_URL": f"postgresql://keeper@/planted_alerts?host={host}"}
    bucket = {
        "KB_DR_REPOSITORY_URL": str(service.directory / "bucket"),
        "KB_DR_OFFSITE_URL": "",
    }
    service.run("init", **bucket).require(0)
    for where, more in (("database", kept), ("records", bucket)):
        sinks.answer_badly()
        sinks.hook.heal()  # it has hung once; that takes long
        sinks.hook.answer_next(status(500, body=secret("signature")))
        done = subprocess.run(
            [sys.executable, "-m", "kb_dr_tests.integration.planted_alerts", where],
            env=environment(service.settings | more),
            cwd=service.directory,
            capture_output=True,
            text=True,
            timeout=200,
        )
        assert done.returncode == 0, done.stderr
        seen[f"alerts kept in {where}"] = done.stdout + done.stderr
    listed = service.run("alerts", "list", "--all", "--json", **kept).require(0)
    seen["kb-dr alerts list"] = listed.out + listed.err
    for table in ("alert_log", "alert_deliveries", "alert_channels", "alert_notices"):
        rows = real.cluster.query(f"select * from {table}", database="planted_alerts")
        seen[f"outbox, {table}"] = "\n".join(f"{row}" for row in rows)
    return seen | sinks.shown()


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


def test_alerts_stand_without_secrets_wherever_they_were_kept_and_shown(planted: Planted) -> None:
    said = "cannot log in as"
    for where in ("slack", "the bot", "pagerduty", "the webhook"):
        assert said in planted.seen[f"shown by {where}"], where
    assert said in planted.seen["shown as mail"]
    assert said in planted.seen["outbox, alert_log"]
    assert said in planted.seen["outbox, alert_deliveries"]
    for place in ("bucket/alerts/", "state/alerts/"):
        assert any(
            said in text for where, text in planted.seen.items() if where.startswith(place)
        ), place


def test_each_channel_failed_and_its_lines_bear_the_id_that_the_alert_shows(
    planted: Planted,
) -> None:
    lines = [
        json.loads(line)
        for line in planted.seen["alerts kept in database"].splitlines()
        if line.startswith("{")
    ]
    waits = {each["message"].split()[4].rstrip(":"): each for each in lines
             if each["message"].startswith("an alert waits for")}  # fmt: skip
    sent = {each["message"].split()[-1]: each for each in lines
            if " went out by " in each["message"]}  # fmt: skip

    assert waits.keys() >= {"slack", "slack-bot", "email", "sns", "pagerduty", "webhook"}
    assert sent.keys() == {"slack", "slack-bot", "email", "pagerduty", "webhook"}
    for each in (*waits.values(), *sent.values()):
        assert each["alert_id"] in planted.seen["kb-dr alerts list"]
    assert sent["slack"]["alert_id"] in planted.seen["shown by slack"]
    assert sent["slack"]["alert_id"] in planted.seen["outbox, alert_log"]
