"""Fetch one WAL file for recovery: the restore_command.

The answer "no such file" ends a recovery and opens the cluster, so it is given only when
certain: DESIGN section 5, and PostgreSQL, src/backend/access/transam/xlogarchive.c
(RestoreArchivedFile).
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kb_dr.domain.layout import timeline_prefix
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_names import Segment, is_history, is_segment, is_wal_file, timeline_of
from kb_dr.errors import ConfigurationError, WalGap
from kb_dr.operations.listed_wal import find_wal, load_lineages, require_marker, stored_wal
from kb_dr.operations.partial_wal import (
    StoredPartial,
    newest_partial,
    read_partial,
    stored_partial,
)
from kb_dr.operations.read_wal import read_wal
from kb_dr.ports import Codec, Repository


@dataclass(frozen=True, slots=True)
class ExpectedEnd:
    """How far the plan says that recovery must come."""

    timeline: int
    lsn: Lsn
    segment_bytes: int

    def needs(self, name: str) -> bool:
        """Whether recovery cannot come that far without this file."""
        if is_history(name):
            return timeline_of(name) == self.timeline > 1
        if not is_segment(name) or timeline_of(name) > self.timeline:
            return False
        return Segment.parse(name, self.segment_bytes).start < self.lsn


def fetch_wal(
    name: str,
    destination: Path,
    *,
    repository: Repository,
    codec: Codec,
    system_identifier: int,
    expected_end: ExpectedEnd | None = None,
    found: Callable[[], None] = lambda: None,
) -> bool:
    """Put the WAL file ``name`` at ``destination``; False when it is certainly absent.

    ``found`` is called before a file that is there is read.

    What a stream shipped of an unfinished segment is served for it, with zeros behind, when
    neither the full segment nor a later one stands.
    The file appears whole and checked, or not at all. Every doubt is raised: WalGap when it is
    absent but needed to come to the expected end, ObjectConflict when two digests stand, and what
    find_wal() and read_wal() raise.
    """
    if not is_wal_file(name):
        raise ConfigurationError(f"fetch {name!r}: not the name of a WAL file")
    stored = find_wal(repository, system_identifier, name)
    if stored is None:
        require_marker(repository)
        partial = fetchable_partial(repository, codec, system_identifier, name)
        if partial is not None:
            whole = read_partial(repository, codec, partial)
            _require_reach(repository, partial, whole, expected_end)
            write_atomically(destination, whole)
            return True
        if expected_end is not None and expected_end.needs(name):
            raise WalGap(
                f"fetch WAL file {name} from {repository.url}: absent, but recovery is expected "
                f"to come to {expected_end.lsn} on timeline {expected_end.timeline}",
                hint="Run `kb-dr wal audit`; restore from another copy, or to an earlier target.",
            )
        return False
    found()
    plain = read_wal(
        repository,
        codec,
        stored.listed,
        name,
        stored.sha256,
        system_identifier=system_identifier,
    )
    write_atomically(destination, plain)
    return True


def fetchable_partial(
    repository: Repository, codec: Codec, system_identifier: int, name: str
) -> StoredPartial | None:
    """What may be served for a segment that is not archived in full.

    Nothing where anything later stands on its timeline, which then has a gap here; and nothing
    where a younger timeline left this one inside what was shipped: rows behind that point are
    of another future, and PostgreSQL asks here for want of the younger timeline's own segment.
    """
    if not is_segment(name):
        return None
    partial = newest_partial(repository, system_identifier, name)
    if partial is None:
        return None
    prefix = timeline_prefix(system_identifier, partial.timeline)
    # Behind all that bears this very name: "/" sorts after "-" and ".", and before any digit.
    for listed in repository.list(prefix, start_after=f"{prefix}{name}0"):
        if stored_wal(listed) is not None or stored_partial(listed) is not None:
            return None
    for lineage in load_lineages(repository, codec, system_identifier).values():
        if lineage.timeline == partial.timeline or partial.timeline not in lineage.timelines:
            continue
        end = lineage.end_of(partial.timeline)
        if end is not None and end < partial.upto:
            return None
    return partial


def _require_reach(
    repository: Repository, partial: StoredPartial, whole: bytes, expected: ExpectedEnd | None
) -> None:
    if expected is None or not expected.needs(partial.segment) or expected.lsn <= partial.upto:
        return
    from kb_dr.domain.wal_records import WalReader  # only here: most segments are whole

    # The key ends with the last byte that is not zero; the last record may end a little farther.
    reader = WalReader()
    reader.feed(partial.segment, whole)
    tip = reader.tip()
    if tip is None or tip.end < expected.lsn:
        raise WalGap(
            f"fetch WAL file {partial.segment} from {repository.url}: only what was streamed of "
            f"it up to {partial.upto} stands here, but recovery is expected to come to "
            f"{expected.lsn} on timeline {expected.timeline}",
            hint="Restore from another copy, or to an earlier target.",
        )


def write_atomically(destination: Path, content: bytes) -> None:
    """Make a file appear under its name only when it is whole."""
    unfinished = destination.with_name(f".{destination.name}.kb-dr")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, destination)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
