"""Work out what to damage for one negative control. Nothing here changes a real repository."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.control import Damage, Harm
from kb_dr.domain.manifest import Manifest, Source, StoredManifest, manifest_digest
from kb_dr.domain.recovery import RecoveryPlan, WalFile
from kb_dr.domain.stored import StoredObject
from kb_dr.domain.wal_names import Segment, history_name, is_history, is_segment, timeline_of
from kb_dr.errors import NotProven
from kb_dr.operations.backup_chain import load_chain
from kb_dr.operations.listed_wal import list_wal
from kb_dr.operations.needed_wal import needed_segments
from kb_dr.ports import (
    Inspection,
    Repository,
    RestoreDamager,
    RestoredServer,
    ServerInspector,
)

Changes = Mapping[str, bytes | None]
"""Key to the bytes that stand there instead; None where the object is missing."""


@dataclass(frozen=True, slots=True)
class DamagedCopy:
    """A copy as it is to be shown to the verifier."""

    changes: Changes
    harm: Harm


def damage_copy(
    damage: Damage,
    repository: Repository,
    stored: StoredManifest,
    plan: Callable[[], RecoveryPlan],
) -> DamagedCopy:
    """What to change in a copy, and what has to be named.

    ``plan`` is that of the undamaged backup. Raises NotProven where this damage cannot be done
    to this backup.
    """
    manifest = stored.manifest
    if damage is Damage.WAL_MISSING:
        file = _middle(plan())
        return DamagedCopy({file.key: None}, Harm(f"{file.name} is missing", file.name))
    if damage is Damage.WAL_EMPTY:
        file = _middle(plan())
        return DamagedCopy({file.key: b""}, Harm(f"{file.name} has zero bytes", file.name))
    if damage is Damage.HISTORY_MISSING:
        return _without_histories(repository, manifest)
    if damage is Damage.CHUNK_FLIPPED:
        chunk, body = _flipped(repository, _largest(load_chain(repository, stored)))
        return DamagedCopy({chunk.key: body}, _flip(chunk))
    if damage is Damage.CHUNK_FORGED:
        return _forged(repository, load_chain(repository, stored))
    return DamagedCopy({}, Harm("", ""))


def _middle(plan: RecoveryPlan) -> WalFile:
    """A segment with others behind it, better still one that the backup itself does not need:
    the cluster becomes consistent without it, and only its newest rows are lost.
    """
    _, needed = needed_segments(plan.stored.manifest)
    inner = plan.segments[1:-1]
    behind = [
        file
        for file in inner
        if Segment.parse(file.name, needed.segment_bytes).number > needed.number
    ]
    found = behind or inner or plan.segments[:1]
    return found[len(found) // 2]


def _without_histories(repository: Repository, manifest: Manifest) -> DamagedCopy:
    """All of them: with that of a younger timeline at hand the backup's own is not needed.

    Without them a backup on timeline 1 can no longer be followed to the timelines after it.
    """
    changes: dict[str, bytes | None] = {}
    with_wal: set[int] = set()
    for stored in list_wal(repository, manifest.source.system_identifier):
        if is_history(stored.name):
            changes[stored.key] = None
        elif is_segment(stored.name):
            with_wal.add(timeline_of(stored.name))
    timeline = manifest.wal.timeline
    if timeline == 1:
        timeline = min(with_wal - {1}, default=1)
    if timeline == 1 or not changes:
        raise NotProven("remove a history file: this cluster was never promoted, and has none")
    name = history_name(timeline)
    return DamagedCopy(changes, Harm(f"{name} is missing, of {manifest.id}", name))


def _largest(chain: Sequence[StoredManifest]) -> Manifest:
    """Of a chain the link most bytes are of: the full, as a rule."""
    return max((each.manifest for each in chain), key=lambda each: each.stored_bytes)


def _flipped(repository: Repository, manifest: Manifest) -> tuple[StoredObject, bytes]:
    """The largest chunk, with one bit in its middle flipped: far from any header."""
    chunk = max(manifest.chunks, key=lambda each: each.size_bytes)
    body = bytearray(repository.get(chunk))
    body[len(body) // 2] ^= 1
    return chunk, bytes(body)


def _flip(chunk: StoredObject) -> Harm:
    return Harm(f"bit 0 of byte {chunk.size_bytes // 2} of {chunk.key} is flipped", chunk.key)


def _forged(repository: Repository, chain: Sequence[StoredManifest]) -> DamagedCopy:
    """A chunk of the largest link, its manifest, and of all that build on it theirs."""
    largest = _largest(chain)
    chunk, body = _flipped(repository, largest)
    fitting = replace(
        chunk,
        sha256=hashlib.sha256(body).hexdigest(),
        md5=hashlib.md5(body, usedforsecurity=False).hexdigest() if chunk.md5 else "",
    )
    chunks = tuple(fitting if each == chunk else each for each in largest.chunks)
    changes: dict[str, bytes | None] = {chunk.key: body}
    forged: bytes | None = None
    for each in chain:
        manifest = each.manifest
        if forged is not None:
            manifest = replace(manifest, parent_digest=manifest_digest(forged))
        elif manifest == largest:
            manifest = replace(manifest, chunks=chunks)
        else:
            continue
        forged = records.to_json(manifest)
        changes[layout.manifest_key(manifest.backup_id)] = forged
    harm = _flip(chunk)
    return DamagedCopy(changes, replace(harm, detail=f"{harm.detail}, the manifest fits"))


class DamagingInspector:
    """A `kb_dr.ports.ServerInspector` that damages the restored cluster before the first look at
    it: after its files were found whole, and behind the verifier's back.
    """

    def __init__(
        self,
        inner: ServerInspector,
        damager: RestoreDamager,
        damage: Damage,
        manifest: Manifest,
    ) -> None:
        self._inner = inner
        self._damager = damager
        self._damage = damage
        self._manifest = manifest
        self.harm = Harm("", "")
        """What was done; empty until it is."""

    @contextmanager
    def look_into(self, server: RestoredServer, source: Source) -> Iterator[Inspection]:
        if not self.harm.names:
            # Rows are compared while replay is paused; indexes are looked at in an open cluster.
            # What was loaded from a dump is looked at once, for all of it.
            paused = server.replay().in_recovery
            if self._manifest.is_dump or paused is (self._damage is Damage.ROWS_DROPPED):
                self.harm = self._do(server, source)
        with self._inner.look_into(server, source) as look:
            yield look

    def _do(self, server: RestoredServer, source: Source) -> Harm:
        if self._damage is Damage.ROWS_DROPPED:
            return self._damager.drop_rows(server, source, _tables_to_cut(self._manifest))
        if self._damage is Damage.INDEX_STALE:
            return self._damager.make_index_stale(server, source)
        return self._damager.make_vector_index_stale(server, source)


def _tables_to_cut(manifest: Manifest) -> tuple[str, ...]:
    """Tables whose rows are recorded, the largest first; those with a vector index last, whose
    rows are missed by more than one check.
    """
    vectors = {each.table for each in manifest.source.vectors}
    counted = [each for each in manifest.fingerprint.tables if each.rows]
    counted.sort(key=lambda each: (each.table in vectors, -(each.rows or 0)))
    return tuple(each.table for each in counted)
