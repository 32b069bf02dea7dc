"""Remove the WAL that a retention plan names: oldest first, and never what is needed by then."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from kb_dr.domain import layout
from kb_dr.domain.plan_wal_retention import WalBoundaries
from kb_dr.domain.retention import WalRange
from kb_dr.domain.stored import Listed
from kb_dr.errors import ObjectRetained
from kb_dr.operations.plan_copy_retention import wal_of
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Repository

_BATCH = 1000
"""Files listed before any of them goes, and between two looks at the listing."""


@dataclass(frozen=True, slots=True)
class PurgedWal:
    """What one purge_wal() did."""

    files: int = 0
    stored_bytes: int = 0
    retained: int = 0
    """Files the store refused to delete for now. What is younger than one is not asked for: the
    next run tries again."""


def purge_wal(
    repository: Repository,
    ranges: Iterable[WalRange],
    boundaries: WalBoundaries,
    *,
    at_once: int = 4,
) -> PurgedWal:
    """Remove the files of these ranges that the boundaries do not keep, as they stand now.

    A range was planned from a complete listing; nothing outside of one goes. Oldest first, so
    that what is left of an archive after a run that was cut off has its gap in front.
    """
    files = stored_bytes = retained = 0

    def remove(listed: Listed) -> bool:
        try:
            repository.delete(listed.key)
        except ObjectRetained:
            return False
        return True

    for each in ranges:
        prefix = layout.timeline_prefix(each.system_identifier, each.timeline)
        after = prefix + each.first[:24]
        while True:
            # Listed before any of it goes: a listing may pass over keys while others vanish.
            batch = list(islice(repository.list(prefix, start_after=after), _BATCH))
            due = [listed for listed in batch if _goes(listed, each, boundaries)]
            gone = run_parallel(due, remove, at_once=at_once)
            files += sum(gone)
            retained += gone.count(False)
            pairs = zip(due, gone, strict=True)
            stored_bytes += sum(listed.size_bytes for listed, went in pairs if went)
            # What was stored later is locked for longer: each refusal would cost three requests.
            if len(batch) < _BATCH or _is_past(batch[-1], each) or False in gone:
                break
            after = batch[-1].key
    return PurgedWal(files, stored_bytes, retained)


def _goes(listed: Listed, planned: WalRange, boundaries: WalBoundaries) -> bool:
    found = wal_of(listed)
    return (
        found is not None
        and found.system_identifier == planned.system_identifier
        and planned.first <= found.name <= planned.last
        and not boundaries.keeps(found)
    )


def _is_past(listed: Listed, planned: WalRange) -> bool:
    found = wal_of(listed)
    return found is not None and found.name > planned.last
