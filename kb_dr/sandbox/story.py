"""The demo: a backup under load, the disaster, the restore from the other region, the proof.

What was lost is counted against what production had confirmed, never against what a tool says.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kb_dr.adapters.log_progress import LogProgress
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.proof import Phase, Proof, Verdict
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import KbDrError, SandboxError
from kb_dr.installation import Installation
from kb_dr.operations.plan_target import Wanted
from kb_dr.operations.restore_postgres import Restored
from kb_dr.sandbox.bring_up import installation_of, is_lost, state_of, up
from kb_dr.sandbox.clusters import query, start_cluster
from kb_dr.sandbox.dagster_questions import back_up_now, launch_and_wait, wait_for_run_of
from kb_dr.sandbox.dagster_services import DagsterServices, dagster_services
from kb_dr.sandbox.load import Confirmed, running_load, surviving
from kb_dr.sandbox.places import State, open_places
from kb_dr.sandbox.take_down import lose_production

_ROWS_BEFORE = 60
_ROWS_DURING = 20
_ROWS_UNARCHIVED = 20
WAIT_SECONDS = 600.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Ending:
    """What the demo came to."""

    backup_id: str
    confirmed: int
    """Rows production had acknowledged when it was lost."""
    archived: int
    """Those acknowledged before the last segment that reached the other region began to close."""
    survived: int
    missing_archived: int
    """Archived rows that did not come back: must be none."""
    lost_seconds: float
    """From the newest row that survived to the newest that production confirmed."""
    restore_seconds: float
    phases: tuple[Phase, ...]
    reached: str
    proof: Proof
    archives_again: str
    """The first segment the restored production archived, on its new timeline."""
    catalogued: str = ""
    """What the catalog shows at the end; nothing of the story rests on it."""

    @property
    def good(self) -> bool:
        """Whether it ended as it must."""
        return (
            self.proof.verdict is Verdict.PROVEN
            and self.proof.copy == "offsite"
            and self.archived > 0
            and self.missing_archived == 0
        )


def tell(directory: Path, *, entries: int, say: Say = print) -> Ending:
    """Live through the whole story in one sandbox; raises SandboxError where it breaks off."""
    up(directory, entries=entries, say=say)
    installation = installation_of(directory)
    if is_lost(open_places(directory), state_of(directory)):
        say("an earlier story broke off after its disaster: restoring from the other region first")
        _recover(installation, directory)
    state = state_of(directory)
    say("starting Dagster: code server, webserver, daemon")
    with dagster_services(directory) as dagster:
        say(f"Dagster answers at {dagster.url}")
        with running_load(state) as load:
            load.wait_for(_ROWS_BEFORE)
            say("taking a full backup through Dagster while rows are being written")
            backup_id = _back_up(dagster)
            say(f"{backup_id} is complete; its sensor copies it offsite")
            _require_success(
                wait_for_run_of(
                    dagster.url, "offsite_copy_job", backup_id, timeout_seconds=WAIT_SECONDS
                )
            )
            load.wait_for(len(load.confirmed) + _ROWS_DURING)
            archived = tuple(load.confirmed)
            segment = archive(state)
            say(f"WAL up to {segment} is archived; bringing it to the other region")
            _require_success(launch_and_wait(dagster.url, "wal_job", timeout_seconds=WAIT_SECONDS))
            _require_offsite(installation, segment)
            load.wait_for(len(load.confirmed) + _ROWS_UNARCHIVED)
            say("DISASTER: production's server dies, its data directory is removed")
            lost_at = installation.clock.now()
            lose_production(directory)
        say("restoring from the other region")
        restored, phases, seconds = _recover(installation, directory)
        state = state_of(directory)
        found = surviving(state, load.token)
        say("production is in service again, on a new timeline: it archives")
        first = archive(state)
        say(f"proving {backup_id} from the other region")
        proof = _prove(dagster, installation, backup_id, since=lost_at)
    return Ending(
        backup_id=backup_id,
        confirmed=len(load.confirmed),
        archived=len(archived),
        survived=sum(1 for row in load.confirmed if row.title in found),
        missing_archived=sum(1 for row in archived if row.title not in found),
        lost_seconds=_lost_seconds(load.confirmed, found),
        restore_seconds=seconds,
        phases=phases,
        reached=f"{restored.reach.reached_lsn} on timeline {restored.reach.reached_timeline}",
        proof=proof,
        archives_again=first,
        catalogued=_catalogued(installation),
    )


def _catalogued(installation: Installation) -> str:
    """How many backups the catalog shows, brought in line; why not, where it cannot be."""
    try:
        return f"{installation.sync_catalog(wait_seconds=60).state.backups} rows in backup_logs"
    except KbDrError as error:
        return f"not in line: {error}"


def _back_up(dagster: DagsterServices) -> str:
    backup_id, run = back_up_now(dagster.url, timeout_seconds=WAIT_SECONDS)
    _require_success(run)
    return backup_id


def _require_success(run: dict[str, object]) -> None:
    if run["status"] != "SUCCESS":
        raise SandboxError(
            f"run {run['jobName']}: {run['status']}",
            hint=f"`make ui` shows run {run['runId']}.",
        )


def archive(state: State) -> str:
    """Close the segment being written and wait until it is archived; its name."""
    # Something must stand in the segment, or there is nothing to close.
    query(state, "production", "select pg_create_restore_point('closing a segment')")
    rows = query(state, "production", "select pg_walfile_name(pg_switch_wal())")
    segment = str(rows[0][0])
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        rows = query(
            state,
            "production",
            # In order of name, but for history files, which come first and end in no digits; the
            # .backup file of a segment comes after it.
            "select coalesce(left(last_archived_wal, 24) >= %s, false) "
            "and last_archived_wal ~ '^[0-9A-F]{24}' from pg_stat_archiver",
            [segment],
        )
        if rows[0][0]:
            return segment
        if time.monotonic() > deadline:
            raise SandboxError(
                f"wait for {segment}: not archived", hint="production's log says why."
            )
        time.sleep(0.2)


def _require_offsite(installation: Installation, segment: str) -> None:
    if not any(
        audit.archive.holds(Segment.parse(segment, audit.segment_bytes))
        for audit in installation.audit_wal("offsite")
    ):
        raise SandboxError(f"look for {segment} in the other region: it is not there")


def _recover(
    installation: Installation, directory: Path
) -> tuple[Restored, tuple[Phase, ...], float]:
    """Production restored from the other region and started in its place; seconds until then."""
    began = time.monotonic()
    places = open_places(directory)
    shutil.rmtree(places.restored, ignore_errors=True)
    plan = installation.plan_restore(Wanted(), "offsite", places.restored)
    planned = time.monotonic()
    restored = installation.restore(plan, LogProgress())
    ready = time.monotonic()
    places.restored.rename(places.data("production"))
    start_cluster(places, state_of(directory), "production")
    ended = time.monotonic()
    phases = (
        Phase("plan", planned - began),
        *restored.phases,
        Phase("start in its place", ended - ready),
    )
    return restored, phases, ended - began


def _prove(
    dagster: DagsterServices, installation: Installation, backup_id: str, *, since: datetime
) -> Proof:
    """The newest proof of the offsite copy, made after ``since``: an older one says nothing."""
    run = launch_and_wait(
        dagster.url, "verify_job", partition=backup_id, timeout_seconds=WAIT_SECONDS
    )
    proofs = [
        proof
        for proof in installation.proofs(BackupId.parse(backup_id))
        if proof.copy == "offsite" and proof.started >= since
    ]
    if not proofs:
        raise SandboxError(
            f"look for the proof of {backup_id}: none; the run ended {run['status']}",
            hint=f"`make ui` shows run {run['runId']}.",
        )
    return proofs[-1]


def _lost_seconds(confirmed: Sequence[Confirmed], found: set[str]) -> float:
    kept = [row for row in confirmed if row.title in found]
    return confirmed[-1].at - kept[-1].at if kept else float("nan")
