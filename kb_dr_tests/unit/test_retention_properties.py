"""Whatever happens to a service and its backups, retention takes nothing that anybody needs.

Histories are made up by hypothesis: backups, failures, proofs, holds, upgrades, promotions, clocks
that jump, settings that change, and retention at any moment in between. A failing one is printed
step by step, with the seed; ``KB_DR_TEST_SEED`` runs it again. ``KB_DR_TEST_HISTORIES`` says how
many there are, for a long run with ``pytest --timeout=0``.
"""

import os
import random
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.plan_retention import plan_retention, with_wal
from kb_dr.domain.plan_wal_retention import ListedWal, plan_wal, wal_boundaries
from kb_dr.domain.proof import Standing, Verdict
from kb_dr.domain.retention import RetentionPlan
from kb_dr.domain.wal_names import Segment, history_name
from kb_dr_tests.mirrored_dumps import families_are_apart
from kb_dr_tests.retention_oracle import Oracle, tiers_of
from kb_dr_tests.retention_world import STRANGER, Made, WalFile, World

HISTORIES = 400
STEPS = 30

SEEN: Counter[str] = Counter()

PICK = st.integers(0, 30)
VERDICTS = st.sampled_from([Verdict.PROVEN, Verdict.PROVEN, Verdict.FAILED, Verdict.NOT_PROVEN])


def name_of(wal: WalFile) -> str:
    """The name PostgreSQL gives it."""
    return Segment(wal[1], wal[2]).name


def listed(world: World) -> list[ListedWal]:
    """The archive as a store lists it, histories and all."""
    found = [ListedWal(wal[0], name_of(wal), 16, at) for wal, at in world.wal.items()]
    found += [
        ListedWal(system, history_name(timeline), 1, world.true - timedelta(days=9999))
        for system, timeline in world.forks
    ]
    return sorted(found, key=lambda each: (str(each.system_identifier), each.name))


def plan(world: World, shuffled: int = 0) -> RetentionPlan:
    """All of it, as the operation does it."""
    candidates = [world.candidate(each) for each in world.present]
    random.Random(shuffled).shuffle(candidates)
    made = plan_retention(
        candidates,
        world.policy,
        world.ours,
        copy="primary",
        url="memory",
        newest_stored=world.newest_stored,
        expired=world.expired(),
        stops=("the newest proof FAILED",) if world.failing else (),
    )
    boundaries = wal_boundaries(made, candidates, world.policy, world.expired())
    ranges, notes = plan_wal(listed(world), boundaries)
    for system, timeline in world.forks:
        history = ListedWal(system, history_name(timeline), 1, world.true - timedelta(days=9999))
        assert boundaries.keeps(history)
    return with_wal(made, ranges, notes)


def carry_out(world: World, made: RetentionPlan) -> None:
    """What apply does, by what the plan says alone."""
    for each in made.purge_now:
        world.purge(each)
    for decision in reversed(made.expire):
        world.expire(decision.id)
    for gone in made.wal:
        names = [
            wal
            for wal in world.wal
            if wal[0] == gone.system_identifier and gone.first <= name_of(wal) <= gone.last
        ]
        assert len(names) == gone.files
        for wal in names:
            del world.wal[wal]


class Histories(RuleBasedStateMachine):
    """One history."""

    @initialize(daily=st.sampled_from([2, 5, 30]), wal_days=st.sampled_from([0, 2, 7]))
    def begin(self, daily: int, wal_days: int) -> None:
        self.world = World()
        self.world.set_policy(daily_days=daily, wal_days=wal_days)
        self.world.wal[STRANGER] = self.world.true - timedelta(days=5000)
        self.begun: Made | None = None

    def pick(self, number: int) -> Made | None:
        """One of the backups, counted from the newest."""
        present = self.world.present
        return present[-1 - number % len(present)] if present else None

    @rule(hours=st.integers(1, 60))
    def time_passes(self, hours: int) -> None:
        self.world.pass_time(hours)

    @rule(days=st.integers(5, 400), writing=st.booleans())
    def nothing_for_long(self, days: int, writing: bool) -> None:
        self.world.pass_time(24 * days, writing=writing)

    @rule(
        days=st.integers(2, 8),
        step=st.sampled_from([1, 1, 1, 7, 15]),
        increments=st.integers(0, 2),
        proven=st.sampled_from([1, 2, 3, 9]),
    )
    def days_as_planned(self, days: int, step: int, increments: int, proven: int) -> None:
        for day in range(days):
            newest = self.world.back_up(BackupKind.FULL, None)
            for _ in range(increments):
                self.world.pass_time(1)
                newest = self.world.back_up(BackupKind.INCR, newest)
            if day % proven == proven - 1:
                self.world.prove(newest, Verdict.PROVEN)
            self.world.pass_time(24 * step - increments)

    @rule()
    def full(self) -> None:
        self.world.back_up(BackupKind.FULL, None)

    @rule(count=st.integers(1, 4), apart=st.integers(0, 1))
    def incrementals(self, count: int, apart: int) -> None:
        for _ in range(count):
            parent = self.world.newest_native()
            kind = BackupKind.FULL if parent is None else BackupKind.INCR
            self.world.back_up(kind, parent)
            if apart:
                self.world.pass_time(apart)

    @rule()
    def recovery_point(self) -> None:
        world, parent = self.world, self.world.newest_native()
        if parent is None:
            return
        since = range(parent.first, world.segment)
        if {(parent.system, parent.timeline, number) for number in since} <= world.wal.keys():
            world.recovery_point(parent)
        else:
            # The newest has failed, and WAL is gone since the one before: a full, as it is taken.
            world.back_up(BackupKind.FULL, None)

    @precondition(lambda self: self.begun is None)
    @rule()
    def incremental_begins(self) -> None:
        self.begun = self.world.newest_native()
        self.begun_at = self.world.true

    @precondition(lambda self: self.begun is not None)
    @rule()
    def incremental_ends(self) -> None:
        begun, self.begun = self.begun, None
        within_a_day = self.world.true - self.begun_at < timedelta(days=1)
        if begun is not None and within_a_day and self.world.skew == timedelta(0):
            assert all(link.present for link in begun.chain)
            if (begun.system, begun.timeline) == (self.world.system, self.world.timeline):
                self.world.back_up(BackupKind.INCR, begun)

    @rule(number=PICK, verdict=VERDICTS)
    def proof(self, number: int, verdict: Verdict) -> None:
        made = self.pick(number)
        if made is not None:
            self.world.prove(made, verdict)

    @rule()
    def newest_is_proven(self) -> None:
        made = self.pick(0)
        if made is not None:
            self.world.prove(made, Verdict.PROVEN)

    @rule()
    def verifier_was_blind(self) -> None:
        self.world.void()

    @rule()
    def what_is_void_is_proven_again(self) -> None:
        for each in self.world.present:
            if self.world.standing(each) is Standing.VOID:
                self.world.prove(each, Verdict.PROVEN)

    @rule(number=PICK, reason=st.sampled_from(["case 7", "audit"]))
    def hold(self, number: int, reason: str) -> None:
        made = self.pick(number)
        if made is not None:
            made.holds.add(reason)

    @rule(number=PICK)
    def hold_what_expired(self, number: int) -> None:
        gone = [each for each in self.world.made if each.expired_at is not None]
        if gone:
            gone[number % len(gone)].holds.add("late")

    @rule()
    def release_all(self) -> None:
        for each in self.world.made:
            each.holds.clear()

    @rule(number=PICK, days=st.integers(1, 90))
    def lock(self, number: int, days: int) -> None:
        made = self.pick(number)
        if made is not None:
            made.locked_until = self.world.true + timedelta(days=days)

    @rule(number=PICK, proven=st.booleans())
    def keys_are_rotated(self, number: int, proven: bool) -> None:
        made = self.pick(number)
        if made is not None and made.kind is BackupKind.FULL:
            self.world.encrypt_anew(made)
            if proven:
                self.world.prove(self.world.made[-1], Verdict.PROVEN)

    @rule()
    def promotion(self) -> None:
        self.world.promote()

    @rule()
    def upgrade(self) -> None:
        self.world.upgrade()

    @rule(days=st.sampled_from([2, 50, 500]), proven=st.booleans(), later=st.integers(0, 3))
    def backup_ahead_of_time(self, days: int, proven: bool, later: int) -> None:
        made = self.world.back_up_ahead_of_time(days)
        if proven:
            self.world.prove(made, Verdict.PROVEN)
        self.world.pass_time(24 * later)
        self.judged(0)

    @rule(days=st.sampled_from([0, 0, 0, -400, -1, 1, 30, 4000]), minutes=st.integers(-50, 50))
    def clock_jumps(self, days: int, minutes: int) -> None:
        self.world.skew = timedelta(days=days, minutes=minutes if days else 0)

    @rule(
        hourly=st.sampled_from([0, 24, 168]),
        daily=st.sampled_from([1, 5, 30, 60]),
        weekly=st.sampled_from([0, 3, 12]),
        monthly=st.sampled_from([0, 2, 12]),
        quarterly=st.sampled_from([0, 1, 7]),
        wal=st.sampled_from([0, 7]),
        undelete=st.sampled_from([0, 7]),
    )
    def settings_change(
        self,
        hourly: int,
        daily: int,
        weekly: int,
        monthly: int,
        quarterly: int,
        wal: int,
        undelete: int,
    ) -> None:
        self.world.set_policy(
            hourly_hours=hourly,
            daily_days=daily,
            weekly_weeks=weekly,
            monthly_months=monthly,
            quarterly_years=quarterly,
            wal_days=wal,
            undelete_days=undelete,
        )

    @rule(number=PICK)
    def undelete(self, number: int) -> None:
        gone = [each for each in self.world.made if each.expired_at is not None]
        if gone:
            self.world.undelete(gone[number % len(gone)])

    @rule(shuffled=st.integers(0, 3))
    def apply(self, shuffled: int) -> None:
        self.judged(shuffled)

    @rule(days=st.integers(1, 40))
    def apply_later(self, days: int) -> None:
        self.world.pass_time(24 * days)
        self.judged(0)

    @rule(
        days=st.integers(0, 20),
        of_all=st.booleans(),
        increments=st.integers(0, 3),
        apart=st.integers(0, 1),
    )
    def apply_on_a_good_day(self, days: int, of_all: bool, increments: int, apart: int) -> None:
        """The newest is proven, nothing is void, no clock is wrong."""
        self.world.skew = timedelta(0)
        self.world.pass_time(24 * days)
        for each in self.world.present:
            if of_all or self.world.standing(each) is Standing.VOID:
                self.world.prove(each, Verdict.PROVEN)
        newest = self.world.back_up(BackupKind.FULL, None)
        for _ in range(increments):
            self.world.pass_time(apart)
            newest = self.world.back_up(BackupKind.INCR, newest)
        self.world.prove(newest, Verdict.PROVEN)
        self.judged(0)

    @rule(number=PICK)
    def a_day_goes_bad(self, number: int) -> None:
        """Every backup of a day fails, and later ones do not."""
        made = self.pick(number)
        if made is not None:
            for each in self.world.present:
                if each.started.date() == made.started.date():
                    self.world.prove(each, Verdict.FAILED)
            self.world.pass_time(30)
            self.world.prove(self.world.back_up(BackupKind.FULL, None), Verdict.PROVEN)

    def judged(self, shuffled: int) -> None:
        """Apply, and hold what happened against what must be true."""
        world = self.world
        before = Oracle(world)
        SEEN.update(families_are_apart(world, listed(world)))
        wal_before = set(world.wal)
        present = world.present
        standing_before = [each for each in world.made if each.stands]
        lines = {each.id: world.line_from(each) for each in present}
        made = plan(world)
        assert plan(world, shuffled + 1) == made

        carry_out(world, made)

        gone = [each for each in present if not each.present]
        purged = [each for each in standing_before if not each.stands]
        wal_gone = wal_before - set(world.wal)
        self.nothing_needed_went(before, present, gone, purged)
        self.replacements_are_proven(before, gone)
        self.window_has_no_hole(before, wal_gone, lines)
        kept = {each.id for each in present if each.present}
        assert kept == before.expected_kept()
        standing = [each for each in world.made if each.stands]
        known = {each.system for each in standing_before}
        expected = before.expected_wal(kept, standing)
        expected |= {wal for wal in wal_before if wal[0] not in known}
        assert set(world.wal) == expected | (set(world.wal) - wal_before)
        self.twice_is_once(made)
        self.count(before, made, gone, purged, wal_gone)

    def count(
        self,
        before: Oracle,
        made: RetentionPlan,
        gone: list[Made],
        purged: list[Made],
        wal_gone: set[WalFile],
    ) -> None:
        """What the histories came by: a property that is never put to the test is worth nothing."""
        kept = [each for each in before.backups if each.present]
        decisions = {each.id: each for each in made.decisions}
        for what, seen in (
            ("applied", True),
            ("stopped", before.stopped),
            ("expired", gone),
            ("purged", purged),
            ("WAL went", wal_gone),
            ("clock not believed", before.now < self.world.ours),
            ("from the future", len(before.past) < len(before.backups)),
            ("owed", any(decisions[each.id].owed for each in kept)),
            ("two clusters", len({each.system for each in kept}) > 1),
            ("two timelines", len({each.timeline for each in kept}) > 1),
            ("chain went", any(each.parent for each in gone)),
            ("kept as parent", any("parent of" in d.reasons[0] for d in made.decisions)),
            (
                "kept though failed",
                any("has nothing better" in d.reasons[0] for d in made.decisions),
            ),
            ("not purged", any("is not purged" in note for note in made.notes)),
            ("encrypted anew went", any(each.replaces for each in gone)),
            ("superseded went", any(before.superseded(each) for each in gone)),
            ("held", any(each.holds for each in kept)),
            ("locked", any("locked" in d.reasons[0] for d in made.decisions)),
        ):
            SEEN[what] += bool(seen)

    def nothing_needed_went(
        self, before: Oracle, present: list[Made], gone: list[Made], purged: list[Made]
    ) -> None:
        """Nothing held, locked, young, newest, from the future; nothing while proofs fail."""
        if before.stopped:
            assert not gone
            assert not purged
        for each in [*gone, *purged]:
            assert not each.holds
            assert each.locked_until is None or each.locked_until <= before.now
        for each in gone:
            assert each.finished <= before.now - timedelta(days=1)
        if before.past:
            assert before.past[-1].present
        if before.proven:
            assert before.proven[-1].present

    def replacements_are_proven(self, before: Oracle, gone: list[Made]) -> None:
        """F2, of each backup that went and each tier that shed it."""
        for each in gone:
            if before.superseded(each) and any(
                other.present and other in before.proven for other in before.same_bytes(each)
            ):
                continue
            assert any(other.started > each.started for other in before.proven if other.present)
            for tier in tiers_of(before.policy):
                members = before.members(tier)
                if each not in members:
                    continue
                assert not before.lives(tier, each)
                assert any(
                    other.present and other in before.evident and other.started > each.started
                    for other in members
                )

    def window_has_no_hole(
        self, before: Oracle, wal_gone: set[WalFile], lines: dict[str, set[WalFile]]
    ) -> None:
        """From the oldest retained daily on, whatever line recovery follows is as it was."""
        daily = [each for each in before.backups if each.present and before.in_daily(each)]
        oldest = min((each.started for each in daily), default=None)
        for each in before.backups:
            if each.present and oldest is not None and each.started >= oldest:
                assert not (lines[each.id] & wal_gone)
        assert STRANGER not in wal_gone
        if oldest is None:
            assert not wal_gone

    def twice_is_once(self, made: RetentionPlan) -> None:
        """At the same moment there is nothing left to do."""
        state = self.world.state()
        again = plan(self.world)
        assert (again.expire, again.purge_now, again.wal) == ((), (), ())
        carry_out(self.world, again)
        assert self.world.state() == state
        goes = bool(made.expire or made.purge_now or made.wal)
        assert (made.fingerprint != again.fingerprint) == goes

    @invariant()
    def all_that_stands_is_whole(self) -> None:
        """Base, chain and WAL to consistency, of what is retained and of what may come back."""
        for each in getattr(self, "world", World()).made:
            if each.stands:
                if each.present:
                    assert all(link.present for link in each.chain), each.id
                assert all(link.stands for link in each.chain), each.id
                assert self.world.needs(each) <= self.world.wal.keys(), each.id


# A failure is made short before it is shown, which may take five minutes.
@pytest.mark.timeout(1200)
def test_no_history_takes_what_anybody_needs() -> None:
    histories = int(os.environ.get("KB_DR_TEST_HISTORIES", HISTORIES))
    chosen = int(os.environ.get("KB_DR_TEST_SEED", random.randrange(2**32)))
    print(f"KB_DR_TEST_SEED={chosen}")
    SEEN.clear()

    run_state_machine_as_test(
        seed(chosen)(Histories),
        settings=settings(
            max_examples=histories,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )

    print(dict(SEEN))
    never = [what for what, times in SEEN.items() if not times]
    assert histories < HISTORIES or not never, never
