"""Backups that are watched: what is old, small or slow is red, and what nobody knows not green."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.watch.backup_sizes import judge_backup_duration, judge_backup_size
from kb_dr.domain.watch.backups import SeenBackups, judge_backup_age, judge_increment_age
from kb_dr.domain.watch.conclude import Unknown
from kb_dr.domain.watched import Watched
from kb_dr_tests.made_watch import NO_DUMPS, NOW, SILENT, full, holds, increment

P, F, C, N = Outcome.PASSED, Outcome.FAILED, Outcome.COULD_NOT_RUN, Outcome.NOT_APPLICABLE
HOUR = 3600.0


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (holds(full(1)), P),
        (holds(full(26)), P),
        (holds(full(26 + 1 / HOUR)), F),
        (holds(full(27), full(1, good=False)), F),
        (holds(full(25), full(1, good=False)), P),
        (holds(full(1, good=False)), F),
        (holds(), F),
        (holds(full(-0.02)), P),
        (holds(full(-1)), F),
        (holds(full(25), full(-48)), F),
        (SILENT, C),
    ],
)
def test_the_newest_full_backup_is_young_or_not(
    seen: SeenBackups | Unknown, outcome: Outcome
) -> None:
    judged = judge_backup_age({"primary": seen}, NOW, 26 * HOUR)

    assert judged.outcome is outcome
    assert judged.severity is Severity.CRITICAL


def test_each_copy_has_to_hold_a_young_backup_by_itself() -> None:
    judged = judge_backup_age(
        {"primary": holds(full(1)), "offsite": holds(full(30)), "local": SILENT}, NOW, 26 * HOUR
    )

    assert judged.outcome is F
    assert judged.broken == ("newest full backup in offsite", "newest full backup in local")
    assert judged.values == {"age_seconds_primary": HOUR, "age_seconds_offsite": 30 * HOUR}
    assert judge_backup_age({}, NOW, 26 * HOUR).outcome is C


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (holds(full(20), newest=increment(1)), P),
        (holds(full(20), newest=increment(3)), P),
        (holds(full(20), newest=increment(3 + 1 / HOUR)), F),
        (holds(full(20), newest=increment(-1)), F),
        (holds(full(2)), N),
        (holds(full(2), newest=increment(5)), N),
        (holds(full(2, good=False), newest=increment(5)), F),
        (holds(full(20)), F),
        (holds(), F),
        (SILENT, C),
    ],
)
def test_the_newest_increment_is_young_or_not(
    seen: SeenBackups | Unknown, outcome: Outcome
) -> None:
    judged = judge_increment_age(seen, NOW, 3 * HOUR, wanted=True)

    assert (judged.outcome, judged.severity) == (outcome, Severity.WARNING)


def test_where_no_increments_are_taken_none_is_missed() -> None:
    assert judge_increment_age(holds(), NOW, 3 * HOUR, wanted=False).outcome is N


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (holds(full(48, size=1000), full(1, size=1000)), P),
        (holds(full(48, size=1000), full(1, size=500)), P),
        (holds(full(48, size=1000), full(1, size=498)), F),
        (holds(full(72, size=500), full(48, size=1500), full(1, size=499)), F),
        # Of long ago, of another cluster, known to be bad: none of them is compared with.
        (holds(full(8 * 24, size=9000), full(1, size=10)), N),
        (holds(full(48, size=9000, system=7), full(1, size=10)), N),
        (holds(full(48, size=9000, good=False), full(1, size=10)), N),
        (holds(full(1)), N),
        # The newest is judged, good or not.
        (holds(full(48, size=1000), full(1, size=10, good=False)), F),
        (holds(full(48, size=0), full(1, size=0)), P),
        (SILENT, C),
    ],
)
def test_the_size_of_the_newest_backup_is_plausible_or_not(
    seen: SeenBackups | Unknown, outcome: Outcome
) -> None:
    judged = judge_backup_size(seen, 50.0, NO_DUMPS)

    assert (judged.outcome, judged.severity) == (outcome, Severity.WARNING)


def test_what_is_stored_counts_as_well_as_what_was_read() -> None:
    small = replace(full(1), stored_bytes=100)

    judged = judge_backup_size(holds(full(48), small), 50.0, NO_DUMPS)

    assert judged.broken == ("stored size of the newest full backup in primary",)
    assert judged.values["stored_percent"] == 20
    assert judged.values["plain_percent"] == 100


@pytest.mark.parametrize(("minutes", "outcome"), [(1, P), (30, P), (30 + 1 / 60, F), (-1, C)])
def test_a_backup_is_quick_or_not(minutes: float, outcome: Outcome) -> None:
    judged = judge_backup_duration(holds(full(1, minutes=minutes)), NOW, 30 * 60.0, NO_DUMPS)

    assert judged.outcome is outcome
    assert judged.values["duration_seconds"] == pytest.approx(minutes * 60)


@pytest.mark.parametrize(("minutes", "outcome"), [(5, P), (30, P), (31, F), (-1, P), (-10, F)])
def test_a_backup_that_never_ends_is_red_before_it_ends(minutes: float, outcome: Outcome) -> None:
    since = NOW - timedelta(minutes=minutes)

    judged = judge_backup_duration(
        replace(holds(full(1)), under_way_since=since), NOW, 30 * 60.0, NO_DUMPS
    )

    assert judged.outcome is outcome


@pytest.mark.parametrize(
    "judge",
    [
        lambda seen: judge_backup_duration(seen, NOW, 1800.0, NO_DUMPS),
        lambda seen: judge_backup_size(seen, 50.0, NO_DUMPS),
    ],
)
def test_before_the_first_backup_only_its_absence_is_red(
    judge: Callable[[SeenBackups | Unknown], Watched],
) -> None:
    assert judge(holds()).outcome is N
    assert judge_backup_age({"primary": holds()}, NOW, 3600.0).outcome is F

    # One that stands there and cannot be read is no absence.
    assert judge(replace(holds(), unreadable=("kb-full-1: torn",))).outcome is C
    assert judge(replace(holds(), older=1)).outcome is C
    assert judge(SILENT).outcome is C


def test_one_that_is_under_way_for_too_long_is_told_before_the_first_is_there() -> None:
    stuck = replace(holds(), under_way_since=NOW - timedelta(hours=2))

    assert judge_backup_duration(stuck, NOW, 1800.0, NO_DUMPS).outcome is F
