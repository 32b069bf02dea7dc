"""Archives of pg_dump go into running servers whole, or say what did not: real servers of two
majors, with names nobody should give.
"""

import gzip
import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr.adapters.database_server import PostgresDatabases
from kb_dr.domain.plain_dump import PlainDump
from kb_dr.domain.proof import Verdict
from kb_dr.domain.verdicts import verdict_of
from kb_dr.errors import (
    ChecksumMismatch,
    ConfigurationError,
    LoadFailed,
    PostgresProgramMissing,
    PostgresUnavailable,
    TargetLacks,
)
from kb_dr_tests.made_archives import dump, loader
from kb_dr_tests.postgres_servers import RunningCluster, fill, programs_of, source_settings

_ODD = 'We "ird" ☃ schema'
_ODD_SQL = '"We ""ird"" ☃ schema"'

_STATEMENTS = (
    'create role "ro le; 1"',
    f"create schema {_ODD_SQL}",
    f'grant usage on schema {_ODD_SQL} to "ro le; 1"',
    "create schema ext",
    "create extension pgcrypto schema ext",
    f'create table {_ODD_SQL}."ta\nble; x" (id serial primary key, v text, b bytea'
    " default ext.digest('a', 'sha256'))",
    f'alter table {_ODD_SQL}."ta\nble; x" owner to "ro le; 1"',
    f"insert into {_ODD_SQL}.\"ta\nble; x\" (v) values ('a'), (null)",
    "create table part (id int primary key) partition by range (id)",
    "create table part_1 partition of part for values from (0) to (10)",
    "insert into part values (1), (2)",
    f'create table child (id int primary key, p int references {_ODD_SQL}."ta\nble; x")',
    "insert into child values (1, 1)",
    "create view seen as select * from child",
    "create materialized view kept as select count(*) from child",
    'grant select on child to "ro le; 1"',
    "select lo_from_bytea(0, 'large')",
)


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """PostgreSQL 16 with databases `postgres` (a knowledge base) and `kb` (odd names)."""
    with RunningCluster(programs_of(16), tmp_path_factory.mktemp("old")) as cluster:
        fill(cluster, 200)
        cluster.query("create database kb")
        for each in _STATEMENTS:
            cluster.query(each, database="kb")
        yield cluster


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """An empty PostgreSQL 18 that knows the roles."""
    with RunningCluster(programs_of(18), tmp_path_factory.mktemp("new")) as cluster:
        cluster.query('create role "ro le; 1"')
        yield cluster


@pytest.fixture(scope="module")
def archive(old: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dump(old, "kb", tmp_path_factory.mktemp("archives") / "a dump.dump")


@pytest.fixture
def emptied(new: RunningCluster) -> Iterator[str]:
    """A new database of the new server; dropped at the end."""
    PostgresDatabases(source_settings(new)).create("t o")
    yield "t o"
    PostgresDatabases(source_settings(new)).drop("t o")


def _rows(cluster: RunningCluster, database: str) -> tuple[object, ...]:
    return (
        cluster.query(f'select id, v from {_ODD_SQL}."ta\nble; x" order by 1', database=database),
        cluster.query("select * from part order by 1", database=database),
        cluster.query("select * from child", database=database),
        cluster.query("select * from kept", database=database),
        cluster.query(
            "select convert_from(lo_get(oid), 'UTF8') from pg_largeobject_metadata",
            database=database,
        ),
    )


def test_everything_in_an_archive_is_loaded_with_names_nobody_should_give(
    old: RunningCluster, new: RunningCluster, archive: Path, emptied: str
) -> None:
    program = loader(new, 18)
    contents = program.contents(archive)

    notes = PostgresDatabases(source_settings(new)).create_extensions(
        emptied, {"pgcrypto": "0.1", "plpgsql": "1.0"}, contents.extension_schemas
    )
    passed = program.load(archive, emptied, jobs=2)

    assert _rows(new, emptied) == _rows(old, "kb")
    assert contents.extension_schemas == {"pgcrypto": "ext"}
    assert [each.name for each in contents.entries if each.kind == "TABLE DATA"] == [
        "ta\nble; x",
        "child",
        "part_1",
    ]
    assert notes[0].startswith("extension pgcrypto: version 1.")
    assert [each.split(" (")[0] for each in passed] == ['schema "ext" already exists']
    assert program.tools["pg_restore"].startswith("18.")


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_directory_is_loaded_and_what_is_not_wanted_stays_out(
    old: RunningCluster, new: RunningCluster, emptied: str, tmp_path: Path, jobs: int
) -> None:
    directory = dump(old, "kb", tmp_path / "a directory", form="directory")
    program = loader(new, 18)
    entries = program.contents(directory).entries

    program.load(
        directory,
        emptied,
        jobs=jobs,
        entries=[each.id for each in reversed(entries) if not each.kind.startswith("BLOB")],
        owners=False,
        grants=False,
    )

    assert _rows(new, emptied)[:4] == _rows(old, "kb")[:4]
    assert new.query("select * from pg_largeobject_metadata", database=emptied) == []
    owners = new.query(
        "select distinct relowner::regrole::text from pg_class where relname in ('child', %s)",
        ["ta\nble; x"],
        database=emptied,
    )
    assert owners == [("postgres",)]
    assert new.query("select relacl from pg_class where relname = 'child'", database=emptied) == [
        (None,)
    ]


def test_a_newer_pg_dump_loads_into_an_older_server_with_its_programs_alone(
    old: RunningCluster, tmp_path: Path
) -> None:
    made = dump(old, "kb", tmp_path / "x", programs=programs_of(17))
    PostgresDatabases(source_settings(old)).create("again")

    with pytest.raises(PostgresProgramMissing, match="none of version 17 or newer"):
        loader(old, 16).load(made, "again", jobs=1)
    passed = loader(old, 16, 17).load(made, "again", jobs=2)

    assert _rows(old, "again") == _rows(old, "kb")
    assert [each.split(" (")[0] for each in passed] == [
        'unrecognized configuration parameter "transaction_timeout"'
    ]


def test_the_first_error_that_is_not_expected_fails_the_load_and_names_no_row(
    new: RunningCluster, archive: Path, emptied: str
) -> None:
    new.query("create table child (id int primary key check (id > 5), p int)", database=emptied)

    with pytest.raises(LoadFailed) as failed:
        loader(new, 18).load(archive, emptied, jobs=1)

    assert str(failed.value) == (
        'load: ERROR: relation "child" already exists (in: CREATE TABLE public.child ()'
    )
    assert verdict_of(failed.value) is Verdict.FAILED


def test_a_row_that_does_not_fit_is_a_failure_and_stays_out_of_the_words(
    new: RunningCluster, archive: Path, emptied: str
) -> None:
    program = loader(new, 18)
    entries = program.contents(archive).entries
    data = [each.id for each in entries if each.kind == "TABLE DATA" and each.name == "part_1"]
    new.query("create table part_1 (id int check (id < 2))", database=emptied)

    with pytest.raises(LoadFailed) as failed:
        program.load(archive, emptied, jobs=1, entries=data)

    assert str(failed.value) == (
        'load: COPY failed for table "part_1": ERROR: new row for relation "part_1" violates '
        'check constraint "part_1_id_check"'
    )


def test_a_role_the_server_lacks_is_not_the_archives_fault(archive: Path, tmp_path: Path) -> None:
    with RunningCluster(programs_of(16), tmp_path / "other") as other:
        with pytest.raises(TargetLacks, match='role "ro le; 1" does not exist'):
            loader(other).load(archive, "postgres", jobs=1)
        other.query("create database again")

        loader(other).load(archive, "again", jobs=1, owners=False, grants=False)

        with pytest.raises(PostgresUnavailable):
            loader(other).load(archive, "nowhere", jobs=1)


def test_what_is_no_whole_archive_is_told_apart_before_a_server_is_asked(
    old: RunningCluster, archive: Path, tmp_path: Path
) -> None:
    program = loader(old)
    whole = archive.read_bytes()
    bad = {
        "empty": b"",
        "garbage": b"garbage" * 1000,
        "cut": whole[:3000],
        "gzip": gzip.compress(b"select 1"),
        "plain": b"--\n-- PostgreSQL database dump\n--\n",
        "older": whole[:5] + b"\x01\x0a" + whole[7:],
        "renumbered": whole.replace(b"TABLE DATA", b"TABLE DATE"),
    }
    (tmp_path / "directory").mkdir()
    paths = [tmp_path / "directory", dump(old, "kb", tmp_path / "tar", form="tar")]
    for name, content in bad.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)

    for path in paths[:-1]:
        with pytest.raises(ChecksumMismatch) as refused:
            program.contents(path)
        assert str(path) in str(refused.value)
    with pytest.raises(ConfigurationError, match="there is no such file"):
        program.contents(tmp_path / "nowhere")
    (tmp_path / "newer").write_bytes(whole[:5] + b"\x01\x20" + whole[7:])
    with pytest.raises(PostgresProgramMissing, match=r"its format is 1\.32"):
        program.contents(tmp_path / "newer")


def test_an_archive_cut_in_its_data_is_found_by_reading_it_through(
    old: RunningCluster, archive: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    cut.write_bytes(archive.read_bytes()[:-40])
    program = loader(old)

    program.read_through(archive)
    with pytest.raises(ChecksumMismatch):
        program.read_through(cut)


def test_each_major_loads_what_those_before_it_dumped(
    old: RunningCluster, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """14 into 15, that into 16, and so on: a chain of all neighbours, each once."""
    directory = tmp_path_factory.mktemp("majors")
    made = None
    for major in (14, 15, 16, 17, 18):
        with RunningCluster(programs_of(major), directory / str(major)) as cluster:
            if made is None:
                fill(cluster, 100)
                expected = cluster.query("select * from knowledge_entries order by id")
            else:
                assert loader(cluster).load(made, "postgres", jobs=2) == ()
            assert cluster.query("select * from knowledge_entries order by id") == expected
            made = dump(cluster, "postgres", directory / f"{major}.dump")
        shutil.rmtree(cluster.data)


def test_statements_go_in_whole_or_not_at_all(
    old: RunningCluster, new: RunningCluster, emptied: str, tmp_path: Path
) -> None:
    plain = dump(old, "kb", tmp_path / "plain.sql", form="plain").read_bytes()
    program = loader(new, 18)
    broken = plain + b"insert into public.child values (7, 7);\n"
    tables = "select count(*) from pg_class where relnamespace = 'public'::regnamespace"

    for bad, kind, said in (
        (broken, LoadFailed, "load: ERROR: 23503: insert or update on table"),
        (plain[: plain.index(b"COPY public.child") + 40], ChecksumMismatch, "ends within the rows"),
        (plain[: plain.index(b"CREATE VIEW")], ChecksumMismatch, "last line of pg_dump is missing"),
        (plain + b"\\! touch " + bytes(tmp_path / "owned") + b"\n", LoadFailed, "command of psql"),
        (plain + b"drop table nowhere;\n", LoadFailed, "42P01"),
    ):
        with pytest.raises(kind, match=said):
            program.run_sql(io.BytesIO(bad), emptied)
        assert new.query(tables, database=emptied) == [(0,)]
    with pytest.raises(OSError, match="the disk broke"):
        program.run_sql(_Breaking(plain), emptied)
    assert new.query(tables, database=emptied) == [(0,)]
    assert not (tmp_path / "owned").exists()

    program.run_sql(io.BytesIO(plain), emptied)

    assert _rows(new, emptied) == _rows(old, "kb")


def test_psql_itself_refuses_a_command_that_was_not_seen(
    new: RunningCluster, emptied: str, tmp_path: Path
) -> None:
    """Under another reading of strings: the string ends where it does not seem to."""
    sly = (
        b"select set_config('standard_conforming_strings', 'off', false);\n"
        b"select 'a\\' as b, ' as c;\n\\! touch " + bytes(tmp_path / "owned") + b"\n--';\n"
    )

    with pytest.raises(LoadFailed, match="restricted"):
        loader(new, 18).run_sql(io.BytesIO(sly), emptied)

    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    "sly",
    [
        b"select E'a''\\' ';\n{}\n--';\n",
        b"select E'a'\n'\\' ';\n{}\n--';\n",
        b"select E'a' -- b\n'\\' ';\n{}\n--';\n",
        b"select E'a'\r'\\' ';\n{}\n--';\n",
        b"-- a\r{}\n",
        b"select 1$$'$$;\n{}\n--';\n",
        b"select $1$$'$$;\n{}\n--';\n",
        b"select 1E'\\' ';\n{}\n--';\n",
        b"select E'a' '\\';\n{}\n--';\n",
        b"select E'a' /* b\n */ '\\';\n{}\n--';\n",
    ],
)
@pytest.mark.parametrize("major", [16, 18])
def test_no_command_is_passed_on_by_another_reading_than_that_of_psql(
    new: RunningCluster, tmp_path: Path, sly: bytes, major: int
) -> None:
    """Older programs know no way to forbid them: they have none but this one."""
    text = sly.replace(b"{}", b"\\! touch " + bytes(tmp_path / "owned")) + b"select 1;\n"
    passing = PlainDump(has_transaction_timeout=True)
    try:
        passed = passing.feed(text) + passing.finish()
    except (LoadFailed, ChecksumMismatch):
        passed = b""

    words = ["-qX", "-h", str(new.sockets), "-U", "postgres", "-d", "postgres"]
    psql = programs_of(major).path("psql")
    subprocess.run([str(psql), *words], input=passed, capture_output=True, check=False, timeout=60)

    assert not (tmp_path / "owned").exists()


class _Breaking:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1, /) -> bytes:
        if not self._data:
            raise OSError("the disk broke")
        data, self._data = self._data, b""
        return data
