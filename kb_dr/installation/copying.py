"""What brings backups and WAL to the further copies, and mends copies that are damaged."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.copies import copies_to_prove, copy_that_counts, further_copies
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.space import Room
from kb_dr.domain.tombstone import Tombstone
from kb_dr.errors import ConfigurationError, RepositoryError
from kb_dr.installation.evidence import Evidence
from kb_dr.operations.audit_wal import clusters_present
from kb_dr.operations.copy_backup import BackupCopy, copy_backup
from kb_dr.operations.copy_partials import copy_partials
from kb_dr.operations.copy_wal import WalCopy, follow_wal, recent_wal
from kb_dr.operations.find_holders import find_holders
from kb_dr.ports import Progress, Repository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lacking:
    """What one copy does not hold of what others do."""

    wanted: tuple[BackupId, ...]
    """To be brought, oldest first."""
    let_go: tuple[str, ...]
    """Left out: retention has let go of them there, or of what they cannot be restored without."""


class Copying(Evidence):
    """Backups and WAL go from the nearest copy that has them to those that lack them."""

    @property
    def further_copies(self) -> tuple[str, ...]:
        """The copies besides the primary, in the order of COPY_NAMES."""
        return further_copies(self.copies)

    def let_go(self, copy: str) -> dict[str, Tombstone]:
        """The backups retention has let go of in one copy, by every record there is of it.

        Raises UnreadableRecord when such a record cannot be read.
        """
        from kb_dr.operations.tombstones import expired_in, load_tombstones

        steps: dict[str, dict[str, Tombstone]] = {}
        for found in self._from_each(lambda at: load_tombstones(at).items()):
            name, each = found
            steps.setdefault(name, {}).update((step.id, step) for step in each)
        return expired_in({name: list(each.values()) for name, each in steps.items()}, copy)

    def lacking(self, copy: str) -> Lacking:
        """What is to be brought to one copy: backups another copy holds and this one does not.

        A backup this copy has let go of is never brought again, nor one whose parent it has.
        """
        let_go = self.let_go(copy)
        there = self._manifests(copy)
        found: dict[str, StoredManifest] = {}
        for source in self._sources(copy):
            for name, stored in self._manifests(source.name).items():
                found.setdefault(name, stored)
        wanted: list[StoredManifest] = []
        left: list[str] = []
        for name, stored in found.items():
            if name in there and there[name].digest == stored.digest:
                continue
            parent = stored.manifest.parent
            gone = name in let_go or (
                parent is not None and parent in let_go and parent not in there
            )
            if gone:
                left.append(name)
            else:
                wanted.append(stored)
        wanted.sort(key=lambda each: (each.manifest.started, each.manifest.id))
        return Lacking(tuple(each.manifest.backup_id for each in wanted), tuple(sorted(left)))

    def copy_backup(self, backup: BackupId, copy: str, progress: Progress) -> BackupCopy:
        """Bring one backup and the WAL it needs to one copy, from the nearest that has them.

        Its parents go first: without them it would be worth nothing there. Raises
        ConfigurationError for one that retention has let go of there, and what copy_backup()
        raises.
        """
        self._refuse_let_go(backup, copy)
        sources = self._sources(copy)
        target = self.checked(copy)
        parent = find_holders(sources, backup).manifest.parent
        if parent is not None:
            before = BackupId.parse(parent)
            if target.find(layout.manifest_key(before)) is None:
                self.copy_backup(before, copy, progress)
        return copy_backup(
            sources[0],
            target,
            self.codec,
            backup,
            progress,
            others=sources[1:],
            parallel=self.settings.transfers,
        )

    def copy_wal(
        self, progress: Progress, copy: str, *, everything: bool = False
    ) -> tuple[WalCopy, ...]:
        """Bring over all WAL one copy lacks, of each cluster.

        ``everything`` compares both archives from end to end, but for what is older than that
        copy keeps WAL; otherwise what is older than the newest copied backup is taken as brought
        already. Look at each ``problems``.
        """
        source, *others = self._sources(copy)
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
                    not_before=self._wal_kept_since(copy) if everything else None,
                    others=others,
                    parallel=self.settings.transfers,
                )
            )
            # After the full segments: what was streamed is of use only behind them.
            copy_partials(source, target, self.codec, cluster, since=since)
        return tuple(done)

    def rooms(self) -> tuple[Room, ...]:
        """The room of each copy. Raises what a repository raises that cannot be asked."""
        from kb_dr.operations.room import look_at_room

        percent = self.settings.space_warning_percent
        return tuple(look_at_room(self.checked(copy), percent) for copy in self.copies)

    def copies_to_prove(self) -> tuple[str, ...]:
        """The copies this round of proofs reads; see domain/copies.py for the rule."""
        from kb_dr.operations.newest_tries import newest_tries

        found: dict[str, datetime] = {}
        for name, at in self._from_each(lambda each: newest_tries(each).items()):
            found[name] = max(at, found.get(name, at))
        return copies_to_prove(self.copies, found)

    def _refuse_let_go(self, backup: BackupId, copy: str) -> None:
        step = self.let_go(copy).get(str(backup))
        if step is not None:
            raise ConfigurationError(
                f"copy {backup} to {copy}: retention let go of it there on "
                f"{step.at:%Y-%m-%d %H:%M:%S}Z ({step.step}: {step.reason})",
                hint="It is never brought back by a copy. While its objects are there it can be "
                "undeleted; to keep one from going, `kb-dr hold` it before.",
            )

    def _sources(self, copy: str) -> Sequence[Repository]:
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

    def _manifests(self, copy: str) -> dict[str, StoredManifest]:
        """The readable backups of one copy, by id."""
        return {
            entry.manifest.id: entry
            for entry in self.catalog(copy)
            if isinstance(entry, StoredManifest)
        }

    def _wal_kept_since(self, copy: str) -> datetime:
        policy = self.settings.retention[copy]
        return self.clock.now() - timedelta(days=policy.daily_days + policy.wal_days)

    @property
    def copy_that_counts(self) -> str:
        """The copy a proof has to read to be believed."""
        return copy_that_counts(self.copies)
