"""RPO as measured: what a disaster now would cost."""

from datetime import datetime

from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.status import CopyRpo, CopyStatus, Window


def measure_rpo(copy: CopyStatus, now: datetime, source: SourceFacts | None) -> CopyRpo:
    """Seconds between now and the newest moment this copy provably covers without a gap.

    A source that answers can only lower it: when it has written nothing the archive lacks, nothing
    would be lost; when only the open segment is missing, at most ``archive_timeout`` would.
    """
    window = copy.tip_window
    if window is None:
        why = copy.problem or "no usable backup: nothing could be recovered from it"
        return CopyRpo(copy.copy, None, why)
    if window.end is None:
        return CopyRpo(copy.copy, None, window.problem or "the end of its WAL is not known")
    age = (now - window.end.at).total_seconds()
    if age < 0:
        seen = f"its newest {window.end.what} is {-age:.0f} s ahead of the clock"
        return CopyRpo(copy.copy, None, seen)
    seen = f"covers the {window.end.what} of {window.end.at:%Y-%m-%d %H:%M:%S}Z"
    if source is None or source.is_standby:
        return CopyRpo(copy.copy, age, seen)
    if source.system_identifier != window.system_identifier:
        why = f"it covers cluster {window.system_identifier}, not the source's"
        return CopyRpo(copy.copy, None, why)
    if source.timeline != window.end.timeline:
        # After a recovery in place the same positions hold other rows.
        return CopyRpo(copy.copy, age, f"{seen}; the source is on timeline {source.timeline}")
    if source.written_lsn <= window.end.lsn:
        return CopyRpo(copy.copy, 0.0, f"{seen}; the source has written nothing since")
    timeout = source.archive_timeout_seconds
    if timeout and timeout < age and _only_the_open_segment_is_missing(window, source):
        return CopyRpo(copy.copy, float(timeout), f"{seen}; only the open segment is missing since")
    return CopyRpo(copy.copy, age, seen)


def _only_the_open_segment_is_missing(window: Window, source: SourceFacts) -> bool:
    if source.waiting_segments != 0:
        return False
    # The number of a segment counts the same on every timeline.
    per_id = 0x1_0000_0000 // source.segment_bytes
    name = window.last_segment
    archived = int(name[8:16], 16) * per_id + int(name[16:], 16)
    return source.written_lsn // source.segment_bytes == archived + 1
