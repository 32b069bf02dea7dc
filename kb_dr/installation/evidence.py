"""What is known of the backups: catalogs, proofs, drills, controls."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import NoUsableBackup, RepositoryError, UnreadableRecord
from kb_dr.installation.catalog_notes import CatalogNotes
from kb_dr.operations.listed_backups import KINDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from datetime import datetime

    from kb_dr.domain.control import ControlRun
    from kb_dr.domain.drill import Drill
    from kb_dr.domain.finding import Finding
    from kb_dr.domain.manifest import StoredManifest
    from kb_dr.domain.proof import Proof, Standing, Void
    from kb_dr.domain.status import Status
    from kb_dr.operations.backup_chain import Chains
    from kb_dr.operations.catalog import CatalogEntry
    from kb_dr.operations.holds import GatheredHolds
    from kb_dr.operations.status import Asked
    from kb_dr.ports import Repository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackupOverview:
    """One line of `kb-dr list`."""

    id: str
    digest: str | None
    finished: datetime | None
    postgres: int | None
    """``server_version_num``."""
    plain_bytes: int | None
    stored_bytes: int | None
    standings: dict[str, Standing]
    """Copy to standing; a copy that is not there is not named."""
    unreadable: str | None
    """Why the manifest cannot be read; None when it can."""
    troubles: dict[str, str] = field(default_factory=dict)
    """Copy to what keeps anybody from telling whether it holds this backup, or what stands there
    instead."""
    parent: str | None = None
    """The backup it was made against; None for a full."""
    broken: str | None = None
    """Why nothing can be restored from it here, whatever was proven: its chain is broken."""
    holds: tuple[str, ...] = ()
    """Why it is held: the reason of each hold in force."""
    kind: BackupKind = BackupKind.FULL


class Evidence(CatalogNotes):
    """Reads what the repositories hold, wherever it is kept."""

    def catalog(
        self, copy: str, *, kinds: Sequence[BackupKind] = KINDS
    ) -> tuple[CatalogEntry, ...]:
        """Every backup of these kinds of one copy, oldest first, in its lean form; for showing.
        What this process has read within the last quarter of an hour and the listing shows
        unchanged is not read again.
        """
        from kb_dr.operations import catalog as catalogs

        return catalogs.load_catalog(self.checked(copy), self.known_manifests, kinds=kinds)

    def whole(self, stored: StoredManifest) -> StoredManifest:
        """A backup of catalog() with all that is in its manifest, from the same copy.

        Raises what catalog.whole() raises.
        """
        from kb_dr.operations import catalog as catalogs

        return catalogs.whole(self.checked(stored.copy), stored)

    def find_backup(self, backup: BackupId) -> StoredManifest:
        """One backup's manifest, from the first copy that has it."""
        from kb_dr.operations import catalog as catalogs

        missing: NoUsableBackup | None = None
        for copy in self.copies:
            try:
                return catalogs.read_manifest(self.checked(copy), backup)
            except NoUsableBackup as error:
                missing = error
        assert missing is not None
        raise missing

    def chain(self, stored: StoredManifest) -> tuple[StoredManifest, ...]:
        """All that is put together to restore a backup, from the copy its manifest was read from.

        Raises what load_chain() raises.
        """
        from kb_dr.operations.backup_chain import load_chain

        return load_chain(self.checked(stored.copy), stored)

    def has_copy(self, copy: str, stored: StoredManifest) -> bool:
        """Whether one copy holds this very manifest."""
        from kb_dr.operations import catalog as catalogs

        try:
            there = catalogs.read_manifest(self.checked(copy), stored.manifest.backup_id)
        except NoUsableBackup:
            return False
        return there.digest == stored.digest

    def proofs(self, backup: BackupId) -> tuple[Proof, ...]:
        """Every proof of one backup, wherever it is kept, oldest first.

        A repository that cannot be opened is passed over only when the other can: proofs made of
        the offsite copy are kept in both.
        """
        from kb_dr.operations.proofs import load_proofs

        found = {proof.id: proof for proof in self._from_each(lambda at: load_proofs(at, backup))}
        return tuple(sorted(found.values(), key=lambda proof: (proof.finished, proof.id)))

    def proofs_of(self, backups: Collection[BackupId]) -> dict[str, tuple[Proof, ...]]:
        """As proofs(), of many backups by id, from a listing of each kind in each copy; without
        their checks, phases and tools.
        """
        from kb_dr.operations.backup_proofs import kept_proofs_of

        def look(at: Repository) -> Iterator[Proof]:
            for known in kept_proofs_of(at, backups).values():
                if isinstance(known, UnreadableRecord):
                    raise known
                yield from known

        found: dict[str, dict[str, Proof]] = {str(each): {} for each in backups}
        for proof in self._from_each(look):
            found[proof.backup_id][proof.id] = proof
        return {
            name: tuple(sorted(known.values(), key=lambda proof: (proof.finished, proof.id)))
            for name, known in found.items()
        }

    def proofs_listed(self) -> dict[str, str]:
        """Backup id to what changes with every proof that is listed of it, in any copy."""
        from kb_dr.operations.backup_proofs import sign_proofs

        found: dict[str, str] = {}
        for name, sign in self._from_each(lambda at: sign_proofs(at).items()):
            found[name] = found.get(name, "") + sign
        return found

    def drills(self) -> tuple[Drill, ...]:
        """Every drill, wherever its record is kept, oldest first; raises when none can be read."""
        from kb_dr.operations.drill_records import load_drills

        found = {drill.id: drill for drill in self._from_each(load_drills)}
        return tuple(sorted(found.values(), key=lambda drill: (drill.started, drill.id)))

    def drills_held(self, *, young: bool = False) -> Finding:
        """Whether the drills of late allow anybody to believe that recovery works.

        ``young``: a service whose repositories were made lately need not have been drilled yet.
        """
        from kb_dr.domain.drill_age import judge_drills
        from kb_dr.operations.status import initialised_at

        settings, now = self.settings, self.clock.now()
        made = initialised_at(self._to_be_looked_at(), settings.service, settings.org, now)
        return judge_drills(
            self.drills(),
            {copy: self.repository(copy).url for copy in self.copies},
            now,
            settings.objectives.drill_age_seconds,
            void_through=self.void_through(),
            initialised=made if young else None,
        )

    def controls(self) -> tuple[ControlRun, ...]:
        """Every round of negative controls, wherever it is kept, oldest first.

        A repository that cannot be opened is passed over only when the other can. Raises
        UnreadableRecord for one that can be read nowhere: it may be that of a blind verifier.
        """
        from kb_dr.domain.control import in_order
        from kb_dr.installation.places import CLOSED
        from kb_dr.operations.controls import gather_control_runs

        places: list[Repository] = []
        problems: list[RepositoryError] = []
        for copy in self.copies:
            try:
                places.append(self._opened(copy))
            except CLOSED as error:
                problems.append(error)
        gathered = gather_control_runs(places)
        problems += gathered.problems
        telling = [each for each in problems if not isinstance(each, CLOSED)]
        if telling or len(problems) == len(self.copies):
            raise (telling or problems)[0]
        return tuple(in_order(gathered.runs))

    def controls_held(self) -> Finding:
        """Whether the negative controls of late allow anybody to believe a proof."""
        from kb_dr.operations.status import hold_controls

        return hold_controls(
            self._to_be_looked_at(),
            self.clock,
            self.settings.objectives,
            service=self.settings.service,
            org=self.settings.org,
        )

    def void_through(self) -> Void | None:
        """Which proofs are void. What nobody can tell is not proven: all of them then."""
        from kb_dr.domain.control import ALL, void_through

        try:
            return void_through(self.controls())
        except RepositoryError as error:
            logger.warning("all proofs are taken for void: %s", error)
            return ALL

    def gathered_holds(self, backup: BackupId | None = None) -> GatheredHolds:
        """The holds (of one backup) that can be read now, and why some may be missing."""
        from kb_dr.operations.holds import gather_holds

        return gather_holds(self._every_place(), backup)

    def standings(self, stored: StoredManifest, copies: Sequence[str]) -> dict[str, Standing]:
        """Where each of these copies of one backup stands."""
        return self._standings(stored, copies, self.void_through())

    def _standings(
        self,
        stored: StoredManifest,
        copies: Sequence[str],
        void: Void | None,
        parents: Sequence[StoredManifest] = (),
        known: dict[str, tuple[Proof, ...]] | None = None,
    ) -> dict[str, Standing]:
        """``parents`` are those of its chain: one that failed since speaks against it, too."""
        from kb_dr.domain.proof import Standing, failed_parent

        known = {} if known is None else known
        found: dict[str, Standing] = {}
        for copy in copies:
            own, *above = (self._proven_in(copy, each, void, known) for each in (stored, *parents))
            found[copy] = Standing.FAILED if failed_parent(own, above) else own[0]
        return found

    def _proven_in(
        self,
        copy: str,
        stored: StoredManifest,
        void: Void | None,
        known: dict[str, tuple[Proof, ...]],
    ) -> tuple[Standing, Proof | None]:
        from kb_dr.domain.proof import standing

        name = stored.manifest.id
        if name not in known:
            known[name] = self.proofs(stored.manifest.backup_id)
        url = self.repository(copy).url
        return standing(known[name], digest=stored.digest, copy=copy, url=url, void_through=void)

    def overview(self, copy: str) -> tuple[BackupOverview, ...]:
        """The backups of one copy, with the standing of every copy that holds them."""
        from kb_dr.operations import catalog as catalogs
        from kb_dr.operations.backup_chain import chains_in
        from kb_dr.operations.listed_backups import ALL_KINDS

        void, entries = self.void_through(), self.catalog(copy, kinds=ALL_KINDS)
        chains = {copy: chains_in(entries)}
        here = catalogs.readable(entries)
        known = self.proofs_of({each.manifest.backup_id for each in here})
        held = self.gathered_holds()
        for problem in held.problems:
            logger.warning("a hold may be left out that cannot be read: %s", problem)
        others: dict[str, dict[str, CatalogEntry] | str] = {}
        for other in self.copies:
            if other != copy:
                try:
                    self._opened(other)
                    catalog = self.catalog(other, kinds=ALL_KINDS)
                except RepositoryError as error:
                    others[other] = str(error)
                    continue
                others[other] = {self.id_of(each): each for each in catalog}
                chains[other] = chains_in(catalog)
        return tuple(
            self._line(entry, copy, others, void, chains, known, held) for entry in entries
        )

    def id_of(self, entry: CatalogEntry) -> str:
        """The id of a backup, also of one whose manifest cannot be read."""
        from kb_dr.operations.catalog import Unreadable

        if isinstance(entry, Unreadable):
            return f"{self.settings.service}-{entry.kind}-{entry.stamp}"
        return entry.manifest.id

    def _line(
        self,
        entry: CatalogEntry,
        copy: str,
        others: Mapping[str, Mapping[str, CatalogEntry] | str],
        void: Void | None,
        chains: Mapping[str, Chains],
        known: dict[str, tuple[Proof, ...]],
        held: GatheredHolds,
    ) -> BackupOverview:
        from kb_dr.domain.manifest import StoredManifest
        from kb_dr.operations.catalog import Unreadable

        name = self.id_of(entry)
        if isinstance(entry, Unreadable):
            reasons = _reasons(held, name)
            return BackupOverview(
                name, None, None, None, None, None, {}, entry.why, holds=reasons, kind=entry.kind
            )
        manifest = entry.manifest
        copies = [copy]
        troubles: dict[str, str] = {}
        for other, catalog in others.items():
            there = catalog if isinstance(catalog, str) else catalog.get(name)
            if isinstance(there, StoredManifest):
                if there.digest != entry.digest:
                    troubles[other] = f"another manifest stands under this id: {there.digest}"
                elif name in chains[other].broken:
                    troubles[other] = chains[other].broken[name]
                else:
                    copies.append(other)
            elif there is not None:
                troubles[other] = there if isinstance(there, str) else there.why
        in_order = [each for each in self.copies if each in copies]
        return BackupOverview(
            id=manifest.id,
            digest=entry.digest,
            finished=manifest.finished,
            postgres=manifest.source.server_version,
            plain_bytes=manifest.plain_bytes,
            stored_bytes=manifest.stored_bytes,
            standings=self._standings(
                entry, in_order, void, chains[copy].whole.get(name, (entry,))[:-1], known
            ),
            unreadable=None,
            troubles=troubles,
            holds=_reasons(held, manifest.id),
            parent=manifest.parent,
            broken=chains[copy].broken.get(name),
            kind=manifest.kind,
        )

    def _take_status(
        self,
        repositories: Sequence[Repository],
        also: Sequence[Finding] = (),
        *,
        everything: bool = False,
        source: Asked | None = None,
    ) -> Status:
        from kb_dr.operations.status import take_status

        return take_status(
            repositories,
            self.codec,
            self.clock,
            self.settings.objectives,
            service=self.settings.service,
            org=self.settings.org,
            source=source or self.source,
            heartbeat=self.settings.heartbeat,
            also=also,
            everything=everything,
        )


def _reasons(held: GatheredHolds, backup_id: str) -> tuple[str, ...]:
    return tuple(each.reason for each in held.in_force(backup_id))
