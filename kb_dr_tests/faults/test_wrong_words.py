"""What a tired person types: a message that helps, exit code 2, and nothing changed."""

import os
import subprocess
from pathlib import Path

import pytest

from kb_dr_tests.protected_service import (
    SECONDS,
    ProtectedService,
    Said,
    Service,
    environment,
)

BACKUP = "kb-full-20200101-000000"
SECRET = "not-to-be-shown-anywhere"


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["frobnicate"], 2, "No such command 'frobnicate'"),
        (["backup"], 2, "Usage"),
        (["show", "nonsense"], 2, "expected the form kb-full-"),
        (["show", BACKUP], 41, "no copy holds anything of that name"),
        (["verify", BACKUP], 41, "no such backup"),
        (["verify", "--from", "mars"], 2, "primary"),
        (["restore", "--into", "x"], 2, "no target was given"),
        (["restore", "--latest", "--backup", BACKUP, "--into", "x"], 41, "no such backup"),
        (["restore", "--latest"], 2, "--into"),
        (["restore", "--dump", "--target-time", "x"], 2, "one moment alone"),
        (["restore", "--dump", "--into", "x"], 2, "a dump goes into a database"),
        (["restore", "--latest", "--into", "x", "--table", "t"], 2, "--table goes with a dump"),
        (["restore", "--into", "postgresql:///kb"], 2, "no dump was named"),
        (["restore", "--file", "x", "--dump"], 2, "more than one dump was named"),
        (["list", "--env-file", "x"], 2, "before the verb"),
        (["init"], 0, ""),
    ],
)
def test_words_that_make_no_sense(
    protected_service: ProtectedService, words: list[str], status: int, text: str
) -> None:
    known = protected_service.backups()

    protected_service.run(*words).require(status, text)

    assert protected_service.backups() == known


@pytest.mark.parametrize(
    ("words", "settings", "status", "text"),
    [
        (["verify", "--from", "offsite"], {"KB_DR_OFFSITE_URL": ""}, 2, "KB_DR_OFFSITE_URL"),
        (["copy"], {"KB_DR_OFFSITE_URL": ""}, 2, "KB_DR_OFFSITE_URL"),
        (["backup", "full"], {"KB_DR_AGE_RECIPIENTS": ""}, 2, "age-keygen"),
        (["backup", "full"], {"KB_DR_POSTGRES_BIN_DIRS": "/nowhere", "PATH": "/usr/bin:/bin"},
         27, "KB_DR_POSTGRES_BIN_DIRS"),
        (["list"], {"KB_DR_SERVICE": "another"}, 19, "it belongs to service 'kb'"),
        (["verify"], {"KB_DR_AGE_IDENTITY_FILE": "/etc/passwd"}, 2, "age-keygen"),
        (["verify"], {"KB_DR_SCRATCH_DIR": "/etc/passwd"}, 62, "scratch directory"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(
    protected_service: ProtectedService,
    words: list[str],
    settings: dict[str, str],
    status: int,
    text: str,
) -> None:
    protected_service.run(*words, **settings).require(status, text)


def test_a_secret_in_the_wrong_place_is_not_shown_back(
    protected_service: ProtectedService,
) -> None:
    misplaced = {
        "KB_DR_AGE_RECIPIENTS": f"AGE-SECRET-KEY-{SECRET}",
        "KB_DR_AGE_IDENTITY_FILE": f"AGE-SECRET-KEY-{SECRET}",
        "KB_DR_REPOSITORY_URL": f"https://me:{SECRET}@host/bucket",
        "KB_DR_OFFSITE_URL": f"s3://me:{SECRET}@bucket",
        "KB_DB_HOST": f"postgresql://me:{SECRET}@host/kb",
        "KB_DR_DB_PASSWORD_FILE": SECRET,
    }

    said = protected_service.run("list", **misplaced).require(2, *misplaced)

    assert SECRET not in said.out + said.err
    into = f"postgresql://me:{SECRET}@host/kb"
    said = protected_service.run("restore", "--dump", "--into", into).require(2, "a password")
    assert SECRET not in said.out + said.err


def _run(words: list[str], settings: dict[str, str]) -> Said:
    done = subprocess.run(
        words, env=environment(settings), capture_output=True, text=True, timeout=SECONDS,
        check=False,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("none.env", None, "no such file"),
        (
            "broken.env",
            b"KB_DR_ORG='default'\nKB_DB_PASSWORD='not-to-be-shown-anywhere\n",
            "line 2",
        ),
        ("binary.env", b"\xff\xfe\x00=", "not text"),
        ("broken.yaml", b"a: [\nKB_DB_PASSWORD: not-to-be-shown-anywhere", "no YAML"),
        ("list.yaml", b"- one\n", "NAME: value"),
        ("none.yaml", None, "No such file"),
    ],
)
def test_a_settings_file_that_cannot_be_read(
    protected_service: ProtectedService,
    tmp_path: Path,
    name: str,
    content: bytes | None,
    text: str,
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    variable = "KB_DR_ENV_FILE" if name.endswith("env") else "KB_DR_CONFIG"
    words = protected_service.words("list")
    del words[words.index("--env-file") : words.index("list")]

    said = _run(words, {variable: str(file)}).require(2, name, text)

    assert SECRET not in said.out + said.err


def test_a_settings_file_behind_a_closed_door(
    protected_service: ProtectedService, tmp_path: Path
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "kb_dr.env").write_text("")
    closed.chmod(0)
    words = protected_service.words("list")
    words[words.index("--env-file") + 1] = str(closed / "kb_dr.env")
    if os.geteuid() == 0:
        # Without what lets root through any door.
        words = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *words]
    try:
        _run(words, {}).require(2, "Permission denied")
    finally:
        closed.chmod(0o700)


def test_init_takes_no_place_where_something_stands(
    protected_service: ProtectedService, tmp_path: Path
) -> None:
    place = tmp_path / "of-somebody"
    place.mkdir()
    (place / "letter").write_text("kept")
    before = sorted(tmp_path.rglob("*"))
    elsewhere = Service(tmp_path / "service", protected_service.settings | {
        "KB_DR_REPOSITORY_URL": str(place), "KB_DR_OFFSITE_URL": ""
    })  # fmt: skip

    elsewhere.run("init").require(19, "not empty")
    elsewhere.run("list").require(19)

    assert [path for path in sorted(tmp_path.rglob("*")) if elsewhere.directory not in
            (path, *path.parents)] == before  # fmt: skip


@pytest.mark.parametrize("words", ["list", "--help"])
def test_output_that_nobody_reads_or_that_fits_nowhere(
    protected_service: ProtectedService, words: str
) -> None:
    line = " ".join(protected_service.words(*words.split()))

    for where in ("| true", "> /dev/full"):
        done = _run(["bash", "-c", f"set -o pipefail; {line} {where}"], {})
        assert "Traceback" not in done.err, done.err
        assert done.status in (0, 1), done
