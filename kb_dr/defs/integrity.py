"""`repository/integrity_report`: each day, what is kept, and what has been shown of it."""

import base64
from collections.abc import Sequence
from datetime import timedelta

import dagster as dg

from kb_dr.defs.check_results import HINT
from kb_dr.defs.failures import reported_failures
from kb_dr.defs.metadata import Metadata
from kb_dr.defs.postgres.assets import at_work
from kb_dr.defs.postgres.jobs import HOUR, ends_after
from kb_dr.defs.postgres.schedules import ON
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain.integrity_markdown import integrity_markdown
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.judge_integrity import RECENT_DAYS
from kb_dr.installation import Installation

KEY = dg.AssetKey(["repository", "integrity_report"])
GROUP = "repository"

_MOST_TEXT = 100_000
"""Characters of a report on a page; the whole of it stands in the repositories."""


@dg.asset(
    key=KEY,
    group_name=GROUP,
    kinds={"s3"},
    pool="repository_reads",
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(days=RECENT_DAYS)),
)
def integrity_report(
    context: dg.AssetExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.MaterializeResult[None]:
    """Every backup with its tiers, copies, proofs and holds; a thirtieth of all bytes read again.

    Materialized means that a report was made and kept, whatever it says: see the check
    `what_is_kept_is_whole`. `report` begins with a picture of the moments that can be reached,
    copy by copy. Shares go from 0 to 1: of the backups that are kept and of the copies, those with
    a fresh proof; of the recoverable window, in the worst copy, what was ever proven.
    """
    with at_work(context) as progress:
        installation = door.open()
        report = installation.make_report(progress)
    return dg.MaterializeResult(
        metadata=_metadata(installation, report), data_version=dg.DataVersion(report.id)
    )


@dg.asset_check(asset=KEY, name="what_is_kept_is_whole")
def what_is_kept_is_whole(door: dg.ResourceParam[InstallationDoor]) -> dg.AssetCheckResult:
    """The newest report of every copy is of the last two days, and found nothing wrong.

    Read from the repositories, so reports made by hand count as well, where they speak of the
    very places that are configured here. That there is none is a warning: it says nothing of what
    is kept.
    """
    with reported_failures():
        judged = door.open().reports_judged(days=RECENT_DAYS)
    if judged is None:
        return dg.AssetCheckResult(
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"no report of the last {RECENT_DAYS:g} days",
            metadata={
                HINT: dg.MetadataValue.text("`kb-dr report` makes one, and says what fails.")
            },
        )
    wrong = judged.wrong
    return dg.AssetCheckResult(
        passed=not wrong,
        description=wrong[0] if wrong else "nothing is wrong",
        metadata={
            "report": dg.MetadataValue.text(judged.report.id),
            "wrong": dg.MetadataValue.md("\n".join(f"- {each}" for each in wrong)),
        },
    )


integrity_report_job = dg.define_asset_job(
    "integrity_report_job",
    selection=dg.AssetSelection.assets(integrity_report)
    | dg.AssetSelection.checks(what_is_kept_is_whole),
    executor_def=dg.in_process_executor,
    tags=ends_after(12 * HOUR),
    description="Look at every copy, read a thirtieth of it again, and keep a report.",
)


def make_report_schedules(times: ScheduleTimes) -> Sequence[dg.ScheduleDefinition]:
    """The daily report; the watch of each hour looks at it."""
    return [
        dg.ScheduleDefinition(
            name="daily_integrity_report",
            job=integrity_report_job,
            cron_schedule=times.report,
            execution_timezone="UTC",
            default_status=ON,
            description="What is kept, why, and what has been shown of it.",
        ),
    ]


def _metadata(installation: Installation, report: IntegrityReport) -> Metadata:
    text = integrity_markdown(report)
    if len(text) > _MOST_TEXT:
        text = text[:_MOST_TEXT] + f"\n\n(cut here; whole in reports/{report.id}.md)"
    picture = base64.b64encode(installation.draw_report(report)).decode()
    coverage = report.coverage
    found: Metadata = {
        "verdict": dg.MetadataValue.text(_verdict(report)),
        "report": dg.MetadataValue.md(
            f"![recoverable window](data:image/png;base64,{picture})\n\n{text}"
        ),
        "report_id": dg.MetadataValue.text(report.id),
    }
    for name, part in (
        ("proven_share_of_backups", coverage.backups),
        ("proven_share_of_window", coverage.window),
        ("proven_share_of_copies", coverage.copies),
    ):
        if part is not None:
            found[name] = dg.MetadataValue.float(part)
    for copy in report.copies:
        found[f"stored_bytes_{copy.copy}"] = dg.MetadataValue.int(copy.stored_bytes)
    return found


def _verdict(report: IntegrityReport) -> str:
    if report.good:
        return "good"
    more = len(report.shortfalls) - 1
    return f"not good: {report.shortfalls[0]}" + (f"; and {more} more" if more else "")
