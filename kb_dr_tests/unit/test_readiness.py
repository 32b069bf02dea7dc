"""Readiness answers in three ways, and never yes on what nobody could look at."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr.adapters.readiness_picture import draw_readiness
from kb_dr.domain import trends
from kb_dr.domain.finding import Finding
from kb_dr.domain.integrity_report import Coverage, IntegrityReport
from kb_dr.domain.judge_readiness import Looked, judge_readiness
from kb_dr.domain.proof import Outcome, Standing
from kb_dr.domain.readiness import Answer, OpenAlert, Readiness
from kb_dr.domain.readiness_markdown import readiness_markdown
from kb_dr.domain.severity import Severity
from kb_dr.domain.status import CopyStatus
from kb_dr.domain.trends import Point, Trends, growth
from kb_dr.domain.weekly_digest import weekly_digest
from kb_dr_tests.made_controls import made_run
from kb_dr_tests.made_drills import made_drill
from kb_dr_tests.unit.test_objective import (
    BACKUP,
    DOWN,
    EMPTY,
    NOW,
    OFFSITE,
    PRIMARY,
    SOURCE,
    Limits,
    judge,
)
from kb_dr_tests.unit.test_report_frames import COPY, LINE

DAY = timedelta(days=1)
NO_TRENDS = Trends(NOW - 90 * DAY, NOW, dict.fromkeys(trends.SERIES, ()))
LOUD = OpenAlert("rpo_holds", Severity.CRITICAL, "More would be lost", NOW - DAY, do="`kb-dr x`")
BAD = replace(OFFSITE, backups=(replace(BACKUP, standing=Standing.FAILED),), proven=())
DAMAGED = Finding("integrity report", Outcome.FAILED, "2 damaged")
NO_REPORT = Finding("integrity report", Outcome.COULD_NOT_RUN, "none")
QUIET = replace(LOUD, severity=Severity.WARNING, title="A disk fills up", do="Make room.")


def report(at_days_ago: float, stored: int) -> IntegrityReport:
    at = NOW - at_days_ago * DAY
    line = replace(LINE, stored_bytes=stored)
    copy = replace(COPY, url=PRIMARY.url, backups=(line,), wal_bytes=0)
    return IntegrityReport(
        1, f"{at:%Y%m%d-%H%M%S}-ab", "kb", at, at, "h", 7 * 86400, (copy,), Coverage(0.5, 1.0, 1.0)
    )


def readiness(
    *copies: CopyStatus,
    alerts: Sequence[OpenAlert] | None = (),
    also: Sequence[Finding] = (),
    found: Trends = NO_TRENDS,
) -> Readiness:
    looked = Looked(
        service="kb",
        status=judge(*(copies or (PRIMARY, OFFSITE)), source=SOURCE),
        limits=Limits(),
        reports=(report(2, 1000), report(1, 3000)),
        drills=(made_drill(NOW - 3 * DAY),),
        controls=(made_run(NOW - 2 * DAY),),
        alerts=alerts,
        alerts_problem="read the alerts: the database does not answer" if alerts is None else "",
        trends=found,
        also=also,
    )
    return judge_readiness(looked)


def test_everything_good_is_ready_in_one_sentence() -> None:
    seen = readiness(alerts=(QUIET,))

    assert seen.answer is Answer.YES
    assert seen.verdict == (
        "Ready: this service can be restored to 2026-11-21 11:56:00 UTC, within about 60.0 s "
        "(allowed 4.0 h), from two copies (primary, offsite)."
    )
    assert seen.lacking == ()
    assert seen.next_steps == ("A disk fills up: Make room.",)


@pytest.mark.parametrize(
    ("copies", "alerts", "also", "because"),
    [
        pytest.param((PRIMARY, BAD), (), (), "newest backup in offsite",
                     id="a copy is known to be bad"),
        pytest.param((EMPTY, replace(EMPTY, copy="offsite")), (), (), "there is none in any copy",
                     id="nothing is stored"),
        pytest.param((PRIMARY, OFFSITE), (QUIET, LOUD), (), "More would be lost, since 2026-11-20",
                     id="a critical alert is open"),
        pytest.param((PRIMARY, OFFSITE), (), (DAMAGED,), "integrity report: 2 damaged",
                     id="the report found something"),
        pytest.param((PRIMARY, DOWN), (LOUD,), (), "More would be lost",
                     id="what is known to be bad goes before what nobody can tell"),
    ],
)  # fmt: skip
def test_what_is_known_to_be_bad_is_not_ready(
    copies: Sequence[CopyStatus], alerts: Sequence[OpenAlert], also: Sequence[Finding], because: str
) -> None:
    seen = readiness(*copies, alerts=alerts, also=also)

    assert seen.answer is Answer.NO
    assert seen.verdict.startswith("NOT ready: ")
    assert because in seen.verdict
    assert len(seen.next_steps) <= 3


@pytest.mark.parametrize(
    ("copies", "alerts", "also", "because"),
    [
        pytest.param((PRIMARY, DOWN), (), (), "did not answer", id="a copy is down"),
        pytest.param((EMPTY, DOWN), (), (), "did not answer", id="nothing here, nothing to see"),
        pytest.param((PRIMARY, OFFSITE), None, (), "alerts: read the alerts: the database",
                     id="no alerts"),
        pytest.param((PRIMARY, OFFSITE), (), (NO_REPORT,), "integrity report: none",
                     id="no report"),
    ],
)  # fmt: skip
def test_what_nobody_could_look_at_is_neither_ready_nor_not(
    copies: Sequence[CopyStatus],
    alerts: Sequence[OpenAlert] | None,
    also: Sequence[Finding],
    because: str,
) -> None:
    seen = readiness(*copies, alerts=alerts, also=also)

    assert seen.answer is Answer.COULD_NOT_TELL
    assert seen.verdict.startswith("Could not tell whether we are ready: ")
    assert because in seen.verdict


def test_nothing_unproven_is_shown_as_a_moment_to_return_to() -> None:
    hope = replace(BACKUP, standing=Standing.UNPROVEN)
    seen = readiness(replace(PRIMARY, backups=(hope,), proven=()))

    assert seen.answer is not Answer.YES
    assert [each.recoverable_to for each in seen.copies] == [None]
    assert "can be restored" not in seen.verdict


def test_no_copy_at_all_is_never_ready() -> None:
    status = judge()
    looked = Looked("kb", status, Limits(), (), (), (), (), "", NO_TRENDS)

    assert judge_readiness(looked).answer is not Answer.YES


def test_the_page_holds_promises_coverage_exercises_alerts_and_growth() -> None:
    page = readiness_markdown(readiness(alerts=(QUIET,)), picture="data:x")

    assert page.startswith("# READY: recovery of kb\n**Ready: ")
    assert "| RPO: lost if disaster struck now | 60.0 min | 4.0 min | yes |" in page
    assert "| RTO: last proven restore | 4.0 h | 60.0 s | yes |" in page
    assert "| retained backups with a fresh proof | 2026-11-20 12:00:00Z | 50 % |" in page
    dumps = (
        "| retained logical dumps with a fresh proof | 2026-11-20 12:00:00Z | nothing to count |"
    )
    assert dumps in page
    assert "passed, from offsite: RTO 30.0 s, RPO 20.0 s" in page
    assert "9 of 9 kinds of damage were seen and named" in page
    assert "- warning: A disk fills up, since 2026-11-20 12:00:00Z" in page
    assert "| 2.9 KiB | 2.0 KiB a day |" in page
    assert "![trends](data:x)" in page


def test_the_page_says_what_could_not_be_read() -> None:
    page = readiness_markdown(readiness(PRIMARY, DOWN, alerts=None))

    assert page.startswith("# NOBODY CAN TELL")
    assert "**Not known: read the alerts: the database does not answer.**" in page
    assert "| RPO: lost if disaster struck now | 60.0 min | not known | **not known** |" in page
    assert "| offsite | did not answer |" in page


def test_the_worst_copy_by_the_report_is_what_a_disaster_would_have_cost() -> None:
    assert trends.rpo_of(report(1, 10)) == DAY.total_seconds()
    down = replace(COPY, problem="did not answer")
    assert trends.rpo_of(replace(report(1, 10), copies=(COPY, down))) is None
    assert trends.rpo_of(replace(report(1, 10), copies=())) is None


def test_growth_is_the_slope_through_all_points() -> None:
    assert growth([(NOW, 1.0)]) is None
    assert growth([(NOW, 1.0), (NOW, 5.0)]) is None
    rising = [(NOW + each * DAY, 10.0 * each) for each in range(5)]
    assert growth(rising) == pytest.approx(10.0)


def test_the_picture_draws_what_there_is_and_says_where_nothing_is() -> None:
    points = tuple(Point(NOW - days * DAY, 30.0 + days, "p") for days in (60, 30, 1))
    some = replace(NO_TRENDS, series={**NO_TRENDS.series, trends.RTO: points})

    full, empty = (
        draw_readiness(each, rto_seconds=14400, rpo_seconds=3600, title="kb")
        for each in (some, NO_TRENDS)
    )

    assert full.startswith(b"\x89PNG")
    assert full != empty


def test_the_digest_is_one_notice_a_week_whenever_it_is_made() -> None:
    seen = readiness()
    monday = replace(seen, at=NOW.replace(day=23))

    first = weekly_digest(monday, ())

    assert first.id == "digest/2026-W48"
    assert weekly_digest(replace(monday, at=monday.at + 6 * DAY), ()).id == first.id
    assert weekly_digest(replace(monday, at=monday.at + 7 * DAY), ()).id == "digest/2026-W49"
    assert weekly_digest(seen, ()).id == "digest/2026-W47"
    assert first.seen == monday.verdict


def test_the_digest_tells_the_week_and_what_could_not_be_read() -> None:
    taken = tuple(Point(NOW - days * DAY, 2048.0, "b") for days in (9, 2, 1))
    found = replace(NO_TRENDS, series={**NO_TRENDS.series, trends.FULL_BYTES: taken})
    mended = replace(LOUD, closed_at=NOW - DAY)
    long_ago = replace(LOUD, title="x", opened_at=NOW - 20 * DAY, closed_at=NOW - 9 * DAY)

    told = dict(weekly_digest(readiness(found=found), (long_ago, mended, QUIET)).facts)
    unread = dict(weekly_digest(readiness(alerts=None), None).facts)

    assert told["Full backups of the week"] == "2, the newest 2.0 KiB"
    assert told["RPO, lost if disaster struck now"] == "4.0 min, allowed 60.0 min"
    assert told["Age of the newest backup"] == "10.0 h, allowed 26.0 h"
    assert told["Last recovery drill"] == "passed, 2026-11-18 12:00:00Z"
    assert told["Alerts of the week"] == (
        "2, 1 of them open: A disk fills up (open); More would be lost (mended)"
    )
    assert unread["Alerts of the week"] == "they could not be read"
