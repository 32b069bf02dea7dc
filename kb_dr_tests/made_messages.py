"""Messages for tests of what shows or sends them."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kb_dr.domain.message import Message, What
from kb_dr.domain.severity import Severity

AT = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)


def made_message(**changes: Any) -> Message:
    """An alert that was opened, with everything a message can have but lines."""
    made = Message(
        id="a1b2-1-opened",
        dedup_key="check/recovery/point/rpo_holds",
        what=What.OPENED,
        kind="rpo_holds",
        severity=Severity.CRITICAL,
        service="kb",
        title="More would be lost than is allowed",
        happened="offsite: 5400 s of commits, 3600 s allowed",
        means="A disaster now would lose more than KB_DR_RPO_SECONDS of commits in a copy.",
        do="`kb-dr status` says what each copy covers; then `kb-dr wal audit`.",
        at=AT,
        alert_id="a1b2",
        opened_at=AT,
        lasted_seconds=960.0,
        runbook_url="https://docs.example/monitoring.md#rpo_holds",
        run_url="https://dagster.example/runs/42",
        facts=(("copy", "offsite"), ("measured", "5400 s")),
    )
    return replace(made, **changes)
