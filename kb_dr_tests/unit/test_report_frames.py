"""Integrity reports as frames, and what they come to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kb_dr.adapters.report_frames import (
    backups_frame,
    coverage_frame,
    storage_frame,
    storage_trend,
)
from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.coverage import Band, Stretch
from kb_dr.domain.integrity_markdown import integrity_markdown
from kb_dr.domain.integrity_report import (
    BackupLine,
    CopyReport,
    Coverage,
    IntegrityReport,
    Reread,
)
from kb_dr.domain.judge_integrity import coverage, shortfalls
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention_policy import Tier

AT = datetime(2026, 11, 27, 5, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK_SECONDS = 7 * 86400.0

LINE = BackupLine(
    id="kb-full-20261126-020000",
    kind=BackupKind.FULL,
    digest="d" * 64,
    finished=AT - DAY,
    stored_bytes=1000,
    tiers=(Tier.DAILY, Tier.WEEKLY),
    keep=True,
    standing=Standing.PROVEN,
    proof_id="20261126-060000-ab",
    proven_at=AT - DAY,
    holds=(),
)
OLD = replace(
    LINE, id="kb-full-20261101-020000", tiers=(), proven_at=AT - 20 * DAY, stored_bytes=300
)
COPY = CopyReport(
    copy="primary",
    url="/backups",
    problem="",
    backups=(OLD, LINE),
    wal_files=2,
    wal_bytes=50,
    stretches=(
        Stretch(AT - 4 * DAY, AT - DAY, Band.PROVEN),
        Stretch(AT - DAY, AT, Band.GAP),
    ),
    reread=Reread((3,), 5, 500, 0, ()),
    read_since=AT - 29 * DAY,
)


def report(*copies: CopyReport, at: datetime = AT) -> IntegrityReport:
    return IntegrityReport(
        schema_version=1,
        id=f"{at:%Y%m%d-%H%M%S}-ab",
        service="kb",
        at=at,
        finished=at,
        host="db1",
        proof_age_seconds=WEEK_SECONDS,
        copies=copies,
        coverage=coverage(copies, at, WEEK_SECONDS),
        shortfalls=tuple(shortfalls(copies, at, WEEK_SECONDS)),
    )


def test_bytes_are_counted_once_by_the_longest_tier() -> None:
    assert COPY.tier_bytes() == {"other": 300, "weekly": 1000, "wal": 50}
    assert sum(COPY.tier_bytes().values()) == COPY.stored_bytes


def test_coverage_counts_only_fresh_proofs_of_what_is_kept() -> None:
    going = replace(LINE, id="kb-full-20261125-020000", keep=False)
    local = replace(COPY, copy="local", backups=(OLD,), stretches=())

    found = coverage((replace(COPY, backups=(OLD, going, LINE)), local), AT, WEEK_SECONDS)

    assert found == Coverage(backups=1 / 3, window=0.0, copies=0.5)


def test_a_good_report_has_no_shortfall() -> None:
    assert report(COPY).good
    assert "GOOD" in integrity_markdown(report(COPY))


def test_each_thing_that_is_wrong_is_said() -> None:
    wrong = {
        "cannot be reached": replace(COPY, problem="cannot be reached"),
        "2 damaged objects": replace(COPY, reread=Reread((3,), 5, 500, 0, ("one", "two"))),
        "WAL it needs": replace(COPY, backups=(replace(LINE, problem="WAL it needs"),)),
        "failed or is void": replace(COPY, backups=(LINE, replace(OLD, standing=Standing.FAILED))),
        "within 7 days": replace(COPY, backups=(OLD,)),
        "no backup": replace(COPY, backups=()),
        "every byte": replace(COPY, read_since=AT - 40 * DAY),
    }

    for text, copy in wrong.items():
        said = report(copy).shortfalls
        assert any(text in each for each in said), (text, said)
        assert "NOT GOOD" in integrity_markdown(report(copy))


def test_markdown_survives_a_bar_in_a_reason() -> None:
    held = replace(LINE, holds=("case a|b",))

    assert "case a\\|b" in integrity_markdown(report(replace(COPY, backups=(held,))))


def test_backups_have_a_row_for_each_copy() -> None:
    frame = backups_frame(report(COPY, replace(COPY, copy="offsite")))

    assert list(frame["copy"]) == ["primary", "primary", "offsite", "offsite"]
    assert frame.loc[1, "tiers"] == "daily,weekly"
    assert frame["finished"].dt.tz is not None


def test_the_trend_is_the_slope_by_tier() -> None:
    days = [
        report(
            replace(COPY, backups=(replace(LINE, stored_bytes=1000 + 10 * day),)),
            at=AT + day * DAY,
        )
        for day in range(5)
    ]

    trend = storage_trend(storage_frame(days)).set_index("tier")

    assert trend.loc["weekly", "stored_bytes"] == 1040
    assert round(float(str(trend.loc["weekly", "bytes_a_day"])), 6) == 10
    assert round(float(str(trend.loc["wal", "bytes_a_day"])), 6) == 0


def test_a_copy_that_could_not_be_looked_at_is_not_taken_for_empty() -> None:
    away = report(replace(COPY, problem="no answer", backups=(), wal_bytes=0), at=AT + DAY)

    storage = storage_frame([report(COPY), away])

    assert set(storage["at"]) == {AT}


def test_no_reports_are_empty_frames() -> None:
    assert storage_trend(storage_frame([])).empty
    assert coverage_frame([]).empty
    assert list(coverage_frame([report(COPY)])["window_of_primary"]) == [0.75]
