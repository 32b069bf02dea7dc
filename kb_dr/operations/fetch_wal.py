"""Fetch one WAL file for recovery: the restore_command.

The answer "no such file" ends a recovery and opens the cluster, so it is given only when
certain: DESIGN section 5, and PostgreSQL, src/backend/access/transam/xlogarchive.c
(RestoreArchivedFile).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_names import Segment, is_history, is_segment, is_wal_file, timeline_of
from kb_dr.errors import ConfigurationError, WalGap
from kb_dr.operations.listed_wal import find_wal, require_marker
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
) -> bool:
    """Put the WAL file ``name`` at ``destination``; False when it is certainly absent.

    The file appears whole and checked, or not at all. Every doubt is raised: WalGap when it is
    absent but needed to come to the expected end, ObjectConflict when two digests stand, and what
    find_wal() and read_wal() raise.
    """
    if not is_wal_file(name):
        raise ConfigurationError(f"fetch {name!r}: not the name of a WAL file")
    stored = find_wal(repository, system_identifier, name)
    if stored is None:
        require_marker(repository)
        if expected_end is not None and expected_end.needs(name):
            raise WalGap(
                f"fetch WAL file {name} from {repository.url}: absent, but recovery is expected "
                f"to come to {expected_end.lsn} on timeline {expected_end.timeline}",
                hint="Run `kb-dr wal audit`; restore from another copy, or to an earlier target.",
            )
        return False
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


def write_atomically(destination: Path, content: bytes) -> None:
    """Make a file appear under its name only when it is whole."""
    unfinished = destination.with_name(f".{destination.name}.kb-dr")
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, destination)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
