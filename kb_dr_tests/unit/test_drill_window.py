"""A drill speaks of the line a restore to the newest follows, and of what a disaster would cost."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from kb_dr.domain.drill import Drill
from kb_dr.domain.layout import proof_key
from kb_dr.domain.proof import Proof, Verdict
from kb_dr.domain.recoverable_window import newest_window
from kb_dr.domain.recovery import RecoveryPlan
from kb_dr.domain.recovery_target import AtTime
from kb_dr.errors import KbDrError
from kb_dr.operations.drill import run_drill
from kb_dr.operations.plan_recovery import plan_recovery
from kb_dr.operations.proofs import store_proof
from kb_dr.operations.recovery_windows import list_recovery_windows
from kb_dr_tests.made_archive import CODEC, Archive, minute
from kb_dr_tests.made_installation import made_proof


@dataclass(frozen=True)
class Limits:
    rpo_seconds: float = 300.0
    rto_seconds: float = 900.0


def drill(archive: Archive, *, live: float | None = None, back: float = 0.0) -> Drill:
    """One whose restore takes a minute by our stopwatch, and ends with an error.

    By so many seconds the clock is set ``back`` in the meantime.
    """

    def prove(plan: RecoveryPlan) -> Proof:
        began = archive.clock.now()
        archive.clock.sleep(60)
        if back:
            archive.clock.set(began + timedelta(seconds=60 - back))
        raise KbDrError(f"asked for timeline {plan.timeline}, {plan.target}")

    return run_drill(
        archive.repository,
        CODEC,
        archive.clock,
        prove,
        Limits(),
        seed=3,
        to_the_end=False,
        checklist=(),
        live_rpo_seconds=live,
    )


def an_old_primary_that_went_on() -> Archive:
    """Production is on timeline 2 and its archive has stalled; timeline 1 is archived still."""
    archive = Archive(range(300, 312))
    archive.fork(2, archive.start_of(6), [minute(303.5), minute(304)])
    archive.clock.set(minute(312))
    return archive


def test_the_window_is_of_the_line_a_restore_to_the_newest_follows() -> None:
    archive = an_old_primary_that_went_on()

    made = drill(archive)

    latest = plan_recovery(archive.repository, CODEC, archive.stored[0], archive.clock)
    assert made.window is not None
    assert made.window.timeline == latest.timeline == 2
    assert made.reason.startswith("asked for timeline ")
    assert made.rpo_seconds == 8 * 60.0


def test_that_line_counts_where_its_first_own_segment_is_missing_as_well() -> None:
    archive = an_old_primary_that_went_on()
    archive.remove(6, timeline=2)

    made = drill(archive)

    assert made.window is not None
    assert made.window.ended_by == "gap: 000000020000000000000006 is missing"
    assert made.rpo_seconds == 10 * 60.0


def test_a_window_reaches_to_a_commit_older_than_its_newest_backup() -> None:
    archive = Archive()
    writer = archive.fork(2, archive.start_of(8), [minute(30)])
    archive.back_up(writer, minute(40))
    archive.store(writer)

    window = newest_window(list_recovery_windows(archive.repository, CODEC))

    assert window is not None
    assert len(window.backups) == 2
    assert window.ends_at == minute(30)


def test_the_newest_backups_window_counts_and_not_one_that_reaches_farther() -> None:
    [window] = list_recovery_windows(Archive().repository, CODEC)
    newer = replace(window, backups=("kb-full-20261120-030000",), covered_until=minute(3))
    unknown = replace(newer, covered_until=None)

    assert newest_window([newer, window]) == newer
    assert newest_window([window, newer]) == newer
    assert newest_window([window, unknown]) is None, "nobody can tell how far the newest reaches"


@pytest.mark.parametrize("live", [None, 0.0])
def test_commits_ahead_of_our_clock_leave_the_rpo_of_a_drill_unknown(live: float | None) -> None:
    archive = Archive()
    archive.clock.set(minute(5) - timedelta(seconds=6))

    made = drill(archive, live=live)

    assert made.rpo_seconds is None
    assert "RPO not known" in made.shortfalls


def test_a_commit_of_this_moment_may_be_a_little_ahead_of_our_clock() -> None:
    archive = Archive()
    archive.clock.set(minute(5) - timedelta(seconds=4))

    assert drill(archive).rpo_seconds == 0.0


@pytest.mark.parametrize("back", [0.0, 30.0, 3600.0])
def test_a_clock_set_back_makes_no_drill_faster(back: float) -> None:
    made = drill(Archive(), back=back)

    assert made.rto_seconds == 60.0
    assert drill(Archive(), back=-30.0).rto_seconds == 90.0, "the larger of the two"


def test_what_only_bad_backups_lead_to_is_no_window() -> None:
    archive = Archive()
    [window] = list_recovery_windows(archive.repository, CODEC)
    red = made_proof(archive.stored[0], Verdict.FAILED, copy="primary", minutes=10)
    store_proof(archive.repository, red)

    assert window.backups == (archive.stored[0].manifest.id,)
    assert list_recovery_windows(archive.repository, CODEC) == ()
    assert drill(archive).window is None


def test_a_proof_nobody_can_read_may_be_a_red_one() -> None:
    archive = Archive()
    backup = archive.stored[0].manifest.backup_id
    archive.repository.put(proof_key(backup, "primary", "20261120-030000-x"), b"{}")

    assert list_recovery_windows(archive.repository, CODEC) == ()


def test_a_backup_proven_again_is_a_window_again() -> None:
    archive = Archive()
    for verdict, minutes in ((Verdict.FAILED, 10), (Verdict.PROVEN, 20)):
        made = made_proof(archive.stored[0], verdict, copy="primary", minutes=minutes)
        store_proof(archive.repository, replace(made, url=archive.repository.url))

    assert len(list_recovery_windows(archive.repository, CODEC)) == 1


def test_the_target_is_drawn_from_that_window() -> None:
    made = drill(an_old_primary_that_went_on())

    assert made.asked != "latest"
    assert made.window is not None
    assert made.window.ends_at == minute(304)
    assert str(AtTime(minute(304))) >= made.asked
