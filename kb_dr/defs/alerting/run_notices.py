"""Runs that ended, as notices: failures, results of checks, successes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.alerting.check_notices import check_notice
from kb_dr.defs.alerting.finished_runs import (
    ENDS,
    Ended,
    newest_ends,
    remembered,
    unread_ends,
    with_their_runs,
)
from kb_dr.defs.alerting.place import Place
from kb_dr.defs.alerting.run_story import evaluations_of, story_of
from kb_dr.defs.copies import CopyRead
from kb_dr.defs.postgres.requests import takes_dump
from kb_dr.domain.alert_kinds import CHECKS
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity

WILL_RETRY_TAG = "dagster/will_retry"
UNDECIDED_FOR = timedelta(seconds=30)
"""So long a run that failed may be without the tag that says whether it is tried again."""

FIRST_LOOK = timedelta(days=1)
"""What a first start looks back on."""

BY_PARTITION = frozenset({"offsite_copy_job", "local_copy_job"})
"""Jobs in which one backup fails while others go well: each is a condition of its own."""

BACKUP_JOB, VERIFY_JOB = "backup_job", "verify_job"

DUMP = "dump"
"""In the condition of a proof: that of a dump. No copy is called so."""

_SUCCESSES_READ = 100
"""A full backup stands behind those of each hour of a day or two."""

BY_HAND = frozenset({"restore_database", "repair_copies", "__ASSET_JOB"})
"""Only a person launches them, and looks at what comes of it: told once, nothing to be mended."""

TOLD_OF = frozenset(
    {"backup_job", "verify_job", "disaster_recovery_drill", "monthly_restore_test"}
)  # fmt: skip
"""Jobs whose successes somebody may want to hear of."""


@dataclass(frozen=True, slots=True)
class RunsRead:
    """What was read of runs that ended, and up to where."""

    notices: tuple[Notice, ...]
    read: Mapping[str, int]
    seen: Mapping[str, tuple[int, ...]]
    more: bool = False
    """Whether time ran out: the next look goes on here."""


def run_key(run: dg.DagsterRun) -> str:
    """The condition of a job, or of one part of it, which no other part mends."""
    part = _part_of(run)
    return f"run/{run.job_name}/{part}" if part else f"run/{run.job_name}"


def _part_of(run: dg.DagsterRun) -> str:
    """The hourly backup that succeeds mends no daily one, nor a proof of one copy another's; nor
    a proof of a dump one of a base backup.
    """
    partition = run.tags.get(ledger.PARTITION_TAG, "")
    if run.job_name in BY_PARTITION:
        return partition
    if run.job_name == BACKUP_JOB:
        with suppress(ValueError):
            return str(BackupId.parse(partition).kind)
    if run.job_name == VERIFY_JOB:
        config: Mapping[str, Any] = run.run_config
        asked = (_copy_read(op) for op in config.get("ops", {}).values())
        copy = next((copy for copy in asked if copy and copy != CopyRead.auto.value), "")
        return "/".join(each for each in (DUMP if takes_dump(run) else "", copy) if each)
    return ""


def _copy_read(op: Mapping[str, Any]) -> str:
    return str(op.get("config", {}).get("copy_read") or "")


def read_runs(
    instance: dg.DagsterInstance,
    place: Place,
    now: datetime,
    time_left: Callable[[], bool],
    told: Callable[[Ended], Iterable[Notice]],
) -> RunsRead:
    """What ended since ``place``; failures first, successes as far as there is time.

    ``told``: what there is to say of one run.
    """
    notices: list[Notice] = []
    read, seen = dict(place.read), dict(place.seen)
    for event_type in ENDS:
        known, last, waits = set(seen.get(event_type, ())), read.get(event_type, 0), False
        more = looked = False
        for page in unread_ends(instance, place, event_type):
            runs = {each.storage_id: each for each in with_their_runs(instance, page)}
            for record in page:
                more = looked and not time_left()
                if more:
                    break
                looked, ended = True, runs.get(record.storage_id)
                if ended is not None and _is_undecided(instance, ended, now):
                    waits = True  # and so does the place: what is behind it is remembered
                    continue
                known.add(record.storage_id)
                last = last if waits else max(last, record.storage_id)
                if ended is not None:
                    notices += told(ended)
            if more:
                break
        read[event_type], seen[event_type] = last, remembered(known)
        if more:
            return RunsRead(tuple(notices), read, seen, more=True)
    return RunsRead(tuple(notices), read, seen)


def begin_with_the_present(
    instance: dg.DagsterInstance, now: datetime, told: Callable[[Ended], Iterable[Notice]]
) -> RunsRead:
    """Of the last day what failed and has not gone well since; all before is history.

    The place is marked first: what ends meanwhile is read the next time.
    """
    ids = {event_type: newest_ends(instance, event_type) for event_type in ENDS}
    failed = instance.fetch_run_status_changes(
        dg.RunStatusChangeRecordsFilter(
            dg.DagsterEventType.RUN_FAILURE, after_timestamp=(now - FIRST_LOOK).timestamp()
        ),
        limit=1000,
    ).records
    newest: dict[str, Ended] = {}
    for ended in with_their_runs(instance, failed):
        if ended.run.tags.get(WILL_RETRY_TAG) != "true":
            newest.setdefault(run_key(ended.run), ended)
    notices = [
        notice
        for key, ended in newest.items()
        if ended.run.job_name not in BY_HAND and not _is_over(went_well(instance, key), ended)
        for notice in told(ended)
        if notice.key == key
    ]
    return RunsRead(
        tuple(notices),
        {event_type: max(found, default=0) for event_type, found in ids.items()},
        {event_type: remembered(set(found)) for event_type, found in ids.items()},
    )


def went_well(instance: dg.DagsterInstance, key: str) -> Notice | None:
    """The newest run of this condition's job that succeeded; None when there is none."""
    _, job, *part = key.split("/", 2)
    wanted = dg.RunsFilter(
        job_name=job,
        statuses=[dg.DagsterRunStatus.SUCCESS],
        tags={ledger.PARTITION_TAG: part[0]} if part and job in BY_PARTITION else None,
    )
    records = instance.get_run_records(wanted, limit=_SUCCESSES_READ)
    record = next((each for each in records if run_key(each.dagster_run) == key), None)
    if record is None or not record.end_time:
        return None
    at = datetime.fromtimestamp(record.end_time, UTC)
    run = record.dagster_run
    return _of_run(
        Ended(0, at, "", run), State.MENDED, Severity.INFO, "run_failed", "a run of it succeeded"
    )


def _is_over(well: Notice | None, ended: Ended) -> bool:
    return well is not None and well.at >= ended.at


def _is_undecided(instance: dg.DagsterInstance, ended: Ended, now: datetime) -> bool:
    """Whether a failure was written down so lately that its tag may not be there yet."""
    return (
        ended.run.status is dg.DagsterRunStatus.FAILURE
        and instance.run_retries_enabled
        and WILL_RETRY_TAG not in ended.run.tags
        and now - ended.at < UNDECIDED_FOR
    )


def notices_of(instance: dg.DagsterInstance, ended: Ended) -> Iterator[Notice]:
    """What there is to say of one run that ended."""
    status = ended.run.status
    if status is dg.DagsterRunStatus.FAILURE:
        yield from _failed(instance, ended)
        return
    for found in evaluations_of(instance, ended.run.run_id):
        if found.check.name in CHECKS:
            yield check_notice(found)
    if status is dg.DagsterRunStatus.CANCELED:
        yield _canceled(ended)
        return
    if ended.run.job_name not in BY_HAND:
        for key in _mended_by(instance, ended.run):
            well = _of_run(
                ended, State.MENDED, Severity.INFO, "run_failed", "a run of it succeeded"
            )
            yield replace(well, key=key)
    if ended.run.job_name in TOLD_OF:
        yield _of_run(
            ended, State.TOLD, Severity.INFO, "run_succeeded", f"{ended.run.job_name} succeeded"
        )


def _mended_by(instance: dg.DagsterInstance, run: dg.DagsterRun) -> Iterator[str]:
    """What a run that succeeded mends: of a proof, also one that named no copy."""
    own = run_key(run)
    yield own
    if run.job_name != VERIFY_JOB:
        return
    unnamed = f"run/{VERIFY_JOB}/{DUMP}" if takes_dump(run) else f"run/{VERIFY_JOB}"
    if own != unnamed:
        yield unnamed
        return
    for each in instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
    ).records:
        made = each.asset_materialization
        read = made.metadata.get("copy_read") if made is not None else None
        if isinstance(read, dg.TextMetadataValue) and read.value:
            yield f"{unnamed}/{read.value.split()[0]}"


def _failed(instance: dg.DagsterInstance, ended: Ended) -> Iterator[Notice]:
    """The results of its checks, and one notice more unless one of them says why it failed."""
    if ended.run.tags.get(WILL_RETRY_TAG) == "true":
        return
    job = ended.run.job_name
    story = story_of(instance, ended.run.run_id)
    spoken = [each for each in story.evaluations if each.check.name in CHECKS]
    culprits = [e for e in spoken if not e.passed and e.severity is Severity.CRITICAL]
    crashed = bool(story.silent) and not story.unmade
    told_by_check = bool(culprits) and not crashed
    said = story.error or ended.message or "no error was written down"
    for each in spoken:
        blamed = told_by_check and each in culprits
        yield check_notice(each, *((("run", f"{job} failed: {said}"),) if blamed else ()))
    if told_by_check:
        return
    by_hand = job in BY_HAND
    yield _of_run(
        ended,
        State.TOLD if by_hand else State.BROKEN,
        Severity.WARNING if by_hand else Severity.CRITICAL,
        "check_crashed" if crashed else "run_failed",
        f"{job}: {said}",
        do=story.hint,
        subjects=story.silent if crashed else (),
        step=story.step,
    )


def unreadable(ended: Ended, error: str) -> Notice:
    """A run whose events cannot be read: that it ended is known, and no more."""
    return _of_run(
        ended,
        State.BROKEN,
        Severity.CRITICAL,
        "run_failed",
        f"{ended.run.job_name} ended ({ended.run.status.value}); its events cannot be read: "
        f"{' '.join(error.split())[:600]}",
    )


def _canceled(ended: Ended) -> Notice:
    """Somebody meant it; what the run was to do was not done all the same."""
    by_hand = ended.run.job_name in BY_HAND
    return _of_run(
        ended,
        State.TOLD,
        Severity.INFO if by_hand else Severity.WARNING,
        "run_failed",
        f"{ended.run.job_name} was terminated before it ended",
        do="If nobody of yours did it, look at the run; then launch it again.",
    )


def _of_run(
    ended: Ended,
    state: State,
    severity: Severity,
    kind: str,
    seen: str,
    *,
    do: str = "",
    subjects: tuple[str, ...] = (),
    step: str = "",
) -> Notice:
    run = ended.run
    partition = run.tags.get(ledger.PARTITION_TAG)
    return Notice(
        id=f"run/{run.run_id}" + ("/succeeded" if kind == "run_succeeded" else ""),
        key=run_key(run),
        kind=kind,
        state=state,
        severity=severity,
        at=ended.at,
        seen=seen,
        do=do,
        subjects=subjects,
        run_id=run.run_id,
        facts=(
            ("job", run.job_name),
            *((("backup", partition),) if partition else ()),
            *((("step", step),) if step else ()),
        ),
    )
