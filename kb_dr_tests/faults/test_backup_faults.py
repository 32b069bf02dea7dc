"""Taking a backup, with the storage failing at every single call, and the process killed there.

Each run ends loudly or with a backup that can be restored; none takes anything from what stands;
and the next run, with the sweep of what was left, comes to what it would have come to anyway.
"""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_failure import BackupFailure
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.increment import NATIVE, RECOVERY_POINT
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import KbDrError, ObjectConflict
from kb_dr.operations.backup_run import BackupTools
from kb_dr.operations.base_backup import take_base_backup
from kb_dr.operations.catalog import load_catalog, readable
from kb_dr.operations.incremental_backup import ChainRules, take_incremental_backup
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.sweep import GRACE, sweep
from kb_dr.ports import Repository
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.faults.failing_repository import FailingRepository, Fault, Killed, When
from kb_dr_tests.made_history import restorable
from kb_dr_tests.played_source import PlayedProgram, PlayedSource
from kb_dr_tests.stored_backups import STARTED

CODEC = PlainCodec()
TOOLS = BackupTools("kb", "default", "h", chunk_bytes=100, transfers=1, wal_deadline_seconds=5)
RULES = ChainRules({"primary": "memory://primary"}, 30)


class Service:
    """A server, its repository, and a clock that goes on by itself."""

    def __init__(self, server_version: int) -> None:
        self.clock = FakeClock()
        self.memory = MemoryRepository(clock=self.clock)
        init_repository(self.memory, self.clock, service="kb", org="default")
        self.source = PlayedSource(self.memory, server_version)

    def full(
        self, repository: Repository | None = None, *, backup: BackupId | None = None
    ) -> StoredManifest:
        return take_base_backup(
            repository or self.memory, CODEC, self.source, PlayedProgram(self.source),
            self.clock, RecordingProgress(), TOOLS, backup=backup,
        )  # fmt: skip

    def incremental(
        self, repository: Repository | None = None, *, backup: BackupId | None = None
    ) -> StoredManifest:
        return take_incremental_backup(
            repository or self.memory, CODEC, self.source, PlayedProgram(self.source),
            self.clock, RecordingProgress(), TOOLS, RULES, backup=backup,
        )  # fmt: skip

    def objects(self) -> dict[str, bytes]:
        """All that is of backups."""
        kept = ("full/", "incr/", "wal/")
        return {key: each for key, each in self.memory.bodies.items() if key.startswith(kept)}

    def failures(self) -> list[BackupFailure]:
        return [
            records.from_json(BackupFailure, body, what=key)
            for key, body in self.memory.bodies.items()
            if key.startswith("failures/")
        ]

    def unnamed(self) -> list[str]:
        """Objects of attempts that no manifest names."""
        named = {
            each.key
            for stored in readable(load_catalog(self.memory))
            for each in stored.manifest.objects
        }
        return [
            key
            for key in self.objects()
            if key not in named and not key.startswith("wal/") and "manifest.json" not in key
        ]


Take = Callable[..., StoredManifest]


class Case:
    """One kind of backup, and what stands before it is taken."""

    def __init__(
        self,
        kind: BackupKind,
        engine: str,
        version: int,
        stands: Callable[[Service], object] = lambda _service: None,
        *,
        incremental: bool = True,
    ) -> None:
        self.kind, self.engine = kind, engine
        self._version, self._stands = version, stands
        self._incremental = incremental

    @property
    def asked(self) -> BackupKind:
        """The kind that is asked for."""
        return BackupKind.INCR if self._incremental else BackupKind.FULL

    def service(self) -> Service:
        """The same each time."""
        made = Service(self._version)
        self._stands(made)
        made.clock.pass_time(timedelta(hours=1))
        return made

    def take(
        self, service: Service, repository: Repository | None = None, backup: BackupId | None = None
    ) -> StoredManifest:
        taking = service.incremental if self._incremental else service.full
        return taking(repository, backup=backup)


def _a_chain(service: Service) -> None:
    service.full()
    service.clock.pass_time(timedelta(hours=1))
    service.incremental()


def _a_lost_chain(service: Service) -> None:
    """Nothing can be built upon it, nor restored from it: its WAL is gone."""
    _a_chain(service)
    for listed in [*service.memory.list("wal/")]:
        service.memory.delete(listed.key)


FULL, INCR = BackupKind.FULL, BackupKind.INCR

CASES = [
    pytest.param(Case(FULL, NATIVE, 160014, incremental=False), id="the first full"),
    pytest.param(Case(FULL, NATIVE, 160014, _a_chain, incremental=False), id="a later full"),
    pytest.param(Case(INCR, NATIVE, 170011, _a_chain), id="a native increment"),
    pytest.param(Case(INCR, RECOVERY_POINT, 160014, _a_chain), id="a recovery point"),
    pytest.param(Case(FULL, NATIVE, 170011), id="a full where an increment was asked for"),
    pytest.param(Case(FULL, NATIVE, 170011, _a_lost_chain), id="a full for want of WAL"),
]


def _content(service: Service, stored: StoredManifest) -> Manifest:
    """What it is, but for its name, its time and where the server had come to."""
    manifest = stored.manifest
    for each in manifest.objects:
        service.memory.get(each)
    nowhere = Lsn(0)

    def unnamed(each: StoredObject | None) -> StoredObject | None:
        return each and replace(each, key=each.key.rpartition("/")[2])

    return replace(
        manifest,
        id="",
        attempt="",
        parent_digest=None,
        started=STARTED,
        finished=STARTED,
        chunks=tuple(each for each in map(unnamed, manifest.chunks) if each),
        postgres_manifest=unnamed(manifest.postgres_manifest),
        configuration=unnamed(manifest.configuration),
        fingerprint=replace(manifest.fingerprint, restore_point="", lsn=nowhere),
        wal=replace(manifest.wal, start=nowhere, stop=nowhere),
        notes=tuple(note for note in manifest.notes if not note.startswith("a full backup, not")),
    )


def _calls(case: Case) -> int:
    service, fault = case.service(), Fault()
    case.take(service, FailingRepository(service.memory, fault))
    return len(fault.calls)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("whens", "lasting"),
    [
        pytest.param([*When], False, id="once"),
        pytest.param([When.BEFORE], True, id="from then on"),
    ],
)
def test_every_call_may_fail_or_be_the_last_one(
    case: Case, whens: list[When], lasting: bool
) -> None:
    undisturbed = case.service()
    taken = case.take(undisturbed)
    assert (taken.manifest.kind, taken.manifest.engine) == (case.kind, case.engine)
    expected = _content(undisturbed, taken)
    loud = 0
    for number in range(calls := _calls(case)):
        for when in whens:
            service = case.service()
            before, stood = restorable(service.memory), service.objects()
            fault = Fault(number, when, lasting=lasting)
            told = None
            try:
                told = case.take(service, FailingRepository(service.memory, fault))
            except (KbDrError, Killed):
                loud += 1
            where = f"{when} {fault.calls[number]}"

            # Loud or correct; and nothing that stood was touched.
            landed = [
                each
                for each in readable(load_catalog(service.memory))
                if layout.manifest_key(each.manifest.backup_id) not in stood
            ]
            assert len(landed) <= 1, where
            assert told is None or [told.digest] == [each.digest for each in landed], where
            assert stood.items() <= service.objects().items(), where
            assert restorable(service.memory) == before | {e.manifest.id for e in landed}, where
            if told is None and not when.killed and not lasting:
                _is_on_record(service, landed, fault, where)
            for each in landed:
                assert _content(service, each) == expected, where

            # A day later the next one is taken, and what was left is swept.
            service.clock.pass_time(GRACE)
            again = case.take(service)
            sweep(service.memory, service.clock, dry_run=False)
            assert service.unnamed() == [], where
            assert again.manifest.id in restorable(service.memory), where
            assert before <= restorable(service.memory), where
            if not landed:
                assert _content(service, again) == expected, where
    assert loud == calls * len(whens), "there is no call whose failure may go unheard"


def _is_on_record(service: Service, landed: list[StoredManifest], fault: Fault, where: str) -> None:
    """The failure of an attempt is known, unless it failed before there was one."""
    begun = any(" put " in call for call in fault.calls)
    assert len(service.failures()) == 1 or not begun, where


@pytest.mark.parametrize("case", CASES)
def test_a_promised_name_is_taken_in_the_second_run_or_stands_whole(case: Case) -> None:
    """As for a partition in Dagster: the run is started again, and is asked for the same id."""
    for number in range(_calls(case)):
        for when in When:
            service = case.service()
            promised = BackupId.of("kb", case.asked, service.clock.now())
            with contextlib.suppress(KbDrError, Killed):
                failing = FailingRepository(service.memory, Fault(number, when))
                case.take(service, failing, promised)
            service.clock.pass_time(timedelta(minutes=5))

            try:
                found = case.take(service, None, promised).manifest.id
            except ObjectConflict:
                found = str(promised)

            assert found in restorable(service.memory), f"{when} {number}"
