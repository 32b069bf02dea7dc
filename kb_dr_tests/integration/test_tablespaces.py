"""A cluster with extra tablespaces comes back, and those it came from are never touched.

The source keeps running on the same host, as the same user, as it does during a drill.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_host import LocalPostgresHost
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.tablespaces import Tablespace, directory_of
from kb_dr.errors import ChecksumMismatch, PostgresError
from kb_dr.operations.base_backup import BackupTools, take_base_backup
from kb_dr.operations.catalog import readable
from kb_dr.settings import SourceSettings
from kb_dr_tests.fakes import RecordingProgress
from kb_dr_tests.postgres_servers import RunningCluster, programs_of, source_settings
from kb_dr_tests.spaced_service import NAME, PLACE, ROWS, Spaced, content, make_space, spaced


@contextmanager
def writing(cluster: RunningCluster) -> Iterator[None]:
    """Rows are written into the tablespace while the block runs."""
    done = threading.Event()

    def write() -> None:
        with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
            number = ROWS
            while not done.is_set():
                number += 1
                connection.execute(
                    "insert into aside values (%s, 'meanwhile') on conflict do nothing", [number]
                )

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture(scope="module")
def service(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Spaced]:
    with spaced(postgres_programs, tmp_path_factory.mktemp("spaced")) as service:
        yield service


def test_a_cluster_with_tablespaces_is_proven_and_restored_beside_the_live_one(
    service: Spaced, tmp_path: Path
) -> None:
    _come_back(service, tmp_path / "restored" / "data")


@pytest.mark.parametrize("major", [18])
def test_other_versions_come_back_as_well(major: int, tmp_path: Path) -> None:
    with spaced(programs_of(major), tmp_path) as service:
        _come_back(service, tmp_path / "restored" / "data")


def _come_back(service: Spaced, target: Path) -> None:
    source = service.cluster
    with writing(source):
        service.run("backup", "full").require(0)
    source.archive_everything()
    # Read first: a row's first reader notes in it that its transaction committed.
    rows = content(source)
    before = service.settled()
    spaces = service.manifest().source.tablespaces
    assert [each.name for each in spaces] == [NAME, "second"]
    assert spaces[0].location.endswith(PLACE)

    service.run("copy").require(0)
    service.run("validate", service.manifest().id).require(0)
    service.run("verify", "--from", "primary").require(0)
    service.run("verify", "--from", "offsite").require(0)
    service.run("restore", "--latest", "--from", "offsite", "--into", str(target)).require(0)

    service.run("drill", "--from", "offsite").require(0)

    assert service.scratch_is_empty()
    assert [path.name for path in target.parent.iterdir()] == ["data"], "nothing is left beside"
    places = {each.oid: target / directory_of(each.oid) for each in spaces}
    links = {int(link.name): link.readlink() for link in (target / "pg_tblspc").iterdir()}
    assert links == places
    assert not list(target.glob("tablespace_map*"))
    with RunningCluster(source.programs, target.parent) as restored:
        assert content(restored) == rows
        for place in places.values():
            found = restored.value(
                "select count(*) from pg_tablespace where pg_tablespace_location(oid) = %s",
                [str(place)],
            )
            assert found == 1
        restored.query("update aside set word = 'changed'")
        restored.query("vacuum full aside")
        restored.query("checkpoint")
    assert content(source) == rows
    assert service.settled() == before, "the tablespaces of the source were touched"


def test_a_restored_cluster_can_be_backed_up_again(service: Spaced, tmp_path: Path) -> None:
    target = tmp_path / "restored" / "data"
    service.run("backup", "full").require(0)
    service.run("restore", "--latest", "--into", str(target)).require(0)
    programs = service.cluster.programs
    host = LocalPostgresHost([programs.bin_dir])
    with RunningCluster(programs, target.parent) as restored:
        settings = source_settings(restored)
        described = PostgresSource(settings).describe()
        with (
            PgBaseBackup(programs, settings).stream("again", described.tablespaces) as stream,
            host.unpack(tmp_path / "again") as tar,
        ):
            while data := stream.read():
                tar.write(data)
            end = stream.finish()

        assert end.wal.start < end.wal.stop
        host.verify_files(tmp_path / "again", described)
        # PostgreSQL's own way sends what lies in a tablespace once as well.
        programs.run(
            "pg_basebackup",
            *("-D", tmp_path / "own", "-Ft", "-X", "none", "-c", "fast", "--no-sync"),
            *("-d", restored.conninfo()),
        )
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "own").glob("*.tar")}
    assert set(sizes) == {"base.tar", *(f"{each.oid}.tar" for each in described.tablespaces)}
    table = sum(
        path.stat().st_size for path in (tmp_path / "again" / "kb_dr_tablespaces").rglob("*")
    )
    assert sum(sizes.values()) < end.plain_bytes + table // 2


def test_a_damaged_file_in_a_tablespace_is_found(service: Spaced, tmp_path: Path) -> None:
    programs, settings = service.cluster.programs, source_settings(service.cluster)
    host = LocalPostgresHost([programs.bin_dir])
    described = PostgresSource(settings).describe()
    with (
        PgBaseBackup(programs, settings).stream("damaged", described.tablespaces) as stream,
        host.unpack(tmp_path / "data") as tar,
    ):
        while data := stream.read():
            tar.write(data)
    host.verify_files(tmp_path / "data", described)
    files = [p for p in (tmp_path / "data" / "kb_dr_tablespaces").rglob("*") if p.is_file()]
    table = max(files, key=lambda path: path.stat().st_size)
    body = bytearray(table.read_bytes())
    body[len(body) // 2] ^= 0x01
    table.write_bytes(body)

    with pytest.raises(ChecksumMismatch, match=table.name):
        host.verify_files(tmp_path / "data", described)


def test_a_tablespace_created_after_the_backup_is_refused_and_never_written_to(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with spaced(postgres_programs, tmp_path) as service:
        service.run("backup", "full").require(0)
        first = service.manifest().id
        service.cluster.query("insert into aside values (0, 'before')")
        service.cluster.archive_everything()
        service.run("verify", "--from", "primary").require(0)
        lsn = str(service.cluster.value("select pg_current_wal_lsn()"))
        service.cluster.archive_everything()
        later = service.make_space("later", "later")
        service.cluster.query("create table late tablespace later as select 1 as n")
        service.cluster.query("select * from late, aside")
        service.cluster.archive_everything()
        before = service.settled()

        said = service.run("restore", "--latest", "--into", str(tmp_path / "restored"))
        said.require(43, "creates tablespace", str(later), "full one now")
        service.run("verify", "--from", "primary").require(61)

        # Its proof is red now: it has to be named.
        words = ("--backup", first, "--from", "primary", "--into", str(tmp_path / "before"))
        service.run("restore", "--target-lsn", lsn, *words).require(0)
        assert "created after" in service.run("doctor").out
        assert not (tmp_path / "restored").exists()
        assert service.scratch_is_empty()
        assert service.settled() == before, "the tablespaces of the source were touched"
        service.run("backup", "full").require(0)
        assert service.manifest().id != first
        service.run("verify", "--from", "primary").require(0)
        assert "created after" not in service.run("doctor").out
        assert service.settled() == before


class _Changing(PostgresSource):
    """A source somebody creates a tablespace in while it is backed up."""

    def __init__(self, settings: SourceSettings, cluster: RunningCluster, place: Path) -> None:
        super().__init__(settings)
        self._cluster, self._place = cluster, place

    def fingerprint(
        self,
        restore_point: str,
        tables: object,
        written: Callable[[Lsn], object] = lambda lsn: None,
    ) -> tuple[Fingerprint, tuple[str, ...]]:
        make_space(self._cluster, "meanwhile", self._place)
        return super().fingerprint(restore_point, (), written)


def test_a_tablespace_created_during_a_backup_ends_it(service: Spaced, tmp_path: Path) -> None:
    opened, settings = service.opened(), source_settings(service.cluster)
    stood = [each.manifest.id for each in readable(opened.catalog("primary"))]
    try:
        with pytest.raises(PostgresError, match="meanwhile: meanwhile"):
            take_base_backup(
                opened.primary,
                opened.codec,
                _Changing(settings, service.cluster, tmp_path / "meanwhile"),
                PgBaseBackup(service.cluster.programs, settings),
                opened.clock,
                RecordingProgress(),
                BackupTools("kb", "default", "test-host"),
            )
    finally:
        service.cluster.query("drop tablespace meanwhile")
    assert [each.manifest.id for each in readable(service.opened().catalog("primary"))] == stood


def test_what_the_server_sends_is_what_was_announced(service: Spaced) -> None:
    settings = source_settings(service.cluster)
    announced = (Tablespace(1, "gone", "/nowhere"),)
    with (
        PgBaseBackup(service.cluster.programs, settings).stream("other", announced) as stream,
        pytest.raises(PostgresError, match=r"expected \[1\]"),
    ):
        stream.read()


def test_a_backup_that_was_not_read_to_its_end_tells_no_positions(service: Spaced) -> None:
    settings = source_settings(service.cluster)
    spaces = PostgresSource(settings).tablespaces()
    with PgBaseBackup(service.cluster.programs, settings).stream("cut", spaces) as stream:
        stream.read(1000)
        with pytest.raises(PostgresError, match="not read to the end"):
            stream.finish()
    service.cluster.wait_for("select not exists (select from pg_stat_replication)")


def test_a_tablespace_without_a_place_of_its_own_is_refused(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with RunningCluster(postgres_programs, tmp_path) as cluster:
        with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
            connection.execute("set allow_in_place_tablespaces = on")
            connection.execute("create tablespace placeless location ''")

        with pytest.raises(PostgresError, match="without an absolute path: placeless"):
            PostgresSource(source_settings(cluster)).describe()
