"""Each look into a restored server sees the damage it is there for, on really damaged files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters.postgres_host import LocalPostgresHost
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.adapters.restored_checks import RestoredChecks
from kb_dr.adapters.table_sample import critical_tables, fingerprint_table, look_up_rows
from kb_dr.domain.fingerprint import agreed, differences
from kb_dr.domain.manifest import Source
from kb_dr.domain.recovery import Replay
from kb_dr.errors import ChecksumMismatch, VerificationError
from kb_dr.ports import Inspection
from kb_dr_tests.postgres_servers import RunningCluster, fill, source_settings

SEED = "kb-full-20261120-020000"
ROWS = 3000


@dataclass
class Standing:
    """A running cluster in the place of a restored server.

    The checks only ever connect to it: whatever else is asked must fail loudly.
    """

    cluster: RunningCluster

    def conninfo(self, database: str = "postgres") -> str:
        return self.cluster.conninfo(database)

    def wait_for_pause(self, seconds: float) -> Replay:
        raise NotImplementedError("nothing is replayed here: the checks only connect")

    def wait_for_promotion(self, seconds: float) -> Replay:
        raise NotImplementedError("nothing is replayed here: the checks only connect")

    def replay(self) -> Replay:
        raise NotImplementedError("nothing is replayed here: the checks only connect")

    def log_tail(self) -> str:
        raise NotImplementedError("nothing is replayed here: the checks only connect")

    def stop(self) -> None:
        raise NotImplementedError("nothing is replayed here: the checks only connect")


@dataclass
class Case:
    cluster: RunningCluster
    source: Source

    @contextmanager
    def look(self) -> Iterator[Inspection]:
        with RestoredChecks().look_into(Standing(self.cluster), self.source) as look:
            yield look

    def file(self, table: str) -> Path:
        return self.cluster.data / str(
            self.cluster.value("select pg_relation_filepath(%s)", [table])
        )


@pytest.fixture(scope="module")
def sound(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    """Nothing is wrong with it."""
    directory = tmp_path_factory.mktemp("sound")
    with RunningCluster(postgres_programs, directory) as cluster:
        fill(cluster, 300)
        yield Case(cluster, PostgresSource(source_settings(cluster)).describe())


@pytest.fixture(scope="module")
def damaged(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    """A stale visibility map, a changed page, and an index that lacks rows."""
    directory = tmp_path_factory.mktemp("damaged")
    with RunningCluster(postgres_programs, directory, settings={"autovacuum": "off"}) as cluster:
        case = Case(cluster, PostgresSource(source_settings(cluster)).describe())
        for statement in (
            "create table stale (n int)",
            f"insert into stale select generate_series(1, {ROWS})",
            "create table changed (n int primary key, words text)",
            f"insert into changed select i, 'words' from generate_series(1, {ROWS}) i",
            "create table thinned (n int)",
            "insert into thinned select generate_series(1, 100)",
            "create function place(n int) returns int immutable language sql as 'select n'",
            "create index thinned_place on thinned (place(n))",
            # Now the index holds other places than a look at the table yields.
            "create or replace function place(n int) returns int immutable language sql"
            " as 'select n + 1000'",
        ):
            cluster.query(statement)
        cluster.query("vacuum stale")
        cluster.query("checkpoint")
        visibility = case.file("stale").with_name(case.file("stale").name + "_vm")
        heap = case.file("changed")
        before = visibility.read_bytes()
        cluster.query("delete from stale where n = 7")
        cluster.stop()
        visibility.write_bytes(before)
        page = bytearray(heap.read_bytes())
        page[8000] ^= 1
        heap.write_bytes(bytes(page))
        cluster.start()
        yield case


def test_nothing_is_found_where_nothing_is_wrong(sound: Case) -> None:
    with sound.look() as look:
        for examined in (look.examine_tables(), look.examine_indexes(), look.examine_visibility()):
            assert examined.objects > 100
            assert (examined.damage, examined.unseen, examined.lacking) == ((), (), ())
        assert look.invalid_indexes() == ()
        assert look.schema_version() == sound.source.schema_version
        assert look.extensions().items() >= sound.source.extensions.items()
        (vectors,) = sound.source.vectors
        assert look.vector_dimensions(vectors) == 8
        assert look.measure_recall(vectors) == vectors
        assert look.measure_recall(replace(vectors, index="another")) is None


def test_an_index_that_lacks_rows_is_found(damaged: Case) -> None:
    with damaged.look() as look:
        found = look.examine_indexes()

    # The other one is of the table with the changed page, which its rows are looked for in.
    assert [line.split(":")[0] for line in found.damage] == [
        "postgres.changed_pkey",
        "postgres.thinned_place",
    ]


def test_a_visibility_map_that_hides_a_deletion_is_found(damaged: Case) -> None:
    with damaged.look() as look:
        found = look.examine_visibility()

    assert any(line.startswith("postgres.stale: row") for line in found.damage), found


def test_a_changed_page_is_found_by_every_look_at_it(damaged: Case) -> None:
    with damaged.look() as look:
        found = look.examine_tables()

        assert [line.split(":")[0] for line in found.damage] == ["postgres.changed"]
        with psycopg.connect(damaged.cluster.conninfo(), autocommit=True) as asked:
            stale = fingerprint_table(asked, "public.stale", SEED)
        with pytest.raises(VerificationError, match="invalid page"):
            look.look_up(replace(stale, table="public.changed", columns=("n", "words")), SEED)


def test_a_changed_page_is_found_in_the_stopped_cluster(
    damaged: Case, sound: Case, postgres_programs: PostgresPrograms
) -> None:
    host = LocalPostgresHost([postgres_programs.bin_dir])
    for case in (damaged, sound):
        case.cluster.stop()
    try:
        host.verify_checksums(sound.cluster.data, sound.source)
        with pytest.raises(ChecksumMismatch):
            host.verify_checksums(damaged.cluster.data, damaged.source)
    finally:
        for case in (damaged, sound):
            case.cluster.start()


# the sample


def test_a_sample_finds_each_kind_of_change_and_holds_no_key(sound: Case) -> None:
    sound.cluster.query('create table "Odd ""%s"" {}" ("k%" text primary key, v float8, b bytea)')
    table = 'public."Odd ""%s"" {}"'
    sound.cluster.query(
        f"insert into {table} select 'secret key ' || i, i / 3.0, decode(md5(i::text), 'hex')"
        f" from generate_series(1, {ROWS}) i"
    )
    with psycopg.connect(sound.cluster.conninfo(), autocommit=True) as asked:
        assert table in critical_tables(asked, ())[0]
        assert critical_tables(asked, [table, "nowhere"]) == ((table,), ("nowhere",))
        first = fingerprint_table(asked, table, SEED)

        assert first.rows == ROWS
        assert len(first.sample) >= 1000
        assert "secret" not in repr(first)
        assert fingerprint_table(asked, table, SEED) == first
        assert fingerprint_table(asked, table, "other").sample != first.sample

        def found() -> list[str]:
            look = look_up_rows(asked, first, SEED)
            assert look is not None
            return [
                each.seen for each in differences(first, look.rows, look.digests, look.row_versions)
            ]

        assert found() == []
        # Every row: so that sampled ones are among them, whichever they are.
        asked.execute(f"update {table} set v = v + 1e-9".encode())
        assert found()[0] == "other row versions than at the restore point"
        assert found()[1] == f"{len(first.sample)} of {len(first.sample)} sampled rows differ"
        asked.execute(f"delete from {table}".encode())
        assert found() == [
            f"0 rows, expected {ROWS}",
            f"{len(first.sample)} of {len(first.sample)} sampled rows are missing",
        ]
        asked.execute(f"drop table {table}".encode())
        assert look_up_rows(asked, first, SEED) is None


def test_two_looks_keep_only_what_stood_still_between_them(sound: Case) -> None:
    sound.cluster.query("create table moving (n int primary key, v int)")
    sound.cluster.query(f"insert into moving select i, i from generate_series(1, {ROWS}) i")
    with psycopg.connect(sound.cluster.conninfo(), autocommit=True) as asked:
        before = fingerprint_table(asked, "public.moving", SEED)
        # One away and one new: the count is the same, and yet not that of the moment between.
        asked.execute("delete from moving where n = 1")
        asked.execute(f"insert into moving values ({ROWS + 1}, 0)".encode())
        asked.execute("update moving set v = v + 1 where n % 2 = 0")
        after = fingerprint_table(asked, "public.moving", SEED)

        both = agreed(before, after)
        assert (both.rows, both.row_versions) == (None, None)
        assert 0 < len(both.sample) < len(before.sample)
        look = look_up_rows(asked, both, SEED)
        assert look is not None
        assert differences(both, look.rows, look.digests, look.row_versions) == ()


@pytest.mark.parametrize("estimated", [1, ROWS * 1000, 10**12])
def test_a_sample_is_as_large_as_promised_however_wrong_the_estimate_is(
    sound: Case, estimated: int
) -> None:
    sound.cluster.query(f"create table guessed{estimated} (a int, b text, primary key (b, a))")
    sound.cluster.query(
        f"insert into guessed{estimated} select i % 7, 'row ' || i"
        f" from generate_series(1, {ROWS}) i"
    )
    table = f"public.guessed{estimated}"
    sound.cluster.query(
        f"update pg_class set reltuples = {estimated}, relpages = pg_relation_size(oid) / 8192"
        f" where oid = '{table}'::regclass"
    )
    with psycopg.connect(sound.cluster.conninfo(), autocommit=True) as asked:
        taken = fingerprint_table(asked, table, SEED)

        assert taken.rows == ROWS
        assert 1000 <= len(taken.sample) <= 1250
        look = look_up_rows(asked, taken, SEED)
        assert look is not None
        assert look.digests == {row.key: row.digest for row in taken.sample}


def test_a_sample_of_an_older_manifest_or_a_dump_is_found_by_its_key_digests(sound: Case) -> None:
    sound.cluster.query("create table lasting (n int primary key, v int)")
    sound.cluster.query(f"insert into lasting select i, i from generate_series(1, {ROWS}) i")
    with psycopg.connect(sound.cluster.conninfo(), autocommit=True) as asked:
        taken = fingerprint_table(asked, "public.lasting", SEED, lasting=True)
        asked.execute("update lasting set v = 0 where n % 2 = 0")
        look = look_up_rows(asked, taken, SEED)

    assert taken.sampled_through is None
    assert look is not None
    assert look.digests.keys() == {row.key for row in taken.sample}
    (changed,) = differences(replace(taken, row_versions=None), ROWS, look.digests)
    assert "sampled rows differ" in changed.seen


def test_a_look_at_a_frozen_snapshot_keeps_no_migration_waiting(sound: Case) -> None:
    sound.cluster.query("create table migrated (n int primary key)")
    with (
        psycopg.connect(sound.cluster.conninfo(), autocommit=True) as asked,
        psycopg.connect(sound.cluster.conninfo()) as migration,
    ):
        asked.execute("begin isolation level repeatable read, read only")
        asked.execute("select pg_current_snapshot()")
        assert fingerprint_table(asked, "public.migrated", SEED).rows == 0
        migration.execute("lock table migrated in access exclusive mode nowait")
        migration.execute("alter table migrated add v int default 1")
        migration.execute("insert into migrated values (1)")
        migration.commit()

        # The snapshot is the one of before, as it was frozen.
        assert fingerprint_table(asked, "public.migrated", SEED).rows == 0
