"""Repositories, further copies, disks, keys, coverage and objectives, as the watch judges them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr.domain.finding import Finding
from kb_dr.domain.integrity_report import Coverage, IntegrityReport
from kb_dr.domain.objective import judge_status
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.space import Space
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watch.copies import Lag, Probed, judge_answers, judge_lag
from kb_dr.domain.watch.coverage import OpenedKeys, judge_coverage, judge_keys
from kb_dr.domain.watch.disks import judge_disks
from kb_dr.domain.watch.objectives import judge_clocks, judge_proof_age, judge_rpo
from kb_dr_tests.made_watch import NOW, SILENT
from kb_dr_tests.unit import test_objective as made

P, F, C, N = Outcome.PASSED, Outcome.FAILED, Outcome.COULD_NOT_RUN, Outcome.NOT_APPLICABLE
NOTHING = Lag({}, (), None, 0)


@pytest.mark.parametrize(
    ("outcomes", "worst"),
    [((P, N), P), ((N, N), N), ((P, C), C), ((C, F, P), F), ((), C)],
)
def test_a_check_is_the_worst_of_its_parts(outcomes: tuple[Outcome, ...], worst: Outcome) -> None:
    parts = [Finding(f"part {number}", each, "s") for number, each in enumerate(outcomes)]

    judged = conclude("rpo_holds", parts, {"known": 1, "not_known": None})

    assert judged.outcome is worst
    assert judged.values == {"known": 1.0}


def test_a_repository_that_does_not_answer_is_broken_and_not_unknown() -> None:
    probed = Probed(NOW, 0.1)

    assert judge_answers({"primary": probed}).outcome is P
    judged = judge_answers({"primary": probed, "offsite": SILENT})
    assert (judged.outcome, judged.severity) == (F, Severity.CRITICAL)
    assert judged.broken == ("offsite",)


@pytest.mark.parametrize(
    ("lag", "outcome", "severity"),
    [
        (NOTHING, P, Severity.WARNING),
        (Lag({"b": 3600.0}, (), 3600.0, 7), P, Severity.WARNING),
        (Lag({"b": 3601.0}, (), None, 0), F, Severity.WARNING),
        (Lag({"a": 1.0, "b": 7200.0}, (), None, 0), F, Severity.WARNING),
        (Lag({"b": 7201.0}, (), None, 0), F, Severity.CRITICAL),
        (Lag({}, (), 3601.0, 7), F, Severity.WARNING),
        (Lag({}, (), 7201.0, 7), F, Severity.CRITICAL),
        (Lag({"b": float("nan")}, (), None, 0), F, Severity.WARNING),
        (Lag({}, ("b",), None, 0), F, Severity.CRITICAL),
        (Lag({}, (), None, 0, "no usable backup"), C, Severity.WARNING),
        (SILENT, C, Severity.WARNING),
    ],
)
def test_a_copy_follows_or_lags(lag: Lag | Unknown, outcome: Outcome, severity: Severity) -> None:
    judged = judge_lag({"offsite": lag}, 3600.0)

    assert (judged.outcome, judged.severity) == (outcome, severity)


def test_where_there_is_no_further_copy_none_lags() -> None:
    assert judge_lag({}, 3600.0).outcome is N


@pytest.mark.parametrize(
    ("free", "outcome", "severity"),
    [
        (50, P, Severity.WARNING),
        (20, P, Severity.WARNING),
        (19, F, Severity.WARNING),
        (6, F, Severity.WARNING),
        (5, F, Severity.CRITICAL),
        (0, F, Severity.CRITICAL),
    ],
)
def test_a_disk_has_room_or_fills_up(free: int, outcome: Outcome, severity: Severity) -> None:
    judged = judge_disks(
        {"state": ("/s", Space(100, 90)), "scratch": ("/x", Space(100, free))}, 80.0, 95.0
    )

    assert (judged.outcome, judged.severity) == (outcome, severity)


def test_a_disk_nobody_may_look_at_is_not_green() -> None:
    judged = judge_disks({"state": ("/s", Space(100, 90)), "source": ("/x", SILENT)}, 80.0, 95.0)

    assert judged.outcome is C
    assert judge_disks({"state": ("/s", Space(0, 0))}, 80.0, 95.0).outcome is F


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (OpenedKeys(9, 0, ()), P),
        (OpenedKeys(9, 2, ("kb-full", "WAL")), F),
        (OpenedKeys(0, 0, ()), C),
        (SILENT, C),
    ],
)
def test_keys_open_or_not(seen: OpenedKeys | Unknown, outcome: Outcome) -> None:
    assert judge_keys({"primary": seen}, identities=1).outcome is outcome


def test_a_host_that_only_backs_up_has_no_key_to_try() -> None:
    assert judge_keys({}, identities=0).outcome is N


LIMITS = made.Limits()
BOTH = judge_status([made.PRIMARY, made.OFFSITE], LIMITS, made.NOW, source=made.SOURCE)
REPORT = IntegrityReport(
    schema_version=1,
    id="20261121-050000-r",
    service="kb",
    at=made.NOW,
    finished=made.NOW,
    host="h",
    proof_age_seconds=8 * 86400.0,
    copies=(),
    coverage=Coverage(backups=0.5, window=1.0, copies=1.0),
)


def coverage(status: object = BOTH, report: object = REPORT, *, backups: float = 0.0) -> Outcome:
    return judge_coverage(
        status,  # type: ignore[arg-type]  # a test may hand over anything of the two
        report,  # type: ignore[arg-type]  # a test may hand over anything of the two
        8 * 86400.0,
        copies_percent=100,
        backups_percent=backups,
    ).outcome


def test_coverage_is_whole_or_not() -> None:
    unproven = judge_status([made.PRIMARY, replace(made.OFFSITE, proven=())], LIMITS, made.NOW)
    later = replace(BOTH, now=made.NOW + timedelta(days=16))
    early = replace(BOTH, now=made.NOW - timedelta(days=1))

    assert coverage() is P
    assert coverage(unproven) is F
    assert coverage(later) is F
    assert coverage(early) is F, "a proof of the future is not fresh"
    assert coverage(backups=50) is P
    assert coverage(backups=51) is F
    assert coverage(report=SILENT) is P
    assert coverage(report=SILENT, backups=1) is C
    assert coverage(SILENT) is C
    assert coverage(replace(BOTH, copies=())) is F


def test_what_a_status_cannot_tell_is_not_green() -> None:
    empty = judge_status([made.PRIMARY, replace(made.OFFSITE, proven=())], LIMITS, made.NOW)

    assert judge_rpo(BOTH, LIMITS).outcome is P
    assert set(judge_rpo(BOTH, LIMITS).values) == {"rpo_seconds_primary", "rpo_seconds_offsite"}
    assert judge_proof_age(BOTH, LIMITS).outcome is P
    assert judge_proof_age(empty, LIMITS).outcome is C
    assert judge_clocks(BOTH, made.SOURCE).outcome is P
    assert judge_clocks(BOTH, SILENT).outcome is C
    for judged in (
        judge_rpo(SILENT, LIMITS),
        judge_proof_age(SILENT, LIMITS),
        judge_clocks(SILENT, made.SOURCE),
    ):
        assert (judged.outcome, judged.severity) == (C, Severity.CRITICAL)


def test_clocks_that_disagree_are_red() -> None:
    ahead = replace(made.SOURCE, now=made.NOW + timedelta(seconds=121))

    judged = judge_clocks(BOTH, ahead)

    assert judged.outcome is F
    assert judged.values["source_clock_off_seconds"] == 121


def test_rpo_over_its_limit_is_red() -> None:
    late = judge_status([made.PRIMARY], LIMITS, made.NOW + timedelta(hours=2))

    assert judge_rpo(late, LIMITS).outcome is F
