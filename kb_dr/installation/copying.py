"""What brings backups and WAL to the further copies, and mends copies that are damaged."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import ConfigurationError, KbDrError, RepositoryError
from kb_dr.installation.catalog_notes import CatalogNotes
from kb_dr.installation.evidence import Evidence
from kb_dr.installation.pinging import Pinging

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from kb_dr.domain.manifest import StoredManifest
    from kb_dr.domain.space import Room
    from kb_dr.domain.status import Status
    from kb_dr.operations.catalog import CatalogEntry
    from kb_dr.operations.copy_backup import BackupCopy
    from kb_dr.operations.copy_wal import WalCopy
    from kb_dr.operations.repair_copy import Repair
    from kb_dr.operations.repair_wal import WalRepair
    from kb_dr.ports import Progress, Repository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lacking:
    """What one copy does not hold of what others do."""

    wanted: tuple[BackupId, ...]
    """To be brought, oldest first."""
    let_go: tuple[str, ...]
    """Left out: retention has let go of them there, or of what they cannot be restored without."""
    damaged: tuple[str, ...]
    """Their manifests stand there and cannot be read, or are others: for repair() to look at."""


class Copying(Evidence, CatalogNotes, Pinging):
    """Backups and WAL go from the nearest copy that has them to those that lack them."""

    @property
    def further_copies(self) -> tuple[str, ...]:
        """The copies besides the primary, in the order of COPY_NAMES."""
        from kb_dr.domain.copies import further_copies

        return further_copies(self.copies)

    def let_go(self, copy: str) -> dict[str, str]:
        """The backups retention has let go of in one copy, each with the id of the last step.

        By every record there is of it. Raises UnreadableRecord when one that has to be read
        cannot be.
        """
        from kb_dr.operations.let_go import let_go_in

        return let_go_in(self._from_each(lambda at: (at,)), copy)

    def lacking(self, copy: str) -> Lacking:
        """What is to be brought to one copy: backups another copy holds and this one does not.

        A backup this copy has let go of is never brought again, nor one whose parent it has.
        """
        from kb_dr.domain.manifest import StoredManifest
        from kb_dr.operations.listed_backups import ALL_KINDS

        there = {self.id_of(entry): entry for entry in self.catalog(copy, kinds=ALL_KINDS)}
        elsewhere, let_go = self._held_elsewhere(copy, there)
        damaged = [
            name
            for name, stored in elsewhere.items()
            if (at := there.get(name)) is not None
            and not (isinstance(at, StoredManifest) and at.digest == stored.digest)
        ]
        wanted = [stored for name, stored in elsewhere.items() if name not in there]
        return Lacking(
            tuple(each.manifest.backup_id for each in wanted), let_go, tuple(sorted(damaged))
        )

    def _held_elsewhere(
        self, copy: str, there: Mapping[str, CatalogEntry]
    ) -> tuple[dict[str, StoredManifest], tuple[str, ...]]:
        """What other copies hold that belongs into this one, oldest first; and what does not."""
        from kb_dr.domain.manifest import StoredManifest
        from kb_dr.operations.listed_backups import ALL_KINDS

        gone = set(self.let_go(copy))
        found: dict[str, StoredManifest] = {}
        for source in self._sources_for(copy):
            for entry in self.catalog(source.name, kinds=ALL_KINDS):
                if isinstance(entry, StoredManifest):
                    found.setdefault(entry.manifest.id, entry)

        kept: dict[str, StoredManifest] = {}
        left: list[str] = []
        # Parents come first: they are older.
        for stored in sorted(found.values(), key=lambda e: (e.manifest.started, e.manifest.id)):
            name, parent = stored.manifest.id, stored.manifest.parent
            if name in gone or (parent in gone and parent not in there):
                gone.add(name)
                left.append(name)
            else:
                kept[name] = stored
        return kept, tuple(sorted(left))

    def repair(
        self, backup: BackupId | None, copy: str, progress: Progress
    ) -> Iterator[Repair | KbDrError]:
        """Mend one backup in one copy, or every one that other copies hold, oldest first.

        Every byte is read. One that could not be looked at is given as its error, and the next
        one is gone on with. Raises ConfigurationError for a backup that retention has let go of.
        """
        from kb_dr.operations.listed_backups import ALL_KINDS
        from kb_dr.operations.repair_copy import repair_backup

        sources, target = self._sources_for(copy), self.checked(copy)
        if backup is not None:
            self._refuse_let_go(backup, copy)
            wanted = [backup]
        else:
            there = {self.id_of(entry): entry for entry in self.catalog(copy, kinds=ALL_KINDS)}
            elsewhere, _ = self._held_elsewhere(copy, there)
            wanted = [each.manifest.backup_id for each in elsewhere.values()]
        for each in wanted:
            try:
                mended = repair_backup(
                    sources,
                    target,
                    self.codec,
                    each,
                    progress,
                    parallel=self.settings.transfers,
                )
                self.note_in_catalog(each, copy)
                yield mended
            except KbDrError as error:
                yield error

    def repair_wal(self, copy: str, progress: Progress) -> tuple[WalRepair, ...]:
        """Mend every WAL file of one copy that is not what its key says."""
        from kb_dr.operations.audit_wal import clusters_present
        from kb_dr.operations.repair_wal import repair_wal

        sources, target = self._sources_for(copy), self.checked(copy)
        return tuple(
            repair_wal(
                sources, target, self.codec, cluster, progress, parallel=self.settings.transfers
            )
            for cluster in clusters_present(target)
        )

    def copy_backup(self, backup: BackupId, copy: str, progress: Progress) -> BackupCopy:
        """Bring one backup and the WAL it needs to one copy, from the nearest that has them.

        Its parents go first: without them it would be worth nothing there. Raises
        ConfigurationError for one that retention has let go of there, and what copy_backup()
        raises.
        """
        alone = not self.at_work("copy")
        with self.pinged(
            "copy", copy, parts=self.further_copies, every=True, backup_id=str(backup), copy=copy
        ) as work:
            copied = self._copy_backup(backup, copy, progress)
            for problem in copied.wal_problems:
                work.failed(problem)
            if alone and backup.kind is BackupKind.DUMP and not work.problems:
                # A base backup that could not be brought an hour ago is still not there.
                work.passed_over(f"{backup}, a dump, is there: base backups are not by that")
            return copied

    def _copy_backup(self, backup: BackupId, copy: str, progress: Progress) -> BackupCopy:
        from kb_dr.domain import layout
        from kb_dr.operations.copy_backup import copy_backup
        from kb_dr.operations.find_holders import find_holders

        self._refuse_let_go(backup, copy)
        sources = self._sources_for(copy)
        target = self.checked(copy)
        parent = find_holders(sources, backup).manifest.parent
        if parent is not None:
            before = BackupId.parse(parent)
            if target.find(layout.manifest_key(before)) is None:
                self._copy_backup(before, copy, progress)
        copied = copy_backup(
            sources[0],
            target,
            self.codec,
            backup,
            progress,
            others=sources[1:],
            parallel=self.settings.transfers,
        )
        self.note_in_catalog(backup, *dict.fromkeys((sources[0].name, copy)))
        return copied

    def copy_wal(
        self, progress: Progress, copy: str, *, everything: bool = False
    ) -> tuple[WalCopy, ...]:
        """Bring over all WAL one copy lacks, of each cluster.

        ``everything`` compares both archives from end to end; otherwise what is older than the
        newest copied backup is taken as brought already. What retention let go of there is not
        brought again. Look at each ``problems``.
        """
        with self.pinged("wal", copy, parts=self.further_copies, every=True, copy=copy) as work:
            done = self._copy_wal(progress, copy, everything=everything)
            for each in done:
                for problem in each.problems:
                    work.failed(problem)
            return done

    def _copy_wal(self, progress: Progress, copy: str, *, everything: bool) -> tuple[WalCopy, ...]:
        from kb_dr.operations.audit_wal import clusters_present
        from kb_dr.operations.copy_partials import copy_partials
        from kb_dr.operations.copy_wal import follow_wal, recent_wal

        source, *others = self._sources_for(copy)
        target = self.checked(copy)
        done = []
        for cluster in clusters_present(source):
            since = "" if everything else recent_wal(target, cluster)
            done.append(
                follow_wal(
                    source,
                    target,
                    self.codec,
                    cluster,
                    progress,
                    since=since,
                    others=others,
                    parallel=self.settings.transfers,
                )
            )
            # After the full segments: what was streamed is of use only behind them.
            copy_partials(source, target, self.codec, cluster, since=since)
        return tuple(done)

    def lacks_wal(self, copy: str) -> bool:
        """Whether copy_wal() would have anything to do: for a look that costs no run.

        True when in doubt. Raises what a repository raises that cannot be listed.
        """
        from kb_dr.operations.audit_wal import clusters_present
        from kb_dr.operations.copy_wal import recent_wal
        from kb_dr.operations.lacking_wal import lacks_wal

        source, target = self._sources_for(copy)[0], self.checked(copy)
        return any(
            lacks_wal(source, target, cluster, since=recent_wal(target, cluster))
            for cluster in clusters_present(source)
        )

    def rooms(self) -> tuple[Room, ...]:
        """The room of each copy. Raises what a repository raises that cannot be asked."""
        from kb_dr.operations.room import look_at_room, newest_full

        percent = self.settings.space_warning_percent
        places = [self.checked(copy) for copy in self.copies]
        return tuple(look_at_room(each, percent, newest_full(each)) for each in places)

    def room_notes(self, status: Status) -> tuple[str, ...]:
        """What to say of copies that fill up; one that cannot be asked is said by its status."""
        from kb_dr.operations.catalog import read_manifest
        from kb_dr.operations.room import look_at_room

        notes = []
        for each in status.copies:
            fulls = [b.id for b in each.backups if BackupId.parse(b.id).kind is BackupKind.FULL]
            with suppress(KbDrError):
                at = self._opened(each.copy)
                newest = read_manifest(at, BackupId.parse(fulls[-1])).manifest if fulls else None
                room = look_at_room(at, self.settings.space_warning_percent, newest)
                if room.filling_up or not room.enough:
                    notes.append(f"{room.finding.subject}: {room.finding.seen}")
        return tuple(notes)

    def dump_notes(self, status: Status) -> tuple[str, ...]:
        """The newest logical dump of each copy that holds any: no objective rests on one. A copy
        that cannot be asked is said by its status.
        """
        from kb_dr.domain.manifest import StoredManifest
        from kb_dr.domain.wording import moment
        from kb_dr.operations.catalog import read_entries
        from kb_dr.operations.listed_backups import list_backups

        notes = []
        for each in status.copies:
            with suppress(KbDrError):
                at = self._opened(each.copy)
                found = list(list_backups(at, BackupKind.DUMP))[-1:]
                for entry in read_entries(at, found, self.known_manifests):
                    name, said = self.id_of(entry), "its manifest cannot be read"
                    if isinstance(entry, StoredManifest):
                        state = self.standings(entry, [each.copy])[each.copy]
                        said = f"taken {moment(entry.manifest.finished)}, {state}"
                    notes.append(f"newest dump in {each.copy}: {name}, {said}")
        return tuple(notes)

    def copies_to_prove(self) -> tuple[str, ...]:
        """The copies this round of proofs reads; see domain/copies.py for the rule."""
        from kb_dr.domain.copies import copies_to_prove
        from kb_dr.operations.newest_tries import newest_tries

        found: dict[str, datetime] = {}
        for name, at in self._from_each(lambda each: newest_tries(each).items()):
            found[name] = max(at, found.get(name, at))
        return copies_to_prove(self.copies, found)

    def _refuse_let_go(self, backup: BackupId, copy: str) -> None:
        step = self.let_go(copy).get(str(backup))
        if step is not None:
            raise ConfigurationError(
                f"copy {backup} to {copy}: retention let go of it there (tombstone {step})",
                hint="What has expired in a copy is never brought back by a copy: its own policy "
                "would let go of it again. It can be undeleted while its objects are there.",
            )

    def _sources_for(self, copy: str) -> Sequence[Repository]:
        """Every other copy that can be opened, nearest first; the first one's error else.

        Of those that cannot nothing is known, so nothing they hold is missed as long as one can.
        """
        found: list[Repository] = []
        failure: RepositoryError | None = None
        for name in self.copies:
            if name == copy:
                continue
            try:
                found.append(self._opened(name))
            except RepositoryError as error:
                logger.warning("nothing is brought from %s: %s", name, error)
                failure = failure or error
        if found:
            return found
        raise failure or ConfigurationError(
            f"copy to {copy}: there is no other copy to bring anything from",
            hint="Set KB_DR_OFFSITE_URL or KB_DR_LOCAL_COPY_PATH.",
        )

    @property
    def copy_that_counts(self) -> str:
        """The copy a proof has to read to be believed."""
        from kb_dr.domain.copies import copy_that_counts

        return copy_that_counts(self.copies)
