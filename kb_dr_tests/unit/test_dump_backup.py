"""Taking a logical dump: what is stored, in what order, and what a failure anywhere leaves."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.dump import NO_PASSWORDS, PG_DUMP
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import (
    BackupInProgress,
    ConfigurationError,
    KbDrError,
    ObjectConflict,
    PostgresCommandFailed,
    PostgresUnavailable,
    WrongRepository,
)
from kb_dr.operations.backup_run import BackupTools
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.dump_backup import take_dump
from kb_dr.operations.initialise import init_repository
from kb_dr.ports import Repository
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.faults.failing_repository import FailingRepository, Fault, Killed, When
from kb_dr_tests.played_dump import ARCHIVE, PlayedDumpProgram, PlayedDumpSource
from kb_dr_tests.stored_backups import STARTED, store_backup

CODEC = PlainCodec()
TOOLS = BackupTools("kb", "default", "h", chunk_bytes=100, transfers=1)


class Service:
    """A database, its repository and a clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.memory = MemoryRepository(clock=self.clock)
        init_repository(self.memory, self.clock, service="kb", org="default")
        self.source = PlayedDumpSource()
        self.program = PlayedDumpProgram()

    def take(
        self, repository: Repository | None = None, backup: BackupId | None = None
    ) -> StoredManifest:
        return take_dump(
            repository or self.memory, CODEC, self.source, self.program,
            self.clock, RecordingProgress(), TOOLS, backup=backup,
        )  # fmt: skip

    def manifests(self) -> list[str]:
        return [key for key in self.memory.bodies if key.endswith("/manifest.json")]

    def failures(self) -> list[str]:
        return [key for key in self.memory.bodies if key.startswith("failures/")]


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    assert made.source.held == 0
    assert not made.source.locked


def test_a_dump_needs_no_wal_and_says_what_it_is(service: Service) -> None:
    stored = service.take()

    manifest = stored.manifest
    assert manifest.id == "kb-dump-20261120-020000"
    assert (manifest.kind, manifest.engine) == (BackupKind.DUMP, PG_DUMP)
    assert manifest.is_dump
    assert not manifest.has_files
    assert manifest.wal.start == manifest.wal.stop == manifest.fingerprint.lsn
    assert manifest.fingerprint.restore_point == manifest.id
    assert [each.recall_at_10 for each in manifest.source.vectors] == [0.98]
    assert manifest.notes == ("entries has no primary key",)
    assert manifest.plain_bytes == len(ARCHIVE)
    coded = b"".join(service.memory.get(chunk) for chunk in manifest.chunks)
    assert CODEC.decode(coded) == ARCHIVE
    assert manifest.dump is not None
    assert manifest.dump.globals is not None
    assert manifest.dump.globals in manifest.objects
    assert not any(key.startswith("wal/") for key in service.memory.bodies)
    assert read_manifest(service.memory, manifest.backup_id).digest == stored.digest


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        (None, "roles and tablespaces are not in it"),
        (NO_PASSWORDS + b"create role kb;", "no passwords"),
    ],
)
def test_what_its_role_may_not_read_is_noted(
    service: Service, roles: bytes | None, said: str
) -> None:
    service.program.roles = roles

    manifest = service.take().manifest

    assert any(said in note for note in manifest.notes)
    assert manifest.dump is not None
    assert (manifest.dump.globals is None) == (roles is None)


def test_every_call_of_the_repository_may_fail_or_be_the_last_one(service: Service) -> None:
    counted, fault = Service(), Fault()
    expected = counted.take(FailingRepository(counted.memory, fault)).manifest
    for number in range(len(fault.calls)):
        for when in When:
            each = Service()
            told = None
            try:
                told = each.take(FailingRepository(each.memory, Fault(number, when)))
            except (KbDrError, Killed):
                told = None
            where = f"{when} {fault.calls[number]}"
            assert each.source.held == 0, where
            if told is not None:
                assert each.manifests() == [layout.manifest_key(told.manifest.backup_id)], where
                assert told.manifest.plain_sha256 == expected.plain_sha256, where
            for key in each.manifests():
                stamp = key.split("/")[1]
                found = read_manifest(each.memory, BackupId("kb", BackupKind.DUMP, stamp))
                for one in found.manifest.objects:
                    each.memory.get(one)
            again = each.take() if not each.manifests() else None
            assert len(each.manifests()) == 1, where
            assert again is None or again.manifest.plain_sha256 == expected.plain_sha256, where


def test_a_program_that_ends_badly_leaves_no_manifest_and_not_its_last_chunk(
    service: Service,
) -> None:
    service.program.ends_badly = True

    with pytest.raises(PostgresCommandFailed):
        service.take()

    assert service.manifests() == []
    assert len(service.failures()) == 1
    whole = -(-len(CODEC.encode(ARCHIVE)) // TOOLS.chunk_bytes)
    chunks = [key for key in service.memory.bodies if ".dump.zst.age." in key]
    assert len(chunks) < whole


def test_a_fingerprint_that_could_not_be_taken_leaves_no_manifest(service: Service) -> None:
    def lost() -> None:
        raise PostgresUnavailable("fingerprint the source: its session was ended")

    service.source.looking = lost

    with pytest.raises(PostgresUnavailable):
        service.take()

    assert service.manifests() == []
    assert len(service.failures()) == 1


def test_locks_that_did_not_outlast_the_dump_leave_no_manifest(service: Service) -> None:
    """The fingerprint may be complete long before; what pg_dump read after is not known."""

    def lose() -> None:
        service.source.ended = True

    service.program.meanwhile = lose

    with pytest.raises(PostgresUnavailable):
        service.take()

    assert service.manifests() == []


def test_one_dump_at_a_time(service: Service) -> None:
    service.source.locked = True
    with pytest.raises(BackupInProgress):
        service.take()
    service.source.locked = False


def test_an_id_is_taken_once(service: Service) -> None:
    promised = BackupId.of("kb", BackupKind.DUMP, service.clock.now())
    service.take(backup=promised)

    with pytest.raises(ObjectConflict):
        service.take(backup=promised)


def test_dumps_are_named_in_their_own_order(service: Service) -> None:
    store_backup(service.memory, CODEC, started=STARTED + timedelta(minutes=10))

    first, second = service.take(), service.take()

    assert first.manifest.id == "kb-dump-20261120-020000"
    assert second.manifest.id == "kb-dump-20261120-020001"


def test_a_database_of_too_many_chunks_is_refused_before_it_is_read(service: Service) -> None:
    service.source.size_bytes = layout.MOST_CHUNKS * TOOLS.chunk_bytes

    with pytest.raises(ConfigurationError, match="fewer than"):
        service.take()

    assert not any(".dump.zst.age." in key for key in service.memory.bodies)


def test_another_living_cluster_in_the_same_repository_is_refused(service: Service) -> None:
    for system in (None, 8, None, 8, None):
        service.source.system_identifier = system
        service.take()
        service.clock.pass_time(timedelta(hours=1))
    service.source.system_identifier = 8

    with pytest.raises(WrongRepository):
        service.take()
