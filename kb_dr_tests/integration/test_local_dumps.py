"""The acceptance of dumps in files: written by a script, believed by the usual programs, restored
by psql alone, looked at without a restore; and whatever goes wrong leaves nothing."""

import gzip
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from kb_dr.domain.local_dump import DumpTail, parse_line
from kb_dr_tests.dumped_service import DATABASE, DumpedService
from kb_dr_tests.protected_service import SECONDS, Said, environment
from kb_dr_tests.sinks.ping_sink import PingSink

SCRIPTS = Path(__file__).parents[2] / "scripts"


def script(service: DumpedService, name: str, *words: str, cwd: Path, **settings: str) -> Said:
    """Run one of the scripts as somebody would, from somewhere."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(SCRIPTS / name), *words],
        env=environment({"KB_DR_ENV_FILE": str(service.env_file), "PATH": path, **settings}),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("somewhere") / "my dumps"


@pytest.fixture(scope="module")
def plain(dumped_service: DumpedService, place: Path) -> Path:
    """What the script wrote, started elsewhere, into a directory that was not there."""
    said = script(
        dumped_service, "backup-kb.sh", "--local", "--output-dir", place.name, "--yes",
        cwd=place.parent,
    ).require(0, "MD5", "rows in", "backup-kb.sh: done")  # fmt: skip
    path, sha256 = said.out.splitlines()
    assert len(sha256) == 64
    assert Path(path).with_name(Path(path).name + ".sha256").read_text().startswith(sha256)
    return Path(path)


@contextmanager
def new_database(service: DumpedService, name: str) -> Iterator[str]:
    service.cluster.query(f"create database {name} template template0")
    try:
        yield name
    finally:
        service.cluster.query(f"drop database {name} with (force)")


def restore_by_hand(service: DumpedService, line: str, **words: str) -> None:
    """Type a line, with PostgreSQL's own programs on the path and nothing of ours."""
    programs = service.cluster.programs
    known = programs.environment(
        {"PGHOST": str(service.cluster.sockets), "PGUSER": "postgres", **words}
    )
    done = subprocess.run(
        ["bash", "-c", f"set -euo pipefail; {line}"],
        env={**known, "PATH": f"{programs.bin_dir}:{known['PATH']}"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def counts(service: DumpedService, database: str) -> Mapping[str, int]:
    """Rows of every table, and large objects."""
    found = service.cluster.query(
        "select format('%I.%I', table_schema, table_name), (xpath('/row/c/text()', query_to_xml("
        " format('select count(*) as c from %I.%I', table_schema, table_name), false, true, '')"
        "))[1]::text::int from information_schema.tables where table_type = 'BASE TABLE'"
        " and table_schema not in ('pg_catalog', 'information_schema')"
        " union all select 'large objects', count(*) from pg_largeobject_metadata",
        database=database,
    )
    return dict(found)


def tail_of(path: Path) -> DumpTail:
    tail = parse_line(gzip.decompress(path.read_bytes()).splitlines(keepends=True)[-1])
    assert isinstance(tail, DumpTail)
    return tail


def test_sha256sum_and_gunzip_accept_what_was_written(plain: Path) -> None:
    for words in (["sha256sum", "-c", f"{plain.name}.sha256"], ["gunzip", "-t", plain.name]):
        done = subprocess.run(words, cwd=plain.parent, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    assert sorted(os.listdir(plain.parent)) == [plain.name, f"{plain.name}.sha256"]
    assert oct(plain.stat().st_mode & 0o777) == "0o600"


def test_psql_alone_restores_it_with_equal_counts(
    dumped_service: DumpedService, plain: Path
) -> None:
    with new_database(dumped_service, "by_psql") as name:
        restore_by_hand(
            dumped_service,
            'gunzip -c "$FILE" | psql -X -1 -q -o /dev/null -v ON_ERROR_STOP=1 "$NEW"',
            FILE=str(plain), NEW=name,
        )  # fmt: skip

        restored = counts(dumped_service, name)
    assert restored == counts(dumped_service, DATABASE)
    assert restored["large objects"] == 1
    for table, rows in tail_of(plain).rows.items():
        assert restored[table] == rows


def test_the_script_validates_it_from_anywhere(dumped_service: DumpedService, plain: Path) -> None:
    relative = f"{plain.parent.name}/{plain.name}"

    said = script(
        dumped_service, "validate-backup.sh", "--backup-file", relative, cwd=plain.parent.parent
    ).require(0)

    assert "PASS: " in said.out
    assert "as recorded" in said.out


def test_a_damaged_file_fails_with_the_finding_that_names_it(
    dumped_service: DumpedService, plain: Path, tmp_path: Path
) -> None:
    body = bytearray(plain.read_bytes())
    body[len(body) // 2] ^= 0x20
    bad = tmp_path / plain.name
    bad.write_bytes(body)
    bad.with_name(f"{bad.name}.sha256").write_text(
        plain.with_name(f"{plain.name}.sha256").read_text()
    )

    said = script(
        dumped_service, "validate-backup.sh", "--backup-file", str(bad), cwd=tmp_path
    ).require(60, "validate ")

    assert "FAIL: " in said.out
    assert "sha256 " in said.out


@pytest.mark.parametrize(("form", "line"), [
    ("custom", 'pg_restore -e -j 2 -d "$NEW" "$FILE"'),
    ("directory", 'pg_restore -e -j 2 -d "$NEW" "$FILE"'),
])  # fmt: skip
def test_archives_are_restored_by_pg_restore_and_validated_to_their_end(
    dumped_service: DumpedService, tmp_path: Path, form: str, line: str
) -> None:
    said = dumped_service.run(
        "backup", "dump", "--to", str(tmp_path), "--format", form, "--jobs", "2", "--json"
    ).require(0)
    path = Path(json.loads(said.out)["dump"]["path"])
    found = dumped_service.opened().validate_file(path, NoProgress())
    assert found.verdict == "PASS", found.findings
    listed = subprocess.run(
        ["sha256sum", "-c", f"{path.name}.sha256"], cwd=tmp_path, capture_output=True, check=False
    )
    assert listed.returncode == 0
    uncompressed = 'if pg_restore -l "$FILE" | grep -E "Compression: (none|0)$"; then exit 1; fi'
    restore_by_hand(dumped_service, uncompressed, FILE=str(path))
    with new_database(dumped_service, "by_pg_restore") as name:
        restore_by_hand(dumped_service, line, FILE=str(path), NEW=name)
        assert counts(dumped_service, name) == counts(dumped_service, DATABASE)

    last = path if form == "custom" else sorted(path.glob("*.gz"))[-1]
    os.truncate(last, last.stat().st_size - 20)

    cut_short = dumped_service.opened().validate_file(path, NoProgress(), checksum=False)
    bad = [each.subject for each in cut_short.findings if not each.good]
    assert (cut_short.verdict, bad) == ("FAIL", ["archive"]), cut_short.findings


class NoProgress:
    """Nobody is told."""

    def begin(self, phase: str, total_bytes: int | None = None) -> None: ...

    def advance(self, count: int) -> None: ...

    def end(self) -> None: ...


@pytest.mark.parametrize("form", ["plain", "custom", "directory"])
def test_a_full_disk_is_named_and_nothing_is_left(
    dumped_service: DumpedService, tmp_path: Path, form: str
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    within = (
        'mount -t tmpfs -o size=8k,mode=0700 tmpfs "$0"; "$@"; status=$?; ls -A "$0"; exit $status'
    )

    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", within, str(small),
         *dumped_service.words("backup", "dump", "--to", str(small), "--format", form)],
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )  # fmt: skip

    Said(done.returncode, done.stdout, done.stderr).require(47, str(small), "free there")
    assert done.stdout == "", "a line for each file that is left, hidden or not"


@contextmanager
def stuck(
    service: DumpedService, place: Path, form: str, tmp_path: Path
) -> Iterator["subprocess.Popen[str]"]:
    """A dump whose pg_dump has written something, and writes no more."""
    real = service.cluster.programs.bin_dir
    programs = tmp_path / "programs" / "bin"
    programs.mkdir(parents=True)
    (programs.parent / "lib").symlink_to(real.parent / "lib")
    for each in real.iterdir():
        if each.name != "pg_dump":
            (programs / each.name).symlink_to(each)
    marker = tmp_path / "half"
    fake = programs / "pg_dump"
    fake.write_text(
        f'#!/bin/bash\n[ "$1" = --version ] && exec "{real}/pg_dump" --version\n'
        f'"{real}/pg_dump" "$@" | head -c 20000\ntouch "{marker}"\nexec sleep 60\n'
    )
    fake.chmod(0o755)
    process = service.start(
        "backup", "dump", "--to", str(place), "--format", form,
        KB_DR_POSTGRES_BIN_DIRS=str(programs),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + SECONDS
        while not marker.exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_kill_half_way_leaves_nothing(dumped_service: DumpedService, tmp_path: Path) -> None:
    place = tmp_path / "place"

    with stuck(dumped_service, place, "plain", tmp_path) as process:
        process.send_signal(signal.SIGKILL)

    assert os.listdir(place) == []


def test_what_a_killed_dump_of_a_directory_left_goes_with_the_next(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    place = tmp_path / "a place with spaces"
    with stuck(dumped_service, place, "directory", tmp_path) as process:
        process.send_signal(signal.SIGKILL)
    assert [each for each in os.listdir(place) if not each.startswith(".")] == []

    said = dumped_service.run("backup", "dump", "--to", KB_BACKUP_LOCAL_PATH=str(place)).require(0)

    written = Path(said.out.splitlines()[0]).name
    assert sorted(os.listdir(place)) == [written, f"{written}.sha256"]
    assert f"kb-dr validate {shlex.quote(str(place / written))}" in said.err  # as typed


def test_a_server_that_is_away_is_an_error_that_somebody_is_told_of(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    with PingSink() as sink:
        said = script(
            dumped_service, "backup-kb.sh", "--local", "--output-dir", str(tmp_path / "place"),
            cwd=tmp_path,
            KB_DB_HOST=str(tmp_path), KB_DR_PING_BACKUP_URL=sink.url("backup"),
        ).require(21, "backup-kb.sh: FAILED with exit code 21")  # fmt: skip

        assert [each.signal for each in sink.pings("backup")] == ["start", "fail"]
    assert said.out == ""
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("backup-kb.sh", ["--rds"], "come with RDS support"),
        ("backup-kb.sh", [], "--local or --rds"),
        ("backup-kb.sh", ["--local", "--rds"], "--local was given, too"),
        ("backup-kb.sh", ["--local", "--nonsense"], "--nonsense"),
        ("backup-kb.sh", ["--local", "--output-dir"], "no value follows"),
        ("backup-kb.sh", ["--local", "--format", "tar"], "tar"),
        ("validate-backup.sh", [], "--backup-file FILE"),
        ("validate-backup.sh", ["--backup-file"], "no value follows"),
        ("validate-backup.sh", ["kb.sql.gz"], "not a word"),
    ],
)
def test_wrong_words_are_refused_with_two(
    dumped_service: DumpedService, tmp_path: Path, name: str, words: list[str], said: str
) -> None:
    script(dumped_service, name, *words, cwd=tmp_path).require(2, said)


@pytest.mark.parametrize("name", ["backup-kb.sh", "validate-backup.sh"])
def test_each_script_says_all_its_words(
    dumped_service: DumpedService, tmp_path: Path, name: str
) -> None:
    assert "Exit code 0" in script(dumped_service, name, "--help", cwd=tmp_path).require(0).out
