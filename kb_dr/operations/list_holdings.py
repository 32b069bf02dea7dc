"""What each copy lists of every backup: its manifest and the small records, none of them read.

Pages of keys alone: cheap enough to be looked at every minute. WAL and chunks are not listed;
the objects of one backup are, up to a page of them.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.stored import Listed
from kb_dr.errors import RepositoryError
from kb_dr.operations.listed_backups import ALL_KINDS, KINDS
from kb_dr.ports import Repository

_SKIP_AFTER = 1000
"""Keys of one backup after which a listing jumps to its manifest: a page of S3."""

RECORDS = ("proofs/", "holds/", "tombstones/", "failures/")


@dataclass(frozen=True, slots=True)
class Place:
    """One copy that is to be looked at."""

    copy: str
    url: str
    repository: Repository | None
    """None: it cannot be opened, or is not to be."""
    problem: str = ""
    untouched: bool = False
    """Not to be looked at: what is known of it stays as it is."""


@dataclass(slots=True)
class Holding:
    """What one copy lists of one backup."""

    manifest: Listed | None = None
    records: list[str] = field(default_factory=list)
    """Keys, in order."""


@dataclass(frozen=True, slots=True)
class CopyListing:
    """What one copy lists."""

    place: Place
    holdings: Mapping[str, Holding]
    """By backup id."""
    of_one: bool = False
    """Whether no other backup was looked for."""

    @property
    def silent(self) -> bool:
        """Whether it did not answer: what it does not list is not absent then."""
        return bool(self.place.problem)


def list_holdings(place: Place, service: str) -> CopyListing:
    """Every backup that the copy holds a manifest or a record of.

    A listing that breaks off makes the whole copy silent: half a listing is none.
    """
    if place.repository is None:
        return CopyListing(place, {})
    found: dict[str, Holding] = {}
    try:
        for kind in ALL_KINDS:
            for listed in list_manifests(place.repository, kind):
                known = layout.stamp_of_manifest(listed.key)
                if known is not None:
                    backup = f"{service}-{known[0]}-{known[1]}"
                    found.setdefault(backup, Holding()).manifest = listed
        for prefix in RECORDS:
            _add_records(found, place.repository.list(prefix), prefix)
    except RepositoryError as error:
        return CopyListing(Place(place.copy, place.url, place.repository, str(error)), {})
    return CopyListing(place, found)


def list_one(place: Place, backup: BackupId) -> CopyListing:
    """The same of one backup: a handful of calls."""
    if place.repository is None:
        return CopyListing(place, {}, of_one=True)
    holding = Holding()
    found = {str(backup): holding}
    try:
        holding.manifest = place.repository.find(layout.manifest_key(backup))
        for prefix in RECORDS:
            _add_records(found, place.repository.list(f"{prefix}{backup}/"), prefix)
    except RepositoryError as error:
        silent = Place(place.copy, place.url, place.repository, str(error))
        return CopyListing(silent, {}, of_one=True)
    there = holding.manifest is not None or bool(holding.records)
    return CopyListing(place, found if there else {}, of_one=True)


def proofs_in(listing: CopyListing, backup: BackupId) -> list[str]:
    """Keys of the proofs a copy lists of a backup, which it may not have been asked for yet.

    Raises what the repository raises.
    """
    place, name = listing.place, str(backup)
    if listing.of_one and not listing.silent and place.repository is not None:
        found: dict[str, Holding] = {}
        prefix = layout.proofs_prefix(backup)
        _add_records(found, place.repository.list(prefix), "proofs/")
        return found[name].records if name in found else []
    holding = listing.holdings.get(name)
    return [key for key in holding.records if key.startswith("proofs/")] if holding else []


def ancestors(listing: CopyListing) -> Mapping[str, str]:
    """Incremental backup to a digest of all its rows may owe to older backups of the copy: their
    manifests, which may be of its chain and stand or stand no more, and the proofs of them.
    """
    known = sorted(
        listing.holdings.items(), key=lambda each: (BackupId.parse(each[0]).stamp, each[0])
    )
    digest = hashlib.sha256()
    found: dict[str, str] = {}
    for name, holding in known:
        kind = BackupId.parse(name).kind
        if kind not in KINDS:
            continue  # nothing is built upon it
        if kind is not BackupKind.FULL:
            found[name] = digest.hexdigest()
        if (manifest := holding.manifest) is not None:
            at = manifest.modified.isoformat()
            digest.update(f"{name}\0{manifest.size_bytes}\0{at}\0".encode())
        for key in holding.records:
            if key.startswith("proofs/"):
                digest.update(f"{key}\0".encode())
    return found


def token_of(backup: str, listings: Sequence[CopyListing], also: str) -> str:
    """The same for as long as no copy lists anything else of this backup.

    Records are never rewritten, so their keys say it all; of the manifest size and time as well.
    ``also`` is what else its rows depend on.
    """
    digest = hashlib.sha256(also.encode())
    for listing in listings:
        place = listing.place
        digest.update(f"\0{place.copy}\0{place.url}\0{listing.silent}".encode())
        holding = listing.holdings.get(backup)
        if holding is None:
            continue
        if holding.manifest is not None:
            at = holding.manifest.modified.isoformat()
            digest.update(f"\0{holding.manifest.size_bytes}\0{at}".encode())
        for key in holding.records:
            digest.update(f"\0{key}".encode())
    return digest.hexdigest()


def _add_records(found: dict[str, Holding], listed: Iterable[Listed], prefix: str) -> None:
    for each in listed:
        backup = each.key.removeprefix(prefix).partition("/")[0]
        if each.key.endswith(".json") and _is_backup_id(backup):
            found.setdefault(backup, Holding()).records.append(each.key)


def _is_backup_id(text: str) -> bool:
    try:
        BackupId.parse(text)
    except ValueError:
        return False
    return True


def list_manifests(
    repository: Repository, kind: BackupKind, *, after: str = ""
) -> Iterable[Listed]:
    """The manifests of one kind, oldest first, by listing alone.

    ``manifest.json`` sorts behind every attempt, whose names are hexadecimal: a big backup's
    chunks are jumped over to it. ``after`` is a key; what sorts before it is left out.
    """
    prefix = layout.backups_prefix(kind)
    while True:
        current, count = "", 0
        for listed in repository.list(prefix, start_after=after):
            stamp, _, rest = listed.key.removeprefix(prefix).partition("/")
            current, count = (stamp, 1) if stamp != current else (current, count + 1)
            if layout.stamp_of_manifest(listed.key) is not None:
                yield listed
            elif count >= _SKIP_AFTER and rest < "manifest.json":
                after = f"{prefix}{stamp}/manifest"
                break
        else:
            return
