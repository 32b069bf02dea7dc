"""RPO as measured: what a disaster now would cost."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from kb_dr.domain.proven_base import newest_proven_window
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.status import CopyRpo, CopyStatus, Evidence, RpoSource, Window
from kb_dr.domain.wal_page import PAGE_BYTES

CLOCK_SECONDS = 5.0
"""Synchronised clocks may differ so much: a commit that far ahead was made just now."""


def measure_rpo(
    copy: CopyStatus,
    copies: Sequence[CopyStatus],
    now: datetime,
    source: SourceFacts | None,
    *,
    heartbeat: bool,
) -> CopyRpo:
    """Seconds between now and the newest moment this copy covers without a gap back to a base
    that is proven, here or, the same manifest, in another of ``copies``.

    Without a heartbeat a source that answers can lower it: when it has written nothing the
    archive lacks, nothing would be lost; when only the open segment is missing, at most
    ``archive_timeout`` would. With one, commits are known to flow, so that only an archive which
    also holds the source's own last beat has everything; an open segment is never excused, and
    the source's beat against the newest archived commit tells the loss without any other clock.

    A source that stands behind its own archive is not the server that wrote it: nobody knows what
    that one has written since.
    """
    found = newest_proven_window(copy, copies)
    if found is None:
        return CopyRpo(copy.copy, None, _why_none(copy), _source(source, heartbeat=heartbeat))
    window, base = found.window, found.base
    unknown = CopyRpo(
        copy.copy,
        None,
        window.problem or "the end of its WAL is not known",
        _source(source, heartbeat=heartbeat),
        base,
    )
    tip = copy.tip_window
    if tip is not None and tip.line != window.line:
        why = (
            f"its newest proven base, {base.id}, leads along {_words(window)}; newer backups are "
            f"of {_words(tip)}, and none of those was ever restored"
        )
        return replace(unknown, seen=why)
    end = window.end
    if end is None:
        return unknown
    age = (now - end.at).total_seconds()
    if not age >= -CLOCK_SECONDS:
        seen = f"its newest {end.what} is {-age:.0f} s ahead of the clock"
        return replace(unknown, seen=seen)
    seen = (
        f"covers the {end.what} of {end.at:%Y-%m-%d %H:%M:%S}Z, on {base.id}, proven in "
        f"{base.proven_in}"
    )
    measured = replace(unknown, seconds=max(age, 0.0), seen=seen)
    if source is None or source.is_standby:
        return measured
    if source.system_identifier != window.system_identifier:
        why = f"it covers cluster {window.system_identifier}, not the source's"
        return replace(unknown, seen=why)
    if source.timeline != end.timeline:
        # After a recovery in place it holds a future that was left: only WAL of the source's own
        # timeline behind this base would tell that from a failover.
        why = f"{seen}; but the source is on timeline {source.timeline}, not {end.timeline}"
        return replace(unknown, seen=why)
    if _stands_behind(end, source):
        why = (
            f"{seen}; but the source, at {source.written_lsn}, stands behind its own archive, "
            f"which reaches {end.lsn}: it was put back, or is another server"
        )
        return replace(unknown, seen=why)
    if heartbeat:
        return _against_the_beat(measured, end, source)
    if _has_everything(end, source):
        return replace(measured, seconds=0.0, seen=f"{seen}; the source has written nothing since")
    timeout = source.archive_timeout_seconds
    if timeout and timeout < age and _only_the_open_segment_is_missing(window, source):
        return replace(
            measured,
            seconds=float(timeout),
            seen=f"{seen}; only the open segment is missing since",
        )
    return measured


def _against_the_beat(measured: CopyRpo, end: Evidence, source: SourceFacts) -> CopyRpo:
    """A beat is written before it commits: one that is not newer than the newest archived commit
    is archived, as long as the source has written nothing behind that.
    """
    if source.beat is None:
        return replace(measured, seen=f"{measured.seen}; the source has no heartbeat")
    live = max(0.0, (source.beat.at - end.at).total_seconds())
    if _has_everything(end, source) and live == 0.0:
        seen = f"{measured.seen}; it holds the source's own last beat, and all it has written"
        return replace(measured, seconds=0.0, live_seconds=live, seen=seen)
    seen = f"{measured.seen}; the source's own last beat is {live:.1f} s newer"
    # The larger of two measurements: a heartbeat that has stopped says nothing of what came since.
    seconds = max(measured.seconds or 0.0, live)
    return replace(measured, seconds=seconds, live_seconds=live, seen=seen)


def _stands_behind(end: Evidence, source: SourceFacts) -> bool:
    """Whether the archive holds more than the source has written.

    It was asked before the copy was listed: what was committed since may be archived by now, and
    so may one segment in which nothing was.
    """
    grew = (source.now - end.at).total_seconds() < CLOCK_SECONDS
    return end.lsn - source.written_lsn > source.segment_bytes and not grew


def _has_everything(end: Evidence, source: SourceFacts) -> bool:
    """Whether the archive ends where the source does. By a page it may end behind it, with the
    padding of a switch; by more, one of the two has moved, and nothing is said for the source.
    """
    return 0 <= end.lsn - source.written_lsn <= PAGE_BYTES


def _words(window: Window) -> str:
    return f"timeline {window.timeline} of cluster {window.system_identifier}"


def _source(source: SourceFacts | None, *, heartbeat: bool) -> RpoSource:
    """What the moments come from: a heartbeat that is known to have stopped is none."""
    if not heartbeat or (source is not None and source.beat is None):
        return RpoSource.COMMITS
    if source is not None and source.beat is not None and source.beat.is_late(source.now):
        return RpoSource.COMMITS
    return RpoSource.HEARTBEAT


def _why_none(copy: CopyStatus) -> str:
    if copy.problem:
        return copy.problem
    usable = sum(each.usable for each in copy.backups)
    if not usable:
        return "no usable backup: nothing could be recovered from it"
    return f"no proven base behind it: none of its {usable} usable backups was ever restored"


def _only_the_open_segment_is_missing(window: Window, source: SourceFacts) -> bool:
    if source.waiting_segments != 0:
        return False
    # The number of a segment counts the same on every timeline.
    per_id = 0x1_0000_0000 // source.segment_bytes
    name = window.last_segment
    archived = int(name[8:16], 16) * per_id + int(name[16:], 16)
    return source.written_lsn // source.segment_bytes == archived + 1
