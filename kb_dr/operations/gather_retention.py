"""Read what one copy holds, as far as retention looks at it.

What cannot be read is never taken for absent: it becomes a reason why nothing may go.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_families import FAMILIES, Family, family_of_id
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.control import ALL, void_through
from kb_dr.domain.manifest import Manifest, manifest_digest
from kb_dr.domain.proof import Verdict, Void, standing
from kb_dr.domain.proofs_that_stop import proofs_that_stop
from kb_dr.domain.retention import Candidate, ExpiredBackup
from kb_dr.domain.tombstone import PurgeStep, Tombstone
from kb_dr.errors import ObjectMissing, RepositoryError, UnreadableRecord
from kb_dr.operations.catalog import Unreadable, each_entry, lean_entry
from kb_dr.operations.controls import gather_control_runs
from kb_dr.operations.copy_look import CopyLook
from kb_dr.operations.holds import GatheredHolds, gather_holds
from kb_dr.operations.initialise import Marker
from kb_dr.operations.known_damage import known_damage
from kb_dr.operations.let_go import let_go_in
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr.operations.needed_wal import needed_segments
from kb_dr.operations.proofs import GatheredProofs, gather_proofs
from kb_dr.operations.tombstones import open_tombstones
from kb_dr.ports import Repository

_NEWEST = 3
"""Of so many backups of each kind the objects' times are looked at, to tell the store's time."""


@dataclass(frozen=True, slots=True)
class GatheredCopy:
    """One copy at one moment."""

    copy: str
    url: str
    candidates: tuple[Candidate, ...]
    """Every backup whose manifest stands and can be read, oldest first; nobody has asked yet
    whether any of it is locked."""
    expired: tuple[ExpiredBackup, ...]
    """What this copy let go of and has not purged."""
    stored_bytes: Mapping[str, int]
    """What the objects of each of these take."""
    interrupted: tuple[str, ...]
    """Backups whose manifest stands though the last step says that it goes: a run was cut off."""
    unreadable: Mapping[str, str]
    """Backups whose manifest cannot be read, and why."""
    problems: tuple[str, ...]
    """What could not be read besides: nothing may go while there is any."""
    stops: tuple[str, ...]
    """Why damage in this copy forbids that anything goes."""
    stops_of: Mapping[Family, tuple[str, ...]]
    """Why the proofs of this copy forbid that anything of one family goes."""
    newest_stored: datetime | None
    """The newest modification seen, by the store's clock."""
    vanished: tuple[str, ...] = ()
    """Backups that were proven in this very place, and stand here no more though no tombstone
    says that they went: somebody else removed or hid their manifests."""

    @property
    def known(self) -> frozenset[str]:
        """The ids of all backups whose manifest stands."""
        return frozenset(each.id for each in self.candidates) | self.unreadable.keys()


@dataclass(frozen=True, slots=True)
class _Said:
    """What the records of all places say of the backups of one copy."""

    repository: Repository
    holds: GatheredHolds
    proofs: GatheredProofs
    void: Void | None
    problems: tuple[str, ...]

    def of(self, manifest: Manifest, digest: str) -> Candidate:
        return Candidate(
            id=manifest.id,
            kind=manifest.kind,
            digest=digest,
            started=manifest.started,
            finished=manifest.finished,
            system_identifier=manifest.source.system_identifier,
            timeline=manifest.wal.timeline,
            wal=None if manifest.is_dump else needed_segments(manifest),
            parent=manifest.parent,
            parent_digest=manifest.parent_digest,
            replaces=manifest.replaces,
            standing=standing(
                self.proofs.proofs.get(manifest.id, ()),
                digest=digest,
                copy=self.repository.name,
                url=self.repository.url,
                void_through=self.void,
            )[0],
            holds=self.holds.events.get(manifest.id, ()),
        )


def gather_retention(
    repository: Repository,
    places: Sequence[Repository],
    *,
    service: str,
    look: CopyLook | None = None,
) -> GatheredCopy:
    """Read one copy, and from every place (it is one of them) what is kept of it.

    ``look``: what was read of it already, where nothing is going to be deleted.

    Raises what ``repository`` raises where its listing breaks off or a manifest cannot be asked
    for: half a copy is none. Manifests are read one at a time.
    """
    said = _ask(repository, places, look)
    candidates: list[Candidate] = []
    stored_bytes: dict[str, int] = {}
    unreadable: dict[str, str] = {}
    newest: dict[BackupKind, list[str]] = {}
    known, shape = (look.known, look.shape) if look else (None, lean_entry)
    for kind, stamp, entry in each_entry(repository, known, kinds=ALL_KINDS, shape=shape):
        newest[kind] = [*newest.get(kind, ()), stamp][-_NEWEST:]
        if isinstance(entry, Unreadable):
            unreadable[f"{service}-{kind}-{stamp}"] = entry.why
            continue
        candidates.append(said.of(entry.manifest, entry.digest))
        stored_bytes[entry.manifest.id] = entry.manifest.stored_bytes
    # After the manifests: what a run beside this one lets go of meanwhile is in both, and its WAL
    # is needed still.
    expired: list[ExpiredBackup] = []
    interrupted: list[str] = []
    problems = list(said.problems)
    here = {each.id for each in candidates} | unreadable.keys()
    try:
        for each in open_tombstones(repository):
            if each.last.step is not PurgeStep.EXPIRED:
                continue
            if each.backup_id in here:
                interrupted.append(each.backup_id)
                continue
            manifest = buried_manifest(each.last)
            if repository.find(layout.manifest_key(manifest.backup_id)) is not None:
                problems.append(f"{each.backup_id} came back while this copy was read")
                continue
            at = max(each.last.at, each.stored)
            expired.append(ExpiredBackup(said.of(manifest, each.last.digest), at))
            stored_bytes[each.backup_id] = manifest.stored_bytes
    except UnreadableRecord as error:
        problems.append(str(error))
    vanished: tuple[str, ...] = ()
    try:
        vanished = _vanished(said, here)
    except UnreadableRecord as error:
        problems.append(str(error))
    return GatheredCopy(
        copy=repository.name,
        url=repository.url,
        candidates=tuple(sorted(candidates, key=lambda each: (each.started, each.id))),
        expired=tuple(expired),
        stored_bytes=stored_bytes,
        interrupted=tuple(interrupted),
        unreadable=unreadable,
        problems=tuple(problems),
        stops=_damage(said, places),
        stops_of={family: _stops(said, family) for family in FAMILIES},
        newest_stored=_newest_stored(repository, newest),
        vanished=vanished,
    )


def buried_manifest(tombstone: Tombstone) -> Manifest:
    """The manifest that an EXPIRED step keeps; UnreadableRecord when it is not what went."""
    what = f"the manifest in tombstone {tombstone.id} of {tombstone.backup_id}"
    body = tombstone.manifest.encode()
    if manifest_digest(body) != tombstone.digest:
        raise UnreadableRecord(f"read {what}: it is another than the one that went")
    manifest = records.from_json(Manifest, body, what=what)
    if manifest.id != tombstone.backup_id:
        raise UnreadableRecord(f"read {what}: it is of {manifest.id}")
    return manifest


def with_locks(gathered: GatheredCopy, locked: Mapping[str, datetime | None]) -> GatheredCopy:
    """The same, where it was asked until when backups are locked."""

    def locked_now(each: Candidate) -> Candidate:
        return replace(each, locked_until=locked.get(each.id, each.locked_until))

    return replace(
        gathered,
        candidates=tuple(locked_now(each) for each in gathered.candidates),
        expired=tuple(replace(each, backup=locked_now(each.backup)) for each in gathered.expired),
    )


def _ask(repository: Repository, places: Sequence[Repository], look: CopyLook | None) -> _Said:
    holds = gather_holds(places)
    proofs = look.proofs if look else gather_proofs(places, repository.name)
    controls = gather_control_runs(places)
    told = [*holds.problems, *proofs.problems, *controls.problems]
    return _Said(
        repository=repository,
        holds=holds,
        proofs=proofs,
        void=ALL if controls.problems else void_through(controls.runs),
        problems=tuple(dict.fromkeys(str(error) for error in told)),
    )


def _stops(said: _Said, family: Family) -> tuple[str, ...]:
    """A proof of a dump stops no base backup, and lifts nothing that a base backup's has stopped:
    it read none of its bytes.
    """
    return proofs_that_stop(
        (
            proof
            for name, proofs in said.proofs.proofs.items()
            if family_of_id(name) is family
            for proof in proofs
        ),
        copy=said.repository.name,
        url=said.repository.url,
        void_through=said.void,
    )


def _damage(said: _Said, places: Sequence[Repository]) -> tuple[str, ...]:
    try:
        damage = known_damage(said.repository, places)
    except RepositoryError as error:
        damage = str(error)
    return (damage,) if damage else ()


def _vanished(said: _Said, here: Container[str]) -> tuple[str, ...]:
    url, since = said.repository.url, _made(said.repository)
    gone = [
        name
        for name, proofs in said.proofs.proofs.items()
        if name not in here
        and any(
            each.verdict is Verdict.PROVEN and each.url == url and each.started >= since
            for each in proofs
        )
    ]
    if not gone:
        return ()
    let_go = let_go_in((said.repository,), said.repository.name)
    return tuple(sorted(name for name in gone if name not in let_go and _still_gone(said, name)))


def _made(repository: Repository) -> datetime:
    """When this place was made, or made anew after a disaster: what stood there before is known
    to be gone.
    """
    try:
        body = repository.read(layout.MARKER)
    except ObjectMissing:
        return datetime.min.replace(tzinfo=UTC)
    return records.from_json(Marker, body, what=layout.MARKER).created


def _still_gone(said: _Said, name: str) -> bool:
    """Asked again: it may have been brought here meanwhile."""
    key = layout.manifest_key(BackupId.parse(name))
    return said.repository.find(key) is None


def _newest_stored(
    repository: Repository, newest: Mapping[BackupKind, Iterable[str]]
) -> datetime | None:
    """By the objects of the newest backups: what their ids say may come from a wrong clock."""
    times = (
        listed.modified
        for kind, stamps in newest.items()
        for stamp in stamps
        for listed in repository.list(f"{layout.backups_prefix(kind)}{stamp}/")
    )
    return max(times, default=None)
