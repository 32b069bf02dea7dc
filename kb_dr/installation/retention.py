"""What is kept: holds, and what retention expires, purges and brings back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from kb_dr.domain.backup_id import BackupId
from kb_dr.errors import NoUsableBackup, RepositoryError
from kb_dr.installation.cataloguing import Cataloguing
from kb_dr.installation.pinging import Pinging

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kb_dr.domain.hold import HoldEvent
    from kb_dr.operations.apply_retention import AppliedRetention
    from kb_dr.operations.plan_copy_retention import CopyRetention
    from kb_dr.operations.undelete_backup import Undeleted
    from kb_dr.ports import Progress, Repository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """What a hold, or a release, came to."""

    backup_id: str
    event: HoldEvent | None
    """None: nothing was to be done."""
    copies: tuple[str, ...]
    """That hold the backup."""
    expired: tuple[str, ...]
    """That have let go of it already; its objects are there still."""


class Retention(Cataloguing, Pinging):
    """Says what is kept, and lets go of the rest."""

    def hold(self, backup: BackupId, reason: str) -> Held:
        """Keep retention from a backup, in every copy, until it is released.

        Raises NoUsableBackup when no copy holds it, ConfigurationError without a reason, and what
        a copy raised that could not be asked when no other holds it.
        """
        from kb_dr.operations import holds

        places = self._answering()
        self._require_somewhere(backup, places)
        event = holds.hold(places, self.clock, backup, reason)
        # Asked again: retention looks for holds after it has written that a backup expires.
        here, expired = holds.where_it_stands(backup, places)
        self.note_in_catalog(backup, *(each.name for each in places))
        return Held(str(backup), event, here, expired)

    def release(self, backup: BackupId, reason: str) -> Held:
        """End the holds of a backup that can be read now; ``event`` is None when there is none.

        Raises NoUsableBackup when nobody has heard of it, and what kept a hold from being read
        when there may be one.
        """
        from kb_dr.operations import holds

        places = self._answering()
        gathered = self.gathered_holds(backup)
        here, expired = holds.where_it_stands(backup, places)
        in_force = gathered.in_force(str(backup))
        if not in_force:
            if gathered.problems:
                raise gathered.problems[0]
            if not gathered.events:
                self._require_somewhere(backup, places)
            return Held(str(backup), None, here, expired)
        for problem in gathered.problems:
            logger.warning("a hold of %s may be left that cannot be read: %s", backup, problem)
        event = holds.release(places, self.clock, backup, reason, in_force)
        self.note_in_catalog(backup, *(each.name for each in places))
        return Held(str(backup), event, here, expired)

    def holds(self, backup: BackupId) -> tuple[HoldEvent, ...]:
        """The holds in force of one backup; raises what kept one from being read."""
        gathered = self.gathered_holds(backup)
        if gathered.problems:
            raise gathered.problems[0]
        return gathered.in_force(str(backup))

    def plan_retention(self, copy: str) -> CopyRetention:
        """What goes from one copy now, and why. Nothing is written."""
        from kb_dr.operations.plan_copy_retention import plan_copy_retention

        return plan_copy_retention(
            self.checked(copy),
            self._every_place(),
            self.clock,
            self.settings.retention[copy],
            service=self.settings.service,
        )

    def backups_to_prove(self, copy: str) -> tuple[str, ...]:
        """The backups whose proof would let a tier of one copy shed what is too old for it."""
        from kb_dr.operations.plan_copy_retention import backups_to_prove

        return backups_to_prove(
            self.checked(copy),
            self._every_place(),
            self.clock,
            self.settings.retention[copy],
            service=self.settings.service,
        )

    def apply_retention(self, planned: CopyRetention, progress: Progress) -> AppliedRetention:
        """Do what a plan that was made just now says; see operations.apply_retention."""
        from kb_dr.operations.apply_retention import apply_retention

        copy = planned.plan.copy
        with self.pinged("retention", copy, parts=self.copies, every=True, copy=copy):
            applied = apply_retention(
                self.checked(copy),
                self._every_place(),
                self.clock,
                progress,
                planned,
                at_once=self.settings.transfers,
            )
            self.follow_in_catalog()
            return applied

    def undelete(self, backup: BackupId, copy: str, reason: str) -> Undeleted:
        """Bring a backup that expired back into a copy, held, so that it does not go again."""
        from kb_dr.operations import holds
        from kb_dr.operations.undelete_backup import HELD_FOR, undelete_backup

        repository, places = self.checked(copy), self._answering()
        since = self.clock.now() - HELD_FOR
        held_long = any(
            each.at <= since for each in self.gathered_holds(backup).in_force(str(backup))
        )
        until = timedelta(days=self.settings.retention[copy].undelete_days)
        undeleted = undelete_backup(
            repository,
            [each for each in places if each.name != copy],
            self.clock,
            backup,
            reason=reason,
            until=None if held_long else until,
            hold=lambda: holds.hold(places, self.clock, backup, reason),
        )
        for each in {str(backup), *undeleted.brought_back}:
            self.note_in_catalog(BackupId.parse(each), *(place.name for place in places))
        return undeleted

    def _answering(self) -> list[Repository]:
        """Every copy that can be opened; the error of the last one when none can."""
        from kb_dr.installation.places import CLOSED

        found: list[Repository] = []
        failure: RepositoryError | None = None
        for copy in self.copies:
            try:
                found.append(self._opened(copy))
            except CLOSED as error:
                failure = error
                logger.warning("%s is not asked, and keeps no record of this: %s", copy, error)
        if failure is not None and not found:
            raise failure
        return found

    def _require_somewhere(self, backup: BackupId, places: Sequence[Repository]) -> None:
        from kb_dr.operations import holds

        here, expired = holds.where_it_stands(backup, places)
        if here or expired:
            return
        for copy in self.copies:
            if copy in self._closed:
                raise self._closed[copy]  # it may hold it
        raise NoUsableBackup(
            f"find {backup}: no copy holds it ({', '.join(each.name for each in places)})",
            hint="`kb-dr list` shows what there is; ids are to be typed whole.",
        )
