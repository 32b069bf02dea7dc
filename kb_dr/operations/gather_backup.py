"""Read everything the copies hold of one backup: manifests, proofs, holds, tombstones, failures."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_failure import BackupFailure
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.catalog_rows import BackupRows
from kb_dr.domain.derive_rows import BackupSeen, CopySeen, ManifestSeen
from kb_dr.domain.hold import HoldEvent
from kb_dr.domain.manifest import Manifest, StoredManifest, manifest_digest
from kb_dr.domain.proof import Proof
from kb_dr.domain.tombstone import Tombstone
from kb_dr.errors import BrokenChain, ObjectMissing, UnreadableRecord
from kb_dr.operations.backup_chain import load_chain
from kb_dr.operations.kept_records import parse_kept, read_kept
from kb_dr.operations.list_holdings import CopyListing, Place, proofs_in
from kb_dr.ports import Repository

T = TypeVar("T")


@dataclass(slots=True)
class _Records:
    proofs: list[Proof] = field(default_factory=list)
    holds: list[HoldEvent] = field(default_factory=list)
    tombstones: list[Tombstone] = field(default_factory=list)
    failures: list[BackupFailure] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def gather_backup(
    backup: BackupId, listings: Sequence[CopyListing], older: BackupRows | None = None
) -> BackupSeen:
    """What the copies that answered hold of one backup; ``older`` tells of those left untouched.

    A record that is damaged in one copy is read from the next one. Raises what a repository
    raises that stopped answering since its listing.
    """
    copies = tuple(_copy(backup, listing, older) for listing in listings)
    found = _records(backup, listings)
    parents = sorted({name for each in copies for name, _ in each.parents})
    above = [_proofs_of(BackupId.parse(name), listings) for name in parents]
    # Any of a parent that can be read nowhere may be the one that is red.
    unread = [*found.unread, *(each for some in above for each in some.unread)]
    buried = None
    if not any(each.seen for each in copies):
        texts = [each for each in found.tombstones if each.manifest]
        newest = max(texts, key=lambda each: (each.at, each.id), default=None)
        if newest is not None:
            buried = _parse(backup, newest.manifest.encode(), f"tombstone {newest.id}")
    return BackupSeen(
        id=backup,
        copies=copies,
        proofs=tuple(found.proofs),
        parent_proofs=tuple(proof for some in above for proof in some.proofs),
        holds=tuple(found.holds),
        tombstones=tuple(found.tombstones),
        failures=tuple(found.failures),
        buried=buried if isinstance(buried, ManifestSeen) else None,
        unread=(*unread, *((str(buried),) if isinstance(buried, UnreadableRecord) else ())),
    )


def _copy(backup: BackupId, listing: CopyListing, older: BackupRows | None) -> CopySeen:
    place = listing.place
    if place.untouched and older is not None:
        row = next((each for each in older.copies if each.copy == place.copy), None)
        return CopySeen(place.copy, place.url, untouched=True, carried=row)
    if place.untouched:
        return CopySeen(place.copy, place.url, silent="not looked at yet")
    holding = listing.holdings.get(str(backup))
    if listing.silent or place.repository is None:
        return CopySeen(place.copy, place.url, silent=place.problem or "it cannot be opened")
    if holding is None or holding.manifest is None:
        return CopySeen(place.copy, place.url)
    key = layout.manifest_key(backup)
    try:
        body = place.repository.read(key)
    except ObjectMissing:
        return CopySeen(place.copy, place.url)  # purged since the listing
    found = _parse(backup, body, f"{key} of {place.copy}")
    digest = manifest_digest(body)
    if isinstance(found, UnreadableRecord):
        return CopySeen(place.copy, place.url, unreadable=str(found), digest=digest)
    parents: tuple[tuple[str, str], ...] = ()
    broken = ""
    if found.manifest.parent is not None:
        try:
            chain = load_chain(place.repository, StoredManifest(found.manifest, digest, place.copy))
            parents = tuple((each.manifest.id, each.digest) for each in chain[:-1])
        except BrokenChain as error:
            broken = str(error)
    return CopySeen(
        place.copy, place.url, seen=found, digest=digest, broken=broken, parents=parents
    )


def _parse(backup: BackupId, body: bytes, what: str) -> ManifestSeen | UnreadableRecord:
    try:
        manifest = records.from_json(Manifest, body, what=what)
    except UnreadableRecord as error:
        return error
    if manifest.id != str(backup):
        return UnreadableRecord(f"read {what}: it is of {manifest.id}, expected {backup}")
    md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
    return ManifestSeen(manifest, manifest_digest(body), md5)


def _proofs_of(parent: BackupId, listings: Sequence[CopyListing]) -> _Records:
    """The proofs of a backup that others were made against."""
    return _read(parent, [(proofs_in(each, parent), each.place) for each in listings])


def _records(backup: BackupId, listings: Sequence[CopyListing]) -> _Records:
    held = [(listing.holdings.get(str(backup)), listing.place) for listing in listings]
    return _read(backup, [(holding.records, place) for holding, place in held if holding])


def _read(backup: BackupId, listed: Iterable[tuple[Sequence[str], Place]]) -> _Records:
    found = _Records()
    places: dict[str, list[Place]] = {}
    for keys, place in listed:
        for key in keys:
            places.setdefault(key, []).append(place)
    for key in sorted(places):
        kept = [each.repository for each in places[key] if each.repository is not None]
        folder = key.partition("/")[0]
        if folder == "proofs":
            _add(found.proofs, found, kept, key, Proof, lambda p: _key_of_proof(backup, p))
        elif folder == "holds":
            _add(found.holds, found, kept, key, HoldEvent, lambda h: _key_of_hold(backup, h))
        elif folder == "tombstones":
            _add(found.tombstones, found, kept, key, Tombstone, lambda t: _key_of_step(backup, t))
        else:
            _add(found.failures, found, kept, key, BackupFailure, lambda f: _key_of_fail(backup, f))
    return found


def _add(
    to: list[T],
    found: _Records,
    places: Sequence[Repository],
    key: str,
    kind: type[T],
    key_of: Callable[[T], str],
) -> None:
    """Read one record from the first place in which it is whole."""
    damaged: UnreadableRecord | None = None
    for place in places:
        body = read_kept(place, key)
        if body is None:
            continue  # removed since the listing
        try:
            to.append(parse_kept(place, key, body, kind, key_of))
        except UnreadableRecord as error:
            damaged = damaged or error
        else:
            return
    if damaged is not None:
        found.unread.append(f"{key}: {damaged}")


def _key_of_proof(backup: BackupId, proof: Proof) -> str:
    return layout.proof_key(_same(backup, proof.backup_id), proof.copy, proof.id)


def _key_of_hold(backup: BackupId, event: HoldEvent) -> str:
    return layout.hold_key(_same(backup, event.backup_id), event.id)


def _key_of_step(backup: BackupId, step: Tombstone) -> str:
    return layout.tombstone_key(_same(backup, step.backup_id), step.copy, step.id)


def _key_of_fail(backup: BackupId, failure: BackupFailure) -> str:
    return layout.failure_key(_same(backup, failure.backup_id), failure.attempt)


def _same(backup: BackupId, named: str) -> BackupId:
    if named != str(backup):
        raise UnreadableRecord(f"it speaks of {named}, expected {backup}")
    return backup
