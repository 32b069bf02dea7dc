"""Remove what a stream shipped of segments, once something better stands."""

import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from kb_dr.domain.layout import wal_prefix
from kb_dr.domain.stored import Listed
from kb_dr.domain.wal_names import is_segment
from kb_dr.errors import ObjectRetained
from kb_dr.operations.listed_wal import stored_wal
from kb_dr.operations.partial_wal import StoredPartial, stored_partial
from kb_dr.ports import Clock, Repository

logger = logging.getLogger(__name__)

SUPERSEDED = timedelta(hours=1)
"""So long a state is kept that a farther one of the same segment has superseded."""

COMPLETED = timedelta(minutes=10)
"""So long after it was shipped a state is kept whose full segment stands: who has listed it may
be about to read it."""


def sweep_partials(
    repository: Repository, clock: Clock, system_identifier: int, *, dry_run: bool, since: str = ""
) -> tuple[str, ...]:
    """Remove the states of unfinished segments that nothing needs; return their keys.

    Those whose full segment stands, and those a farther one has superseded; never the newest of a
    segment that does not stand in full. Ages are counted by the store's clock where ours is ahead
    of it. What is retained stays. ``since`` is a key to begin after. With ``dry_run`` nothing is
    removed.
    """
    swept: list[str] = []
    retained_from: datetime | None = None
    stored_at: datetime | None = None

    def noting(listing: Iterator[Listed]) -> Iterator[Listed]:
        nonlocal stored_at
        for listed in listing:
            stored_at = max(listed.modified, stored_at or listed.modified)
            yield listed

    # Listed whole before the first goes: a listing may pass over keys while others vanish.
    listing = repository.list(wal_prefix(system_identifier), start_after=since)
    found = list(_groups(noting(listing)))
    now = min(clock.now(), stored_at or clock.now())
    for group, is_full in found:
        kept = COMPLETED if is_full else SUPERSEDED
        for partial in group if is_full else group[:-1]:
            modified = partial.listed.modified
            if now - modified < kept or (retained_from is not None and modified >= retained_from):
                continue
            try:
                if not dry_run:
                    repository.delete(partial.key)
            except ObjectRetained as retained:
                # A stream leaves one every few seconds: the younger ones are not asked for.
                logger.info("left, with what was stored after it: %s", retained)
                retained_from = modified
                continue
            swept.append(partial.key)
    return tuple(swept)


def _groups(found: Iterator[Listed]) -> Iterator[tuple[list[StoredPartial], bool]]:
    """The states of each segment in order of LSN, and whether it stands in full.

    A full segment sorts before what was shipped of it.
    """
    group: list[StoredPartial] = []
    full = ""
    for listed in found:
        stored = stored_wal(listed)
        if stored is not None and is_segment(stored.name):
            if group:
                yield group, group[0].segment == full
                group = []
            full = stored.name
        partial = stored_partial(listed)
        if partial is None:
            continue
        if group and group[0].segment != partial.segment:
            yield group, group[0].segment == full
            group = []
        group.append(partial)
    if group:
        yield group, group[0].segment == full
