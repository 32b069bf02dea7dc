"""Work out, before anything changes, how far a recovery to the newest end will come."""

from collections.abc import Sequence

from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.recovery import SPOOLED_SEGMENTS, RecoveryPlan, WalFile
from kb_dr.domain.recovery_target import Latest
from kb_dr.domain.wal_records import WalReader, WalTip
from kb_dr.errors import WalDamaged
from kb_dr.operations.backup_chain import load_chain
from kb_dr.operations.needed_wal import refuse_dump
from kb_dr.operations.read_plan_wal import read_plan_wal
from kb_dr.operations.replayable_wal import find_replayable_wal
from kb_dr.ports import Clock, Codec, Repository

MOST_SEGMENTS_BACK = 64
"""How far back the newest commit is looked for."""

_KEPT_SEGMENTS = 24
"""Room for WAL in the data directory while it replays, besides the spool."""


def plan_recovery(
    repository: Repository,
    codec: Codec,
    stored: StoredManifest,
    clock: Clock,
    *,
    timeline: int | None = None,
    where_purged: bool = False,
) -> RecoveryPlan:
    """How to recover ``stored`` to the end of the WAL of ``repository``, and where that has to be.

    Along the newest line of timelines, or the one that ends with ``timeline``. Reads the newest
    WAL of the copy; changes nothing. Raises what load_chain() and find_replayable_wal() raise,
    WalDamaged when the newest segments are not WAL up to their end, KeyMissing when no identity
    opens them.
    """
    manifest = stored.manifest
    refuse_dump(manifest)
    chain = load_chain(repository, stored)
    wal = find_replayable_wal(
        repository, codec, manifest, clock, timeline=timeline, where_purged=where_purged
    )
    tip, notes = _find_tip(repository, codec, manifest, wal.segments)
    return RecoveryPlan(
        stored=stored,
        target=Latest(),
        copy=repository.name,
        url=repository.url,
        system_identifier=manifest.source.system_identifier,
        timeline=wal.lineage.timeline,
        segments=wal.segments,
        histories=wal.histories,
        expected_end=tip.end,
        # Not what the page of the last record says: a promotion goes on writing on the page it
        # finds, which keeps the parent's number.
        expected_timeline=wal.lineage.timeline_at(tip.end),
        newest_commit=tip.last_commit.at if tip.last_commit else None,
        bytes_needed=bytes_needed(chain),
        notes=(*wal.notes, *notes),
        chain=chain,
    )


def bytes_needed(chain: Sequence[StoredManifest]) -> int:
    """The data directory, a tenth for what replay adds to it, WAL and spool; of increments also
    room for each of them and the full, which stand beside what is made of them.
    """
    files = [each.manifest for each in chain if each.manifest.has_files]
    full, newest = files[0], files[-1]
    wal = (_KEPT_SEGMENTS + SPOOLED_SEGMENTS) * newest.source.segment_bytes
    if len(files) == 1:
        return full.plain_bytes * 11 // 10 + wal
    # What is no table of any database takes as much as it did in the full.
    besides = max(0, full.plain_bytes - full.source.size_bytes)
    combined = max(full.plain_bytes, newest.source.size_bytes + besides)
    return sum(each.plain_bytes for each in files) + combined * 11 // 10 + wal


def _find_tip(
    repository: Repository, codec: Codec, manifest: Manifest, segments: tuple[WalFile, ...]
) -> tuple[WalTip, tuple[str, ...]]:
    """The end of the last complete record: read from the newest segments, as few as will do."""
    needed = max(manifest.wal.stop, manifest.fingerprint.lsn)
    count = 2
    while True:
        reader = WalReader()
        for file in segments[-count:]:
            content = read_plan_wal(
                repository, codec, file, system_identifier=manifest.source.system_identifier
            )
            reader.feed(file.name, content, system_identifier=manifest.source.system_identifier)
        tip = reader.tip()
        everything = count >= len(segments)
        if tip is not None and (tip.last_commit or everything or count >= MOST_SEGMENTS_BACK):
            break
        if everything:
            raise WalDamaged(
                f"read WAL of {repository.url}: no complete record from {segments[0].name} to "
                f"{segments[-1].name}"
            )
        count *= 4
    if tip.end < needed:
        raise WalDamaged(
            f"read WAL of {repository.url}: it ends at {tip.end} inside {segments[-1].name}, "
            f"before {needed}, which {manifest.id} needs",
            hint="This copy of the backup cannot be restored: use another copy or backup.",
        )
    if segments[-1].partial:
        note = f"{segments[-1].name} is not archived in full: it was streamed, up to {tip.end}"
        return tip, (note,)
    if reader.ended:
        note = f"WAL ends at {tip.end} inside {segments[-1].name}: what follows there is no record"
        return tip, (note,)
    return tip, ()
