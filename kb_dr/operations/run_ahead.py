"""Run ahead of a recovery that asks for WAL one file at a time, until nobody needs it any more."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from kb_dr.domain.layout import timeline_prefix
from kb_dr.domain.wal_names import is_segment, timeline_of
from kb_dr.operations.listed_wal import StoredWal, stored_wal
from kb_dr.operations.prefetch_wal import WalPrefetcher
from kb_dr.ports import Codec, Repository

IDLE_SECONDS = 15.0
_LOOK_SECONDS = 0.05
MOST_BYTES = 256 * 1024 * 1024
"""Of plain WAL that lies ready or is being read: 16 segments of 16 MiB."""
MOST_READ_BYTES = 64 * 1024 * 1024
"""Of what is being read at once: each stands in memory twice for a moment."""

ASKED = "asked"
"""The file in which a fetch that found nothing ready leaves what it was asked for."""
STARTING = "starting"
"""A file that is there while nobody can tell yet which segments will be laid."""
READY = "ready"
"""The directory the segments are laid in."""


def run_ahead(
    name: str,
    *,
    repository: Repository,
    codec: Codec,
    system_identifier: int,
    ahead: Path,
    transfers: int,
    segment_bytes: int,
    wanted: Callable[[], bool],
) -> None:
    """Lay the segments that follow ``name`` into ``ahead``/ready, until ``wanted`` says no, or
    nothing was taken for a while.

    What it meets, such as a damaged segment, only ends it: the fetch that comes to that segment
    by itself says what is wrong.
    """
    most = max(1, min(16, MOST_BYTES // segment_bytes))
    while name and wanted():
        with WalPrefetcher(
            repository,
            codec,
            ahead / READY,
            segments_after(repository, system_identifier, name),
            transfers=min(transfers, max(1, MOST_READ_BYTES // segment_bytes)),
            ahead=most,
        ) as prefetcher:
            prefetcher.begun.wait(IDLE_SECONDS)
            (ahead / STARTING).unlink(missing_ok=True)
            name = _asked_beyond(prefetcher, name, ahead / ASKED, wanted)


def ask(ahead: Path, name: str) -> None:
    """Tell who runs ahead that this segment was not ready; raises OSError."""
    unfinished = ahead / f".{ASKED}.{os.getpid()}"
    unfinished.write_text(name)
    unfinished.replace(ahead / ASKED)


def segments_after(
    repository: Repository, system_identifier: int, name: str
) -> Iterator[StoredWal]:
    """The segments of one timeline after ``name``, in order, as far as they are beyond doubt.

    It ends where one stands with two digests, or is empty.
    """
    prefix = timeline_prefix(system_identifier, timeline_of(name))
    held: StoredWal | None = None
    # "0" sorts after "-" and ".": behind all that bears this very name.
    for listed in repository.list(prefix, start_after=f"{prefix}{name}0"):
        stored = stored_wal(listed)
        if stored is None or not is_segment(stored.name):
            continue
        if held is not None and stored.name == held.name:
            if stored.sha256 != held.sha256:
                return
            continue  # the same file, encrypted to other keys
        if held is not None:
            yield held
        if listed.size_bytes == 0:
            return
        held = stored
    if held is not None:
        yield held


def _asked_beyond(
    prefetcher: WalPrefetcher, name: str, asked: Path, wanted: Callable[[], bool]
) -> str:
    """Wait until a segment is asked for from which to begin anew; "" when it is over."""
    taken, since = 0, time.monotonic()
    while wanted() and time.monotonic() - since < IDLE_SECONDS:
        if prefetcher.taken_segments != taken:
            taken, since = prefetcher.taken_segments, time.monotonic()
        wish = ""
        with suppress(OSError):
            wish = asked.read_text()
            asked.unlink()
        if is_segment(wish):
            since = time.monotonic()
            newest = prefetcher.newest or name
            if wish[:8] != name[:8] or not name < wish <= newest or prefetcher.failure:
                return wish
            prefetcher.passed(wish)
        time.sleep(_LOOK_SECONDS)
    return ""
