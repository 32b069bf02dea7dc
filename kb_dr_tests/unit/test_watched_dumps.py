"""Dumps that are watched: late, small, slow or bad is red, and no base backup hides it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.metric import Metric
from kb_dr.domain.proof import Outcome, Verdict
from kb_dr.domain.severity import Severity
from kb_dr.domain.watch.backup_sizes import judge_backup_duration, judge_backup_size
from kb_dr.domain.watch.backups import Series
from kb_dr.domain.watch.conclude import Unknown
from kb_dr.domain.watch.dumps import judge_dump_age
from kb_dr.domain.watched import Watched
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.catalog import store_manifest
from kb_dr_tests.fakes import PlainCodec
from kb_dr_tests.made_dumps import dump_manifest, store_dump
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.made_watch import NO_DUMPS, NOW, SILENT, dump, dumped, full, holds
from kb_dr_tests.stored_backups import STARTED, store_backup

P, F, C, N = Outcome.PASSED, Outcome.FAILED, Outcome.COULD_NOT_RUN, Outcome.NOT_APPLICABLE
HOUR = 3600.0
CODEC = PlainCodec()


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (dumped(dump(1)), P),
        (dumped(dump(194)), P),
        (dumped(dump(194 + 1 / HOUR)), F),
        (dumped(dump(-1)), F),
        (dumped(dump(300), dump(1, good=False)), F),
        (dumped(dump(100), dump(1, good=False)), P),
        (dumped(dump(1, good=False)), F),
        (dumped(unreadable=("kb-dump-1: torn",)), F),
        (dumped(older=3), F),
        (NO_DUMPS, F),
        (SILENT, C),
    ],
)
def test_the_newest_dump_is_young_or_not(seen: Series | Unknown, outcome: Outcome) -> None:
    made_at = NOW - timedelta(days=60)
    judged = judge_dump_age(seen, NOW, 194 * HOUR, wanted=True, made_at=made_at)

    assert (judged.outcome, judged.severity) == (outcome, Severity.WARNING)


@pytest.mark.parametrize(
    ("made_hours_ago", "seen", "outcome"),
    [
        (1, NO_DUMPS, N),
        (194, NO_DUMPS, N),
        (195, NO_DUMPS, F),
        (None, NO_DUMPS, F),
        # By a clock that ran ahead: it would excuse all that is not there for as long.
        (-24, NO_DUMPS, F),
        (1, dumped(dump(1, good=False)), F),
        (1, dumped(unreadable=("kb-dump-1: torn",)), F),
    ],
)
def test_none_is_due_before_the_repository_is_as_old_as_one_may_be(
    made_hours_ago: float | None, seen: Series, outcome: Outcome
) -> None:
    made_at = None if made_hours_ago is None else NOW - timedelta(hours=made_hours_ago)

    judged = judge_dump_age(seen, NOW, 194 * HOUR, wanted=True, made_at=made_at)

    assert judged.outcome is outcome


def test_where_no_dumps_are_taken_none_is_missed() -> None:
    assert judge_dump_age(NO_DUMPS, NOW, HOUR, wanted=False, made_at=None).outcome is N


def test_a_dump_is_compared_with_dumps_of_more_than_a_week() -> None:
    """Of one a week none lies within seven days: nobody would ever be told."""
    weekly = [dump(24 * days, size=1000) for days in (22, 15, 8)]
    small = dump(1, size=400)

    judged = judge_backup_size(holds(full(48), full(1)), 50.0, dumped(*weekly, small))

    assert judged.outcome is F
    assert set(judged.broken) == {
        "plain size of the newest logical dump in primary",
        "stored size of the newest logical dump in primary",
    }
    assert judged.values["dump_plain_percent"] == 40
    assert judged.values["plain_percent"] == 100
    assert judge_backup_size(holds(full(48), full(1)), 50.0, SILENT).outcome is C


def test_a_dump_is_quick_or_not_as_a_full_backup_is() -> None:
    quick = holds(full(1))

    assert judge_backup_duration(quick, NOW, 1800.0, dumped(dump(1, minutes=30))).outcome is P
    assert judge_backup_duration(quick, NOW, 1800.0, dumped(dump(1, minutes=31))).outcome is F
    stuck = replace(NO_DUMPS, under_way_since=NOW - timedelta(hours=1))
    judged = judge_backup_duration(quick, NOW, 1800.0, stuck)
    assert judged.broken == ("a logical dump under way",)


# as they are gathered


@pytest.fixture
def made(tmp_path: Path) -> MadeInstallation:
    """A primary made ten days ago, with a base backup of an hour ago and no dump."""
    installation = MadeInstallation(tmp_path, offsite=False)
    installation.clock.sleep(10 * 86400)
    store_backup(installation.primary, CODEC, started=STARTED + timedelta(days=10, hours=-1))
    return installation


def look(installation: MadeInstallation, name: str) -> Watched:
    (seen,) = installation.watch([name])
    return seen


def test_a_young_base_backup_stands_in_for_no_dump(made: MadeInstallation) -> None:
    assert look(made, "newest_dump_is_young").outcome is F

    store_dump(made.primary, CODEC, started=made.clock.now() - timedelta(hours=1))
    assert look(made, "newest_dump_is_young").outcome is P
    assert look(made, "newest_dump_is_young").values["age_seconds_primary"] == 3540


def test_a_dump_stands_in_for_no_base_backup(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path, offsite=False)
    store_dump(made.primary, CODEC, started=made.clock.now() - timedelta(hours=1))

    assert look(made, "newest_dump_is_young").outcome is P
    assert look(made, "newest_backup_is_young").outcome is F
    assert look(made, "newest_proof_is_young").outcome is not P


def test_a_dump_whose_proof_failed_is_not_the_newest(made: MadeInstallation) -> None:
    bad = store_dump(made.primary, CODEC, started=made.clock.now() - timedelta(hours=1))
    made.has_proof(bad, Verdict.FAILED, copy="primary")

    seen = look(made, "newest_dump_is_young")

    assert seen.outcome is F
    assert "FAILED a proof" in seen.seen


def test_nobody_can_tell_while_the_primary_is_down_and_none_is_asked_for_when_off(
    made: MadeInstallation, tmp_path: Path
) -> None:
    made.primary.failures[""] = RepositoryUnavailable("list: refused")
    off = MadeInstallation(tmp_path / "off", settings={"KB_DR_DUMP_SCHEDULE": "off"})

    assert look(made, "newest_dump_is_young").outcome is C
    assert look(off, "newest_dump_is_young").outcome is N


def test_the_dumps_of_the_weeks_before_are_gathered_to_compare_with(made: MadeInstallation) -> None:
    for days, plain in ((21, 1000), (14, 1000), (7, 1000), (0, 300)):
        began = made.clock.now() - timedelta(days=days, hours=1)
        manifest = dump_manifest(made.primary, CODEC, started=began)
        store_manifest(made.primary, replace(manifest, plain_bytes=plain))

    seen = look(made, "backup_size_is_plausible")

    assert seen.broken == ("plain size of the newest logical dump in primary",)
    assert "the mean of 3 in the 35 days before it" in seen.seen


def test_a_dump_under_way_is_timed_by_itself(made: MadeInstallation) -> None:
    began = made.clock.now() - timedelta(hours=2)
    made.made_clock.set(began)
    dump_manifest(made.primary, CODEC, started=began)  # objects, and no manifest yet
    made.made_clock.set(began + timedelta(hours=2))

    seen = look(made, "backups_are_quick")

    assert seen.broken == ("a logical dump under way",)


def test_a_dump_that_is_late_offsite_is_a_copy_that_lags(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path)
    stored = store_dump(made.primary, CODEC, started=made.clock.now())
    made.clock.sleep(3 * HOUR)

    lag = look(made, "copies_follow")

    assert lag.outcome is F
    assert any(stored.manifest.id in part.seen for part in lag.parts)


# metrics


def value(found: tuple[Metric, ...], name: str, **labels: str) -> float | None:
    for each in found:
        if each.name == name and labels.items() <= each.labels.items():
            return each.value
    return None


def test_metrics_tell_dumps_apart_and_never_as_a_success_of_the_base_backup(
    made: MadeInstallation,
) -> None:
    newest = store_dump(made.primary, CODEC, started=made.clock.now() - timedelta(minutes=10))
    made.primary.put(layout.failure_key(BackupId.of("kb", BackupKind.DUMP, STARTED), "a"), b"{}")
    full_at = (STARTED + timedelta(days=10, minutes=-59)).timestamp()

    found = made.measure()

    finished = newest.manifest.finished.timestamp()
    last = "kb_dr_backup_last_timestamp_seconds"
    assert value(found, "backup_postgres_last_success_timestamp") == full_at
    assert value(found, last, copy="primary", kind="full") == full_at
    assert value(found, last, copy="primary", kind="dump") == finished
    assert value(found, "kb_dr_backup_size_bytes", kind="dump") == newest.manifest.stored_bytes
    assert value(found, "kb_dr_backup_duration_seconds", kind="dump") == 60
    assert value(found, "kb_dr_backups_succeeded", kind="dump", window="7d") == 1
    assert value(found, "kb_dr_backup_attempts_failed", kind="dump", window="30d") == 1
    assert value(found, "kb_dr_check", check="newest_dump_is_young") == 1

    made.has_proof(newest, Verdict.FAILED, copy="primary")
    after = made.measure()
    assert value(after, last, copy="primary", kind="dump") is None
