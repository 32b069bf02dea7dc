"""Archives of pg_dump go into running servers whole, or say what did not: real servers of two
majors, with names nobody should give.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr.adapters.database_server import PostgresDatabases
from kb_dr_tests.made_dumps import dump, loader
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
    server = PostgresDatabases(source_settings(new))
    program = loader(new, 18)
    contents = program.contents(archive)

    notes = server.create_extensions(
        emptied, {"pgcrypto": "1.3", "plpgsql": "1.0"}, contents.extension_schemas
    )
    passed = program.load(archive, emptied, jobs=2)

    assert _rows(new, emptied) == _rows(old, "kb")
    print(notes, passed, contents)
    assert contents.extension_schemas == {"pgcrypto": "ext"}
