"""The acceptance of dumps by size: of no, a hundred, a thousand and ten thousand entries, each
backed up and restored whole; and a database with nothing in it.
"""

from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters.log_progress import LogProgress
from kb_dr.adapters.table_sample import list_tables
from kb_dr_tests.dumped_service import DumpedService, places
from kb_dr_tests.loaded_dumps import load, rows
from kb_dr_tests.postgres_servers import RunningCluster, fill
from kb_dr_tests.protected_service import Service

LARGE_OBJECTS = 3
LARGE_BYTES = 1_500_000
"""More than one page, one chunk of the dump, and what pg_restore writes at once."""

_VECTORS = (
    # Far apart, unlike those of fill(): which are the nearest is no matter of rounding.
    "create table places as select i as id, (select array_agg(random() + 0 * (i + d))"
    " from generate_series(1, 8) d)::vector(8) as place from generate_series(1, {entries}) i",
    "create index places_place on places using hnsw (place vector_cosine_ops)",
)


def new_service(dumped_service: DumpedService, directory: Path, database: str) -> Service:
    """The same server, another database, and repositories of its own."""
    dumped_service.cluster.query(f"create database {database}")
    settings = dumped_service.settings | places(directory) | {"KB_DB_NAME": database}
    service = Service(directory, settings)
    service.opened().initialise("primary")
    return service


def counts(cluster: RunningCluster, database: str) -> dict[str, int]:
    """How many rows each table has."""
    with psycopg.connect(cluster.conninfo(database), autocommit=True) as connection:
        tables = list_tables(connection)
    return {table: rows(cluster, table, database) for table in tables}


def nearest(cluster: RunningCluster, database: str, *, by_index: bool) -> list[int]:
    """The ten entries nearest to a place; by the index, or by looking at every row."""
    with psycopg.connect(cluster.conninfo(database), autocommit=True) as connection:
        connection.execute("set hnsw.ef_search = 400")
        connection.execute(f"set enable_{'seqscan' if by_index else 'indexscan'} = off".encode())
        query = "select id from places order by place <=> '[1,0,1,0,1,0,1,0]' limit 10"
        plan = "\n".join(row[0] for row in connection.execute(f"explain {query}".encode()))
        assert ("Index Scan using places_place" in plan) is by_index, plan
        return [row[0] for row in connection.execute(query.encode())]


@pytest.mark.parametrize("entries", [0, 100, 1_000, 10_000])
def test_a_whole_restore_has_equal_counts_and_finds_the_same_neighbours(
    dumped_service: DumpedService, tmp_path: Path, entries: int
) -> None:
    cluster, source, restored = dumped_service.cluster, f"walk_{entries}", f"walked_{entries}"
    service = new_service(dumped_service, tmp_path, source)
    fill(cluster, entries, database=source)
    for statement in _VECTORS:
        cluster.query(statement.format(entries=entries), database=source)

    service.opened().back_up_dump(None, LogProgress())
    loaded = load(service, into=f"postgresql:///{restored}")

    assert "exactly as recorded" in loaded.compared
    found = counts(cluster, restored)
    assert found == counts(cluster, source)
    assert found["public.knowledge_entries"] == found["public.places"] == entries
    exactly = nearest(cluster, source, by_index=False)
    assert len(exactly) == min(entries, 10)
    assert nearest(cluster, restored, by_index=True) == exactly


def test_a_database_with_nothing_in_it_is_restored_as_one(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    service = new_service(dumped_service, tmp_path, "nothing_at_all")

    service.opened().back_up_dump(None, LogProgress())
    load(service, into="postgresql:///nothing_again")

    assert counts(dumped_service.cluster, "nothing_again") == {}


def test_large_objects_come_back_to_the_byte(dumped_service: DumpedService, tmp_path: Path) -> None:
    cluster = dumped_service.cluster
    service = new_service(dumped_service, tmp_path, "large")
    for number in range(LARGE_OBJECTS):
        cluster.query(
            "select lo_from_bytea(0, decode(string_agg(md5((i * %s)::text), ''), 'hex'))"
            f" from generate_series(1, {LARGE_BYTES // 16}) i",
            [number + 1],
            database="large",
        )

    service.opened().back_up_dump(None, LogProgress())
    load(service, into="postgresql:///large_again")

    digests = "select oid, length(lo_get(oid)), md5(lo_get(oid)) from pg_largeobject_metadata"
    found = cluster.query(f"{digests} order by oid", database="large_again")
    assert found == cluster.query(f"{digests} order by oid", database="large")
    assert [row[1] for row in found] == [LARGE_BYTES] * LARGE_OBJECTS
