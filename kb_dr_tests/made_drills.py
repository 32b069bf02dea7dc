"""Drills as their records say them."""

from dataclasses import replace
from datetime import datetime, timedelta

from kb_dr.domain.drill import Drill
from kb_dr.domain.finding import Finding
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Check, Outcome, Phase, Reach, Verdict


def made_drill(
    finished: datetime,
    *,
    copy: str = "offsite",
    url: str = "memory://offsite",
    backup_id: str = "kb-full-20261120-020000",
    verdict: Verdict = Verdict.PROVEN,
) -> Drill:
    """One that ended then; passed, unless its verdict says otherwise."""
    started = finished - timedelta(seconds=30)
    return Drill(
        schema_version=1,
        id=f"{started:%Y%m%d-%H%M%S}-{copy}",
        seed=7,
        copy=copy,
        url=url,
        started=started,
        finished=finished,
        window=None,
        asked="latest",
        backups_found=1,
        backup_id=backup_id,
        manifest_digest="0" * 64,
        proof_id=f"{started:%Y%m%d-%H%M%S}-ef01",
        verdict=verdict,
        reason="as the test says",
        checks=(Check("rows_as_recorded", Outcome.PASSED, "3 tables"),),
        phases=(Phase("plan", 0.5), Phase("fetch and unpack", 3.25, 1000)),
        reach=Reach(1, Lsn(800), 1, Lsn(800), started),
        checklist=(Finding("age identity", Outcome.PASSED, "opens WAL"),),
        rto_objective_seconds=900,
        rpo_seconds=20,
        rpo_objective_seconds=300,
        tools={"postgres": "16.15"},
        host="drill-host",
    )


def not_known_rpo(drill: Drill) -> Drill:
    """The same where nobody could tell what a disaster would have cost."""
    return replace(drill, rpo_seconds=None)
