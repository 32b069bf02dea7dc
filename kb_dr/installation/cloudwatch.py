"""CloudWatch: what stands there and what is put in. Nothing fails, or waits long, for it."""

from __future__ import annotations

import logging
import socket
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any

from kb_dr import wiring
from kb_dr.errors import KbDrError
from kb_dr.installation.places import Places
from kb_dr.operations.known_entries import KnownEntries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from kb_dr.domain.backup_id import BackupId, BackupKind
    from kb_dr.domain.cloudwatch_metrics import Datapoint, Scope
    from kb_dr.domain.manifest import StoredManifest
    from kb_dr.domain.proof import Reach
    from kb_dr.operations.catalog import CatalogEntry
    from kb_dr.operations.cloudwatch import CloudWatchPlan
    from kb_dr.operations.restore_postgres import RestorePlan
    from kb_dr.ports import CloudWatch

logger = logging.getLogger(__name__)

NOTE_SECONDS = 5.0
"""A note that takes longer is left to itself; the next look at the repository puts the same."""


@dataclass(slots=True)
class Ended:
    """What a backup or a restore came to; filled in by whoever carries it out."""

    stored: StoredManifest | None = None
    restored: Mapping[str, Any] | None = None


class CloudWatching(Places):
    """Alarms and dashboard by a command; metrics and events as things happen."""

    _seen_by_cloudwatch: KnownEntries[CatalogEntry] = KnownEntries()
    """Of the whole process: a look each minute reads no manifest twice."""

    @property
    def scope(self) -> Scope:
        """Whose metrics and alarms these are."""
        from kb_dr.domain.cloudwatch_metrics import Scope

        return Scope(self.settings.service, self.settings.org)

    def plan_cloudwatch(self) -> CloudWatchPlan:
        """What `kb-dr cloudwatch apply` would do; nothing is changed."""
        from kb_dr.operations.cloudwatch import plan_cloudwatch

        settings = self.settings.cloudwatch
        return plan_cloudwatch(
            self._cloudwatch(patient=True), self.scope,
            region=settings.region, topic_arn=settings.topic_arn,
        )  # fmt: skip

    def apply_cloudwatch(self) -> CloudWatchPlan:
        """Alarms, dashboard and log groups as they should be; see operations/cloudwatch.py."""
        from kb_dr.operations.cloudwatch import apply_cloudwatch

        settings = self.settings.cloudwatch
        return apply_cloudwatch(
            self._cloudwatch(patient=True), self.scope,
            region=settings.region, topic_arn=settings.topic_arn,
        )  # fmt: skip

    def put_in_cloudwatch(self, *, patient: bool = True) -> tuple[Datapoint, ...]:
        """Look at the primary repository, and put what is seen; each minute.

        Raises RepositoryError, and then nothing was put: alarms take that for the worst. Raises
        AlertError and its children.
        """
        from kb_dr.operations.cloudwatch import look_for_points

        points = look_for_points(
            self.checked("primary"), self.scope, self.clock.now(), self._seen_by_cloudwatch
        )
        self._cloudwatch(patient=patient).put(self.scope, points)
        return points

    def note_in_cloudwatch(self) -> None:
        """put_in_cloudwatch() for who does something else: nothing is raised, little is waited.

        Does nothing unless KB_DR_CLOUDWATCH is on. The repository is looked at here and now.
        """
        if not self.settings.cloudwatch.on:
            return
        self._noted("how old backups are", lambda: self.put_in_cloudwatch(patient=False))

    @contextmanager
    def backup_told(self, kind: BackupKind, promised: BackupId | None) -> Iterator[Ended]:
        """What the block comes to, a backup or an error, is put into CloudWatch, when that is on.

        The block fills in ``stored``; its error goes on as it was.
        """
        if not self.settings.cloudwatch.on:
            yield Ended()
            return

        from kb_dr.domain.cloudwatch_alarms import BACKUP_LOG
        from kb_dr.domain.cloudwatch_metrics import success_points

        ended = Ended()
        try:
            yield ended
        except BaseException as error:
            event = {"kind": str(kind), "backup_id": None if promised is None else str(promised)}
            self._tell_failure("backup", BACKUP_LOG, event, error, kind)
            raise
        if ended.stored is not None:
            manifest = ended.stored.manifest
            self._tell(
                "backup",
                BACKUP_LOG,
                {
                    "backup_id": manifest.id,
                    "kind": str(manifest.kind),
                    "digest": ended.stored.digest,
                    "started": _iso(manifest.started),
                    "finished": _iso(manifest.finished),
                    "seconds": (manifest.finished - manifest.started).total_seconds(),
                    "plain_bytes": manifest.plain_bytes,
                    "stored_bytes": manifest.stored_bytes,
                },
                success_points(manifest),
            )

    @contextmanager
    def restore_told(self, plan: RestorePlan, *, in_place: bool) -> Iterator[Ended]:
        """The same of a restore; the block fills in ``restored`` by restored_event()."""
        if not self.settings.cloudwatch.on:
            yield Ended()
            return

        from kb_dr.domain.cloudwatch_alarms import RESTORE_LOG

        recovery = plan.recovery
        event = {
            "backup_id": recovery.stored.manifest.id,
            "copy": recovery.copy,
            "asked": str(recovery.target),
            "into": str(plan.target),
            "in_place": in_place,
        }
        ended = Ended()
        try:
            yield ended
        except BaseException as error:
            self._tell_failure("restore", RESTORE_LOG, event, error)
            raise
        if ended.restored is not None:
            self._tell("restore", RESTORE_LOG, {**event, **ended.restored})

    def _tell_failure(
        self,
        what: str,
        group: str,
        event: Mapping[str, Any],
        error: BaseException,
        kind: BackupKind | None = None,
    ) -> None:
        from kb_dr.domain.cloudwatch_metrics import failure_points

        known = error if isinstance(error, KbDrError) else None
        self._tell(
            what,
            group,
            {
                **event,
                "error": type(error).__name__,
                "exit_code": known.exit_code if known else 1,
                # Only our own messages are known to hold no secret.
                "message": str(known) if known else type(error).__name__,
                "hint": known.hint if known else "",
            },
            () if kind is None else failure_points(kind, self.clock.now()),
            outcome="failed",
        )

    def _tell(
        self,
        what: str,
        group: str,
        event: Mapping[str, Any],
        points: Sequence[Datapoint] = (),
        *,
        outcome: str = "succeeded",
    ) -> None:
        if not self.settings.cloudwatch.on:
            return
        at = self.clock.now()
        whole = {
            "event": what,
            "outcome": outcome,
            "at": _iso(at),
            "service": self.scope.service,
            "org": self.scope.org,
            "host": socket.gethostname(),
            **event,
        }
        stream = f"{self.scope.org}/{self.scope.service}"

        def put() -> None:
            cloudwatch = self._cloudwatch(patient=False)
            if points:
                cloudwatch.put(self.scope, points)
            cloudwatch.tell(group, stream, at, whole)

        self._noted(f"that a {what} {outcome}", put)

    def _noted(self, what: str, put: Callable[[], object]) -> None:
        """In a thread of its own: a name that does not resolve has no deadline otherwise."""
        thread = Thread(target=partial(_try, what, put), name="cloudwatch", daemon=True)
        thread.start()
        thread.join(NOTE_SECONDS)
        if thread.is_alive():
            logger.warning("CloudWatch is not told %s: not within %g s", what, NOTE_SECONDS)

    def _cloudwatch(self, *, patient: bool) -> CloudWatch:
        return wiring.cloudwatch(self.settings, patient=patient)


def restored_event(reach: Reach, started: datetime, finished: datetime) -> Mapping[str, Any]:
    """What is told of a restore that is done."""
    commit = reach.newest_commit
    return {
        "started": _iso(started),
        "finished": _iso(finished),
        "seconds": (finished - started).total_seconds(),
        "reached_lsn": None if reach.reached_lsn is None else str(reach.reached_lsn),
        "reached_timeline": reach.reached_timeline,
        "newest_commit": None if commit is None else _iso(commit),
    }


def _try(what: str, put: Callable[[], object]) -> None:
    try:
        put()
    except KbDrError as error:
        logger.warning("CloudWatch is not told %s: %s", what, error)


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds")
