"""The plan shown in docs/retention.md is the one that this history has."""

import re
from dataclasses import replace
from pathlib import Path

from kb_dr.domain.plan_retention import plan_retention
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.retention_table import retention_rows, retention_table
from kb_dr_tests.made_candidates import at, full, incremental

DOCUMENT = Path(__file__).parents[2] / "docs" / "retention.md"
POLICY = RetentionPolicy(
    hourly_hours=3, daily_days=3, weekly_weeks=2, monthly_months=2, quarterly_years=1
)
PROVEN, FAILED = Standing.PROVEN, Standing.FAILED


def history() -> list[Candidate]:
    """A small installation with small tiers, at half past eight on a Friday."""
    made = [
        full("2026-07-01 02:00"),
        full("2026-08-20 02:00"),
        full("2026-09-06 02:00"),
        full("2026-10-01 02:00"),
        full("2026-10-13 02:00", held="legal case 7"),
        full("2026-10-25 02:00"),
        full("2026-11-01 02:00"),
        full("2026-11-08 02:00"),
        full("2026-11-15 02:00"),
        full("2026-11-22 02:00", PROVEN),
        full("2026-11-23 02:00"),
        full("2026-11-24 02:00"),
        full("2026-11-25 02:00", FAILED),
        full("2026-11-26 02:00"),
        full("2026-11-27 02:00"),
    ]
    for hour in range(3, 9):
        made.append(incremental(f"2026-11-27 {hour:02}:00", made[-1]))
    proven = next(place for place, each in enumerate(made) if each.started.hour == 4)
    made[proven] = replace(made[proven], standing=PROVEN)
    return made


def test_the_plan_in_the_document_is_the_plan() -> None:
    made = plan_retention(
        history(), POLICY, at("2026-11-27 08:30"), copy="primary", url="s3://backups/kb"
    )

    shown = re.search(r"```text\n(.*?)\n```", DOCUMENT.read_text(), re.DOTALL)

    assert shown is not None
    assert shown[1] == retention_table(retention_rows(made))
