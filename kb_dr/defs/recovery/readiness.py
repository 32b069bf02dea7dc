"""`recovery/readiness`: could we recover now, on one page, anew each hour."""

import base64
from datetime import timedelta

import dagster as dg

from kb_dr.defs import integrity
from kb_dr.defs.metadata import Metadata
from kb_dr.defs.postgres.assets import at_work
from kb_dr.defs.postgres.jobs import HOUR, ends_after
from kb_dr.defs.recovery import keys
from kb_dr.defs.recovery.drill import a_passed_drill_is_recent
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain import trends
from kb_dr.domain.readiness import Readiness
from kb_dr.domain.readiness_markdown import readiness_markdown
from kb_dr.installation import Installation

_FRESH = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(hours=3), warn_window=timedelta(hours=2)
)


@dg.asset(
    key=keys.READINESS,
    group_name=keys.GROUP,
    deps=[keys.DRILL, keys.CONTROLS, integrity.KEY],
    freshness_policy=_FRESH,
)
def readiness(
    context: dg.AssetExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.MaterializeResult[None]:
    """Could this service be recovered now, within what was promised: yes, no, or nobody can tell.

    Materialized means that it was looked at, whatever came of it: `verdict` says it in one
    sentence, `page` all of it. What could not be measured is missing among the plots, never zero.
    """
    with at_work(context):
        installation = door.open()
        seen = installation.readiness()
    context.log.info(seen.verdict)
    return dg.MaterializeResult(metadata=_metadata(installation, seen))


readiness_job = dg.define_asset_job(
    "readiness_job",
    selection=dg.AssetSelection.assets(readiness).without_checks()
    | dg.AssetSelection.checks(a_passed_drill_is_recent),
    executor_def=dg.in_process_executor,
    tags=ends_after(HOUR),
    description="Could we recover now: look, and write the page anew.",
)


def _metadata(installation: Installation, seen: Readiness) -> Metadata:
    picture = base64.b64encode(installation.draw_readiness(seen)).decode()
    page = readiness_markdown(seen, picture=f"data:image/png;base64,{picture}")
    found: Metadata = {
        "ready": dg.MetadataValue.text(str(seen.answer)),
        "verdict": dg.MetadataValue.text(seen.verdict),
        "page": dg.MetadataValue.md(page),
    }
    for name, value in _numbers(seen).items():
        if value is not None:  # what nobody knows is no zero on a plot
            found[name] = dg.MetadataValue.float(float(value))
    return found


def _numbers(seen: Readiness) -> dict[str, float | None]:
    """What the pages plot over time."""
    coverage = seen.coverage
    names = (
        "rpo_seconds", "rto_seconds", "rto_forecast_seconds",
        "backup_age_seconds", "proof_age_seconds",
    )  # fmt: skip
    measured = (each.measured_seconds for each in seen.measures)
    newest = {
        name: seen.trends.newest(name)
        for name in (trends.FULL_BYTES, trends.FULL_SECONDS, trends.INCR_BYTES)
    }
    return {
        **dict(zip(names, measured, strict=True)),
        **{f"newest_{name}": point.value if point else None for name, point in newest.items()},
        trends.OF_BACKUPS: coverage.backups if coverage else None,
        trends.OF_WINDOW: coverage.window if coverage else None,
        trends.OF_COPIES: coverage.copies if coverage else None,
        "open_alerts": None if seen.alerts is None else len(seen.alerts),
        **{f"stored_bytes_{each.copy}": each.stored_bytes for each in seen.copies},
    }
