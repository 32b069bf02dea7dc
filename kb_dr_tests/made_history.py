"""Copies with a past: backups of many days, proofs, WAL, made up and stored as real ones are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Manifest, StoredManifest, manifest_digest
from kb_dr.domain.proof import Check, Outcome, Proof, Reach, Verdict
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.operations.apply_retention import AppliedRetention, apply_retention
from kb_dr.operations.catalog import load_catalog, readable, store_manifest
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.plan_copy_retention import CopyRetention, plan_copy_retention
from kb_dr.operations.proofs import store_proof_in
from kb_dr.operations.undelete_backup import undelete_backup
from kb_dr.ports import Repository
from kb_dr_tests.fakes import FakeClock, MemoryRepository, RecordingProgress
from kb_dr_tests.stored_backups import SYSTEM, segment, store_objects

BEGAN = datetime(2026, 1, 1, 2, tzinfo=UTC)
"""The first backup of a history."""

POLICY = RetentionPolicy(
    hourly_hours=24,
    daily_days=7,
    weekly_weeks=2,
    monthly_months=2,
    quarterly_years=0,
    wal_days=2,
    undelete_days=3,
)


@dataclass(slots=True)
class History:
    """One copy, a clock that both share, and the other copies."""

    repository: MemoryRepository
    clock: FakeClock
    others: tuple[MemoryRepository, ...] = ()
    next_segment: int = 2
    system: int = SYSTEM

    @classmethod
    def begin(cls, *, others: Sequence[str] = (), name: str = "primary") -> "History":
        """An empty copy."""
        clock = FakeClock(BEGAN)
        return cls(
            MemoryRepository(name, clock),
            clock,
            tuple(MemoryRepository(other, clock) for other in others),
        )

    @property
    def places(self) -> tuple[MemoryRepository, ...]:
        return (self.repository, *self.others)

    def back_up(
        self,
        kind: BackupKind = BackupKind.FULL,
        parent: StoredManifest | None = None,
        *,
        started: datetime | None = None,
    ) -> StoredManifest:
        """A backup taken now, with WAL of its own; time and WAL go on a little."""
        when = started or self.clock.now()
        first, last = self.next_segment, self.next_segment + 1
        for number in (first, last, last + 1):
            self.archive(number)
        self.next_segment = last + 2
        backup = BackupId.of("kb", kind, when)
        manifest = store_objects(self.repository, started=when, start=first, stop=last)
        manifest = replace(manifest, source=replace(manifest.source, system_identifier=self.system))
        if kind is BackupKind.INCR:
            manifest = self._as_incremental(manifest, backup, parent)
        self.clock.pass_time(timedelta(minutes=1))
        return store_manifest(self.repository, manifest)

    def _as_incremental(
        self, manifest: Manifest, backup: BackupId, parent: StoredManifest | None
    ) -> Manifest:
        assert parent is not None
        moved = []
        for stored in manifest.objects:
            body = self.repository.read(stored.key)
            self.repository.delete(stored.key)
            key = layout.attempt_prefix(backup, manifest.attempt) + stored.key.rpartition("/")[2]
            moved.append(self.repository.put(key, body))
        return replace(
            manifest,
            id=str(backup),
            kind=BackupKind.INCR,
            parent=parent.manifest.id,
            parent_digest=parent.digest,
            chunks=tuple(moved[:-1]),
            postgres_manifest=moved[-1],
            fingerprint=replace(manifest.fingerprint, restore_point=str(backup)),
        )

    def archive(self, number: int) -> None:
        """One segment, a few bytes long: nobody reads it here."""
        self.repository.put(layout.wal_key(self.system, segment(number).name, "0" * 64), b"wal")

    def prove(
        self, stored: StoredManifest, verdict: Verdict = Verdict.PROVEN, *, minutes: float = 1
    ) -> Proof:
        """A proof of this copy of it, finished now."""
        self.clock.pass_time(timedelta(minutes=minutes))
        finished = self.clock.now()
        proof = Proof(
            schema_version=records.SCHEMA_VERSION,
            id=f"{finished:%Y%m%d-%H%M%S-%f}",
            backup_id=stored.manifest.id,
            manifest_digest=stored.digest,
            copy=self.repository.name,
            url=self.repository.url,
            started=finished - timedelta(seconds=30),
            finished=finished,
            verdict=verdict,
            reason="as the test says",
            checks=(Check("rows", Outcome.PASSED, "there"),),
            phases=(),
            reach=Reach(1, Lsn(0x300000), 1, Lsn(0x300000), None),
            tools={},
            host="h",
        )
        store_proof_in(self.places, proof)
        return proof

    def days(self, count: int, *, all_proven: bool = False) -> list[StoredManifest]:
        """A full backup a day, the newest proven, or each of them."""
        taken = []
        for _ in range(count):
            began = self.clock.now()
            taken.append(self.back_up())
            if all_proven:
                self.prove(taken[-1])
            self.clock.set(began + timedelta(days=1))
        self.prove(taken[-1])
        return taken

    def chain(self) -> tuple[StoredManifest, StoredManifest, StoredManifest]:
        """A full backup and two increments, each upon the one before, an hour apart."""
        full = self.back_up()
        self.clock.pass_time(timedelta(hours=1))
        one = self.back_up(BackupKind.INCR, full)
        self.clock.pass_time(timedelta(hours=1))
        return full, one, self.back_up(BackupKind.INCR, one)

    def another_day(self) -> StoredManifest:
        """One more full backup, proven."""
        stored = self.back_up()
        self.prove(stored)
        return stored

    def undelete(self, name: str, *, until: timedelta | None = timedelta(days=3)) -> None:
        """Bring an expired backup back."""
        undelete_backup(
            self.repository,
            self.others,
            self.clock,
            BackupId.parse(name),
            reason="wanted again",
            until=until,
        )

    def plan(
        self,
        policy: RetentionPolicy = POLICY,
        *,
        seen: Sequence[Repository] | None = None,
    ) -> CopyRetention:
        """What goes now; ``seen`` are the places as they are reached, this one first."""
        places = self.places if seen is None else seen
        return plan_copy_retention(places[0], places, self.clock, policy, service="kb")

    def apply(
        self,
        planned: CopyRetention | None = None,
        policy: RetentionPolicy = POLICY,
        *,
        seen: Sequence[Repository] | None = None,
    ) -> AppliedRetention:
        """Plan and carry out, or carry out what was planned; one thing at a time."""
        places = self.places if seen is None else seen
        found = planned or self.plan(policy, seen=places)
        return apply_retention(places[0], places, self.clock, RecordingProgress(), found, at_once=1)

    @property
    def ids(self) -> list[str]:
        """The backups that stand, oldest first."""
        return [each.manifest.id for each in readable(load_catalog(self.repository))]


def why_not_restorable(repository: Repository, stored: StoredManifest) -> str:
    """What a restore of this backup would lack; empty when it lacks nothing."""
    manifest = stored.manifest
    for each in manifest.objects:
        found = repository.find(each.key)
        if found is None or found.size_bytes != each.size_bytes:
            return f"{each.key} is missing"
    if missing := find_needed_wal(repository, manifest).missing:
        return f"WAL is missing: {missing[0]}"
    if manifest.parent is None:
        return ""
    key = layout.manifest_key(BackupId.parse(manifest.parent))
    if repository.find(key) is None:
        return f"its parent {manifest.parent} is missing"
    body = repository.read(key)
    if manifest_digest(body) != manifest.parent_digest:
        return f"its parent {manifest.parent} is another"
    parent = records.from_json(Manifest, body, what=key)
    return why_not_restorable(repository, StoredManifest(parent, manifest_digest(body), "here"))


def restorable(repository: Repository) -> set[str]:
    """The backups that can be restored."""
    return {
        each.manifest.id
        for each in readable(load_catalog(repository))
        if not why_not_restorable(repository, each)
    }
