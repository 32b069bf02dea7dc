"""Whatever happened to a copy, and however often retention was cut off: nothing needed is gone.

As test_retention_properties.py, but with everything real that can be had in memory: manifests,
proofs, holds, tombstones and WAL as objects, and a storage that fails in the middle of a run.
``KB_DR_TEST_COPIES`` says how many histories (the normal run: HISTORIES).
"""

import contextlib
import os
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.hold import HoldEvent
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Standing, Verdict
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.errors import KbDrError, NoUsableBackup, WalGap
from kb_dr.operations.catalog import load_catalog, readable
from kb_dr.operations.gather_retention import gather_retention
from kb_dr.operations.holds import hold, release
from kb_dr.operations.purge_backup import Outcome
from kb_dr.operations.sweep import sweep
from kb_dr.operations.tombstones import open_tombstones
from kb_dr.operations.undelete_backup import MARGIN, undelete_backup
from kb_dr_tests.faults.failing_repository import FailingRepository, Fault, Killed, When
from kb_dr_tests.made_history import POLICY, History, why_not_restorable

HISTORIES = 30
STEPS = 25

PICK = st.integers(0, 40)
UNTIL = timedelta(days=POLICY.undelete_days)


class CopyHistory(RuleBasedStateMachine):
    """One copy, from its first backup on; all backups are whole when they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History.begin(others=("offsite",))
        self.held: dict[str, list[HoldEvent]] = {}
        self.last = self.history.back_up()

    def _pick(self, number: int) -> StoredManifest:
        backups = readable(load_catalog(self.history.repository))
        return backups[-1 - number % len(backups)]

    @rule(hours=st.sampled_from([1, 5, 24, 24, 24 * 7, 24 * 40]))
    def time_passes(self, hours: int) -> None:
        self.history.clock.pass_time(timedelta(hours=hours))
        self.history.archive(self.history.next_segment)
        self.history.next_segment += 1

    @rule(days=st.integers(1, 12), proven=st.booleans())
    def days_of_backups(self, days: int, proven: bool) -> None:
        self.last = self.history.days(days, all_proven=proven)[-1]

    @rule(number=st.integers(0, 2))
    def an_incremental_backup(self, number: int) -> None:
        parent = self._pick(number)
        if parent.manifest.source.system_identifier == self.history.system:
            self.history.clock.pass_time(timedelta(minutes=5))
            self.last = self.history.back_up(BackupKind.INCR, parent)

    @rule()
    def an_upgrade(self) -> None:
        self.history.system += 1
        self.history.next_segment = 2
        self.history.clock.pass_time(timedelta(minutes=5))
        self.last = self.history.back_up()

    @rule(number=PICK, verdict=st.sampled_from([Verdict.PROVEN, Verdict.PROVEN, Verdict.FAILED]))
    def a_proof(self, number: int, verdict: Verdict) -> None:
        self.history.prove(self._pick(number), verdict)

    @rule(number=PICK)
    def a_hold(self, number: int) -> None:
        backup = self._pick(number).manifest.backup_id
        event = hold([self.history.others[0]], self.history.clock, backup, "held")
        self.held.setdefault(str(backup), []).append(event)

    @rule()
    def a_release(self) -> None:
        if self.held:
            name, events = self.held.popitem()
            backup = BackupId.parse(name)
            release([self.history.repository], self.history.clock, backup, "over", events)

    @rule()
    def a_sweep(self) -> None:
        assert not sweep(self.history.repository, self.history.clock, dry_run=False)

    @rule(at=st.integers(0, 400), when=st.sampled_from(list(When)))
    def retention_is_cut_off(self, at: int, when: When) -> None:
        before = self._stands()
        fault = Fault(at, when)
        seen = [FailingRepository(each, fault) for each in self.history.places]
        planned = {each.id for each in self.history.plan().plan.expire}
        with contextlib.suppress(KbDrError, Killed):
            self.history.apply(seen=seen)
        assert before - self._stands() <= planned, "only what was planned goes"

    @rule()
    def retention(self) -> None:
        before = self._stands()
        gathered = gather_retention(self.history.repository, self.history.places, service="kb")
        proven = [e.started for e in gathered.candidates if e.standing is Standing.PROVEN]
        started = {each.id: each.started for each in gathered.candidates}
        planned = self.history.plan()
        done = self.history.apply(planned)
        gone = before - self._stands()

        assert gone == {each.id for each in planned.plan.expire}
        assert all(max(proven) > started[name] for name in gone), "a newer one is proven"
        assert done.count(Outcome.SPARED) == done.count(Outcome.RETAINED) == 0
        bodies = dict(self.history.repository.bodies)
        again = self.history.apply()
        assert again.count(Outcome.EXPIRED) == again.wal.files == 0
        assert self.history.repository.bodies == bodies, "twice is once"

    @rule(number=PICK)
    def something_comes_back(self, number: int) -> None:
        now = self.history.clock.now()
        there = [
            each
            for each in open_tombstones(self.history.repository)
            if each.last.step is PurgeStep.EXPIRED
        ]
        if not there:
            return
        chosen = there[number % len(there)]
        backup = BackupId.parse(chosen.backup_id)
        try:
            undelete_backup(
                self.history.repository,
                self.history.others,
                self.history.clock,
                backup,
                reason="wanted",
                until=UNTIL,
            )
        except (NoUsableBackup, WalGap):
            # Its own time was over, or that of what it is built upon.
            oldest = min(each.last.at for each in there)
            assert now >= oldest + UNTIL - MARGIN
            return
        assert chosen.backup_id in self._stands()

    @invariant()
    def what_stands_can_be_restored(self) -> None:
        here = self.history.repository
        for stored in readable(load_catalog(here)):
            assert not why_not_restorable(here, stored), stored.manifest.id

    @invariant()
    def what_is_held_stands(self) -> None:
        assert set(self.held) <= self._stands()

    @invariant()
    def the_newest_stands(self) -> None:
        assert self.last.manifest.id in self._stands()

    @invariant()
    def what_expired_of_late_is_whole(self) -> None:
        here, now = self.history.repository, self.history.clock.now()
        for each in open_tombstones(here):
            if each.last.step is PurgeStep.EXPIRED and now < each.last.at + UNTIL:
                backup = BackupId.parse(each.backup_id)
                assert list(here.list(layout.backup_prefix(backup))), each.backup_id

    def _stands(self) -> set[str]:
        return set(self.history.ids)


def test_nothing_that_is_needed_is_gone_whatever_happened() -> None:
    run_state_machine_as_test(
        CopyHistory,
        settings=settings(
            max_examples=int(os.environ.get("KB_DR_TEST_COPIES", HISTORIES)),
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
