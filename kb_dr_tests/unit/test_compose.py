"""deploy/compose is what Docker Compose takes, and holds together; no engine is needed to see it.

That its services start, and work together, is in end_to_end/test_compose.py.
"""

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kb_dr.settings import load_settings
from kb_dr.settings.hosts import is_local
from kb_dr_tests.containers import COMPOSE, ROOT, compose_model, instructions

MODEL = compose_model("kb-db,s3,prepare")
SERVICES: dict[str, Any] = MODEL["services"]
OURS = sorted(name for name, each in SERVICES.items() if "build" in each)
LASTING = sorted(set(SERVICES) - {"network", "init", "prepare"})
NOT_SETTINGS = {
    "DAGSTER_HOME", "PGPASSFILE", "PYTHONWARNINGS", "KB_DR_DAGSTER_PG_PASSWORD_FILE",
    "KB_DR_DAGSTER_PG_HOST", "KB_DR_DAGSTER_PG_PORT", "KB_DR_DAGSTER_PG_USER",
    "KB_DR_DAGSTER_PG_DB",
}  # fmt: skip
"""Of other programs, and of dagster.yaml."""


@pytest.mark.parametrize("profiles", ["", "kb-db", "s3", "kb-db,s3"])
def test_compose_takes_the_file_with_any_of_its_profiles(profiles: str) -> None:
    left_out = {"kb-db": {"kb-db"}, "s3": {"s3-primary", "s3-offsite"}}
    expected = set(SERVICES) - {"prepare"}
    for profile, names in left_out.items():
        if profile not in profiles.split(","):
            expected -= names

    assert set(compose_model(profiles)["services"]) == expected


def test_the_database_and_the_servers_run_unless_they_are_left_out() -> None:
    assert {"kb-db", "s3-primary", "s3-offsite"} <= set(compose_model()["services"])


@pytest.mark.parametrize("name", LASTING)
def test_every_lasting_service_comes_back_and_says_whether_it_is_well(name: str) -> None:
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", [name for name in OURS if name != "prepare"])
def test_what_is_ours_may_do_little(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service
    assert not service.get("privileged")


def test_all_speak_on_one_loopback() -> None:
    others = {name for name in SERVICES if name not in ("network", "prepare")}

    assert {SERVICES[name]["network_mode"] for name in others} == {"service:network"}
    for name in others:
        assert "network" in SERVICES[name]["depends_on"], name


def test_only_loopback_ports_are_published() -> None:
    published = [port for each in SERVICES.values() for port in each.get("ports", ())]

    assert {port["host_ip"] for port in published} == {"127.0.0.1"}
    assert {port["target"] for port in published} == {3000, 5432}


def test_only_what_is_published_listens_beyond_loopback() -> None:
    everywhere = {
        name
        for name, each in SERVICES.items()
        if re.search(r"0\.0\.0\.0|=\*", str(each["command"]))
    }
    assert everywhere == {"kb-db", "webserver"}


def test_no_secret_stands_in_the_file() -> None:
    for file in (COMPOSE / "compose.yaml", COMPOSE / ".env"):
        for name, value in re.findall(
            r"^\s*-?\s*(\w+)[:=] *(\S.*)$", file.read_text(), re.MULTILINE
        ):
            if re.search(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY", name):
                assert value.startswith("/run/secrets/"), name


def test_each_secret_is_one_that_prepare_makes_and_goes_to_few() -> None:
    made = set(
        re.findall(r"(?:keep|keep) ([\w.]+) 0", (ROOT / "deploy/image/kb-dr-prepare").read_text())
    )
    holders: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for each in service.get("secrets", ()):
            holders.setdefault(each["source"], set()).add(name)

    assert set(MODEL["secrets"]) == made == set(holders)
    assert holders["kb.agekey"] == {"code-location"}
    assert holders["kb_db_password"] == {"kb-db"}
    assert holders["kb_dr.env"] == {"init", "wal-stream", "code-location"}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_secret_that_is_named_is_given(name: str) -> None:
    service = SERVICES[name]
    named = set(re.findall(r"/run/secrets/([\w.]+)", json.dumps(service.get("environment", {}))))
    named |= set(re.findall(r"/run/secrets/([\w.]+)", json.dumps(service.get("command", []))))

    assert named == {each["source"] for each in service.get("secrets", ())}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_is_read(name: str) -> None:
    known = set(re.findall(r"^(\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    assert set(SERVICES[name].get("environment", {})) <= known | NOT_SETTINGS


def test_the_variables_of_dagster_are_those_of_its_configuration() -> None:
    wanted = set(re.findall(r"env: (\w+)}", (ROOT / "dagster.yaml").read_text()))
    wanted = {name for name in wanted if name.startswith("KB_DR_DAGSTER_")}
    for name in ("code-location", "webserver", "daemon"):
        given = {each.removesuffix("_FILE") for each in SERVICES[name]["environment"]}
        assert wanted <= given, name


def test_the_code_location_is_where_the_workspace_looks() -> None:
    server = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"][0]["grpc_server"]
    command = SERVICES["code-location"]["command"]

    assert command[command.index("-h") + 1] == server["host"]
    assert command[command.index("-p") + 1] == str(server["port"])
    assert is_local(server["host"])


def test_every_volume_lies_where_the_image_gives_it_to_its_user() -> None:
    (made,) = [rest for word, rest in instructions() if word == "RUN" and "useradd" in rest]
    for name in OURS:
        for volume in SERVICES[name].get("volumes", ()):
            if volume["type"] == "volume":
                assert f" {volume['target']}" in made, volume["target"]


def test_the_settings_that_prepare_writes_can_be_used(tmp_path: Path) -> None:
    done = _prepared(tmp_path)

    settings = load_settings({}, env_file=tmp_path / "kb_dr.env")

    assert done.stdout.count("made secrets/") == 7
    assert settings.copies == ("primary", "offsite")
    assert settings.catalog is not None
    assert is_local(settings.source.host)


def test_prepare_changes_nothing_that_is_there(tmp_path: Path) -> None:
    _prepared(tmp_path)
    (tmp_path / "pgpass").unlink()
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    done = _prepared(tmp_path)

    assert done.stdout.count("made secrets/") == 1
    after = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert before.items() < after.items()
    password = (tmp_path / "kb_db_password").read_text()
    assert f":postgres:{password}\n" in (tmp_path / "pgpass").read_text()


def test_what_prepare_makes_is_open_to_no_other(tmp_path: Path) -> None:
    _prepared(tmp_path)

    open_to_all = {each.name for each in tmp_path.iterdir() if each.stat().st_mode & 0o077}
    # Read by servers with users of their own; the directory keeps everybody else out.
    assert open_to_all == {"kb_db_password", "ops_db_password"}


def _prepared(directory: Path) -> "subprocess.CompletedProcess[str]":
    owner = directory.stat()
    return subprocess.run(
        [ROOT / "deploy/image/kb-dr-prepare", directory, str(owner.st_uid), str(owner.st_gid)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_the_dockerfile_passes_its_linter() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")


def test_everything_the_image_copies_is_in_its_context() -> None:
    let_in = [
        line[2:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:2] == "!/"
    ]
    copied = [
        source.rstrip("/")
        for word, rest in instructions()
        if word == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    ]
    assert sorted(copied) == sorted(let_in)
    assert [each for each in copied if not (ROOT / each).exists()] == []
    # Nothing the build wants is missing: what pyproject.toml names lies in there, too.
    named = re.findall(
        r'"([\w./-]+)" = "kb_dr/|readme = "(.+)"', (ROOT / "pyproject.toml").read_text()
    )
    assert {one or other for one, other in named} <= set(copied)


def test_nothing_private_can_get_into_the_image() -> None:
    first = next(
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and line[0] != "#"
    )
    let_in = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"]

    assert first == "*"
    for private in (".env", "sandbox/kb_dr.env", "deploy/compose/secrets/kb.agekey", ".git/config"):
        assert not any(fnmatch.fnmatch(private, f"{each[2:]}*") for each in let_in), private


def test_the_image_runs_as_a_user_that_is_not_root() -> None:
    assert [rest for word, rest in instructions() if word == "USER"] == [
        "${KB_DR_UID}:${KB_DR_GID}"
    ]
    assert dict(
        rest.split("=", 1) for word, rest in instructions() if word == "ARG" and "ID=" in rest
    ) == {"KB_DR_UID": "1000", "KB_DR_GID": "1000"}


def test_every_program_of_the_image_is_there_and_can_be_run() -> None:
    ours = {each.name for each in (ROOT / "deploy" / "image").iterdir()}
    venv = Path(sys.executable).parent
    for name in OURS:
        service = SERVICES[name]
        tests = [service["healthcheck"]["test"][1:]] if "healthcheck" in service else []
        for words in (service["command"], *tests):
            program = words[1] if words[0] == "kb-dr-with-secrets" else words[0]
            assert program == "sleep" or program in ours or (venv / program).exists(), program
    for each in (ROOT / "deploy" / "image").iterdir():
        assert each.stat().st_mode & 0o111 == 0o111, each
