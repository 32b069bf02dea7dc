"""Follow a backup to its proofs, and a proof to its bytes, through the copies themselves."""

from collections.abc import Iterator, Sequence

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.catalog_rows import BackupRows, ManifestRow
from kb_dr.domain.derive_rows import BackupSeen, derive_rows
from kb_dr.domain.lineage import BackupLineage, ChainLink, ProofLineage
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import ConfigurationError, NoUsableBackup, RepositoryError, UnreadableRecord
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.gather_backup import gather_backup
from kb_dr.operations.list_holdings import Place, list_manifests, list_one
from kb_dr.operations.sync_catalog import Sources

_LONGEST_CHAIN = 1000
"""Far beyond any that is made: a manifest that names its own child must not hold us for ever."""


def trace_backup(places: Sequence[Place], sources: Sources, backup: BackupId) -> BackupLineage:
    """One backup forward. Raises NoUsableBackup when no copy knows anything of that name."""
    seen = _seen(places, backup)
    rows = derive_rows(seen, sources.void_through())
    stored = next(
        (StoredManifest(x.seen.manifest, x.seen.digest, x.copy) for x in seen.copies if x.seen),
        None,
    )
    return BackupLineage(rows, stored, _chain(places, rows), tuple(_children(places, backup)))


def trace_proof(
    places: Sequence[Place], sources: Sources, proof_id: str, backup: BackupId | None = None
) -> ProofLineage:
    """One proof back; without its ``backup`` it is looked for among all proofs.

    Raises ConfigurationError when no copy that answers holds it.
    """
    backup = backup or _proven_backup(places, proof_id)
    rows = derive_rows(_seen(places, backup), sources.void_through())
    proof = next((each for each in rows.proofs if each.id == proof_id), None)
    if proof is None:
        unread = next((each.problem for each in rows.problems if proof_id in each.problem), "")
        raise UnreadableRecord(f"read proof {proof_id}: {unread or 'it is not there any more'}")
    read = next((each for each in rows.manifests if each.digest == proof.digest), None)
    # The copy it read tells first what stands below: the proof speaks of no other.
    nearest = sorted(places, key=lambda each: each.copy != proof.copy)
    return ProofLineage(
        proof=proof,
        copy=next((each for each in rows.copies if each.copy == proof.copy), None),
        manifest=read,
        chain=_chain(nearest, rows),
    )


def _seen(places: Sequence[Place], backup: BackupId) -> BackupSeen:
    listings = [list_one(each, backup) for each in places]
    if not any(listing.holdings for listing in listings):
        silent = [f"{x.place.copy}: {x.place.problem}" for x in listings if x.silent]
        said = f"; {'; '.join(silent)}" if silent else ""
        raise NoUsableBackup(
            f"show {backup}: no copy holds anything of that name{said}",
            hint="`kb-dr list` shows what there is.",
        )
    return gather_backup(backup, listings)


def _chain(places: Sequence[Place], rows: BackupRows) -> tuple[ChainLink, ...]:
    """The backups a restore of this one needs, the full one first."""
    if not rows.manifests:
        return ()
    own = rows.manifests[0]
    here = next((each.copy for each in rows.copies if each.digest == own.digest), None)
    links = [ChainLink(own.backup_id, own.kind, own.digest, None, here)]
    parent, expected = own.parent, own.parent_digest
    while parent is not None and len(links) < _LONGEST_CHAIN:
        link, above = _link(places, parent, expected)
        links.append(link)
        if above is None or any(each.id == above.parent for each in links):
            break
        parent, expected = above.parent, above.parent_digest
    return tuple(reversed(links))


def _link(
    places: Sequence[Place], parent: str, expected: str | None
) -> tuple[ChainLink, ManifestRow | None]:
    """One ancestor as the first copy has it that holds it as it was; else as any holds it."""
    backup = BackupId.parse(parent)
    listings = [list_one(each, backup) for each in places]
    seen = gather_backup(backup, listings)
    rows = derive_rows(seen, None)
    standing = [each for each in seen.copies if each.seen]
    chosen = next((x for x in standing if x.digest == expected), next(iter(standing), None))
    kind = str(backup.kind)
    if chosen is None:
        return ChainLink(parent, kind, None, expected, None), None
    return (
        ChainLink(parent, kind, chosen.digest, expected, chosen.copy),
        rows.manifests[0] if rows.manifests else None,
    )


def _children(places: Sequence[Place], backup: BackupId) -> Iterator[str]:
    """Incrementals made against this backup: each was made later than it."""
    seen: set[str] = set()
    prefix = layout.backups_prefix(BackupKind.INCR)
    for place in places:
        if place.repository is None:
            continue
        try:
            later = f"{prefix}{backup.stamp}"
            for listed in list_manifests(place.repository, BackupKind.INCR, after=later):
                known = layout.stamp_of_manifest(listed.key)
                child = BackupId(backup.service, known[0], known[1]) if known else None
                if child is None or str(child) in seen:
                    continue
                try:
                    found = read_manifest(place.repository, child)
                except (NoUsableBackup, UnreadableRecord):
                    continue
                if found.manifest.parent == str(backup):
                    seen.add(str(child))
        except RepositoryError:
            continue  # the other copies tell; this one is named as silent already
    yield from sorted(seen)


def _proven_backup(places: Sequence[Place], proof_id: str) -> BackupId:
    """Which backup a proof is of, by its key."""
    silent = []
    for place in places:
        if place.repository is None:
            silent.append(f"{place.copy}: {place.problem}")
            continue
        try:
            for listed in place.repository.list("proofs/"):
                if listed.key.endswith(f"/{proof_id}.json"):
                    return BackupId.parse(listed.key.split("/")[1])
        except RepositoryError as error:
            silent.append(f"{place.copy}: {error}")
    said = f"; {'; '.join(silent)}" if silent else ""
    raise ConfigurationError(
        f"show {proof_id}: no copy holds a proof of that id{said}",
        hint="`kb-dr show BACKUP` lists the proofs of one.",
    )
