"""Does what the server calls archived stand in the repository?

The server believes its archive_command. This believes a listing, made after the server was asked,
so that all it named had time to arrive.
"""

from dataclasses import dataclass

from kb_dr.domain.base_backup import ArchiverStatus
from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.wal_names import Segment, is_backup_label, is_history, is_partial, is_segment
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watch.wal import MAY_LOOK, archives
from kb_dr.domain.watched import Watched

NAME = "archived_wal_has_arrived"


@dataclass(frozen=True, slots=True)
class ArrivedWal:
    """What the primary repository holds of the WAL the server writes."""

    last_stands: bool | None
    """Whether the very file the server archived last stands there; None: it named none."""
    since: Segment | None
    """Where the newest full backup of this cluster starts; None without one."""
    missing: Segment | None
    """The first segment from there on that does not stand, on the line the server is on. All
    before it do. None: nobody could tell, and ``problem`` says why."""
    problem: str = ""


def called_archived(archiver: ArchiverStatus, facts: SourceFacts) -> Segment | None:
    """The last segment that must have arrived, by what the server says; None: it says nothing.

    The archiver takes the oldest first, so all before the one it names went before it. A backup
    label goes after its segment, the ``.partial`` of a promotion after the one before it. A
    history goes before them all and says nothing of them; then, and where statistics were reset,
    all that has ended and does not wait was archived, but for one segment that may just have ended.
    Source: PostgreSQL, src/backend/postmaster/pgarch.c (pgarch_readyXlog).
    """
    name = archiver.last_archived_wal
    if name is not None and not _by_waiting(name):
        try:
            if is_segment(name) or is_backup_label(name):
                return Segment.parse(name[:24], facts.segment_bytes)
            if is_partial(name):
                unfinished = Segment.parse(name[:24], facts.segment_bytes)
                return unfinished.at(unfinished.number - 1)
        except ValueError:
            return None
        return None
    if facts.waiting_segments is None:
        return None
    open_one = Segment.holding(facts.timeline, facts.written_lsn, facts.segment_bytes)
    number = open_one.number - 2 - facts.waiting_segments
    return open_one.at(number) if number > 0 else None


def judge_arrival(
    facts: SourceFacts | Unknown,
    archiver: ArchiverStatus | Unknown,
    arrived: ArrivedWal | Unknown,
) -> Watched:
    """``archived_wal_has_arrived``: the last file archived stands, and every segment from the
    newest full backup up to it. So a hole stays red until a full backup begins behind it.

    While a stream reads the slot the last segment may still be on its way by the stream.
    """
    subject = "WAL in primary"
    for seen in (facts, archiver):
        if isinstance(seen, Unknown):
            return conclude(NAME, [seen.about(subject)])
    assert not isinstance(facts, Unknown)
    assert not isinstance(archiver, Unknown)
    if not archives(archiver):
        said = "the server archives nothing; archiver_succeeds and slot_keeps_up speak of that"
        return conclude(NAME, [Finding(subject, Outcome.NOT_APPLICABLE, said)])
    if facts.is_standby:
        said = "the source is a standby: it does not know what its primary archived"
        return conclude(NAME, [Finding(subject, Outcome.COULD_NOT_RUN, said, _ASK_PRIMARY)])
    if isinstance(arrived, Unknown):
        return conclude(NAME, [arrived.about(subject)])
    parts = []
    last = archiver.last_archived_wal
    if last is not None:
        parts.append(_last(last, arrived, streamed=facts.streamed))
    reach = called_archived(archiver, facts)
    values: dict[str, float | None] = {}
    if reach is not None and arrived.since is not None and arrived.missing is not None:
        behind = max(0, reach.number + 1 - arrived.missing.number)
        values["missing_segments"] = behind
        parts.append(_whole(reach, arrived.since, arrived.missing, streamed=facts.streamed))
    elif arrived.since is not None and facts.waiting_segments is None and _by_waiting(last):
        said = f"{last or 'no file'} was archived last, and the role may not look at what waits"
        parts.append(Finding(_SINCE, Outcome.COULD_NOT_RUN, said, MAY_LOOK))
    if arrived.problem:
        parts.append(Finding(_SINCE, Outcome.COULD_NOT_RUN, arrived.problem, _NEW_CHAIN))
    if not parts:
        said = "the server has archived nothing since its statistics began"
        parts.append(Finding(subject, Outcome.NOT_APPLICABLE, said))
    return conclude(NAME, parts, values)


def _by_waiting(last: str | None) -> bool:
    """Whether only what waits tells how far it is."""
    return last is None or is_history(last)


def _last(name: str, arrived: ArrivedWal, *, streamed: bool) -> Finding:
    subject = "last file archived"
    if arrived.last_stands:
        return Finding(subject, Outcome.PASSED, f"{name} stands in primary")
    if streamed:
        said = f"{name} does not stand in primary yet; a stream brings it, too"
        return Finding(subject, Outcome.NOT_APPLICABLE, said)
    said = f"the server calls {name} archived, and it does not stand in primary"
    return Finding(subject, Outcome.FAILED, said, _LIES)


def _whole(reach: Segment, since: Segment, missing: Segment, *, streamed: bool) -> Finding:
    may_lack = 1 if streamed else 0
    if missing.number > reach.number - may_lack:
        said = f"every segment stands from {since.name} to {missing.at(missing.number - 1).name}"
        return Finding(_SINCE, Outcome.PASSED, said)
    said = f"{missing.name} is missing, and the server calls all archived up to {reach.name}"
    return Finding(_SINCE, Outcome.FAILED, said, _LIES)


_SINCE = "WAL since the newest full backup"
_NEW_CHAIN = "A full backup, on the server's timeline, begins a new chain: `kb-dr backup full`."
_LIES = (
    "Set archive_command to `kb-dr wal push %p`; what it called archived may be gone, so take a "
    "full backup now: `kb-dr backup full`."
)
_ASK_PRIMARY = "Point KB_DB_HOST at the primary."
