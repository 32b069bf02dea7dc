"""Does WAL leave the server: by its archiver, or through the slot of a stream?"""

from kb_dr.domain.base_backup import ArchiverStatus
from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.replication_slot import SUBJECT, judge_slot
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watched import Watched


def archives(archiver: ArchiverStatus) -> bool:
    """Whether the server is told to archive its WAL with anything."""
    return archiver.mode != "off" and bool(archiver.command)


def judge_waiting(
    facts: SourceFacts | Unknown, archiver: ArchiverStatus | Unknown, most: int
) -> Watched:
    """``wal_leaves_the_server``: segments that are ready and not archived."""
    name, subject = "wal_leaves_the_server", "segments waiting to be archived"
    if isinstance(facts, Unknown):
        return conclude(name, [facts.about(subject)])
    if not isinstance(archiver, Unknown) and archiver.mode == "off":
        said = "archive_mode is off, so none waits; slot_keeps_up speaks of the stream"
        return conclude(name, [Finding(subject, Outcome.NOT_APPLICABLE, said)])
    waiting = facts.waiting_segments
    if waiting is None:
        said = "the role may not look at them"
        return conclude(name, [Finding(subject, Outcome.COULD_NOT_RUN, said, MAY_LOOK)])
    said = f"{waiting}, allowed {most}"
    held = waiting <= most
    part = Finding(
        subject, Outcome.PASSED if held else Outcome.FAILED, said, "" if held else _PILES_UP
    )
    return conclude(name, [part], {"waiting_segments": waiting})


def judge_archiver(facts: SourceFacts | Unknown, archiver: ArchiverStatus | Unknown) -> Watched:
    """``archiver_succeeds``: what the server itself says of its archive_command."""
    name, subject = "archiver_succeeds", "archiver"
    if isinstance(archiver, Unknown):
        return conclude(name, [archiver.about(subject)])
    values: dict[str, float | None] = {
        "archived_segments": archiver.archived_count,
        "failed_tries": archiver.failed_count,
    }
    if not archives(archiver):
        off = "archive_mode is off" if archiver.mode == "off" else "archive_command is empty"
        if isinstance(facts, Unknown):
            said = f"{off}, and whether WAL is streamed cannot be told: {facts.why}"
            part = Finding(subject, Outcome.COULD_NOT_RUN, said, facts.hint)
        elif facts.streamed:
            part = Finding(subject, Outcome.NOT_APPLICABLE, f"{off}: WAL is streamed")
        else:
            said = f"{off}, and no stream reads WAL: it leaves the server in no way"
            part = Finding(subject, Outcome.FAILED, said, _SET_COMMAND)
        return conclude(name, [part], values)
    if archiver.failing:
        when = f"{archiver.last_failed_at:%Y-%m-%d %H:%M:%S}Z" if archiver.last_failed_at else "-"
        said = f"the last thing it did was to fail, on {archiver.last_failed_wal} at {when}"
        return conclude(name, [Finding(subject, Outcome.FAILED, said, _LOG)], values)
    said = (
        f"{archiver.archived_count} archived, the last {archiver.last_archived_wal or 'none yet'}"
    )
    return conclude(name, [Finding(subject, Outcome.PASSED, said)], values)


def judge_stream(facts: SourceFacts | Unknown, archiver: ArchiverStatus | Unknown) -> Watched:
    """``slot_keeps_up``: wanted where nothing is archived; looked at wherever there is one."""
    name = "slot_keeps_up"
    if isinstance(facts, Unknown):
        return conclude(name, [facts.about(SUBJECT)])
    if facts.slot is not None:
        part = judge_slot(facts.slot, facts.segment_bytes)
        return conclude(name, [part], {"slot_lag_bytes": facts.slot.lag_bytes})
    if isinstance(archiver, Unknown):
        return conclude(name, [archiver.about(SUBJECT)])
    if archives(archiver):
        said = "there is no slot: WAL is archived by command"
        return conclude(name, [Finding(SUBJECT, Outcome.NOT_APPLICABLE, said)])
    said = "there is no slot, and nothing is archived by command"
    return conclude(name, [Finding(SUBJECT, Outcome.FAILED, said, _START_STREAM)])


MAY_LOOK = "grant pg_monitor to the role of KB_DB_USER."
_PILES_UP = "The server's log says why archive_command fails or is slow; `kb-dr doctor`."
_SET_COMMAND = (
    "Set archive_mode = on and archive_command = 'kb-dr wal push %p', or start `kb-dr wal stream`."
)
_LOG = "The server's log says why; `kb-dr wal push FILE` shows it by hand."
_START_STREAM = "Start `kb-dr wal stream`, or set archive_mode and archive_command."
