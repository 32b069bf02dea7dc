"""What brings a service back: plans, restores, replacements in place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.errors import (
    KbDrError,
    PostgresError,
    RecoveryError,
    RepositoryError,
    TimelineForked,
)
from kb_dr.installation.cloudwatch import CloudWatching

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kb_dr.domain.recoverable_window import RecoverableWindow
    from kb_dr.domain.replacement import Replacement
    from kb_dr.operations.plan_replacement import ReplacePlan
    from kb_dr.operations.plan_target import Planned, Wanted
    from kb_dr.operations.replace_postgres import Replaced, Surroundings
    from kb_dr.operations.restore_postgres import Restored, RestorePlan
    from kb_dr.ports import Progress, Repository

_MEASURED_BACKUPS = 128
"""Newest backups among whose proofs a forecast looks for measured restores."""


class Recovery(CloudWatching):
    """Plans and carries out restores; nothing is changed before a plan holds."""

    def plan_recovery(self, wanted: Wanted, copy: str | None) -> Planned:
        """The recovery that gives what is wanted, from one copy or the first that can give it.

        Raises what plan_target() raises; of several copies that cannot, the first one's error,
        which then says of each why.
        """
        from kb_dr.operations.plan_target import plan_target

        failures: list[tuple[str, KbDrError]] = []
        for name in self.copies if copy is None else (copy,):
            try:
                planned = plan_target(
                    self.checked(name), self.codec, self.clock, wanted, self.known_manifests
                )
            except (RepositoryError, RecoveryError, PostgresError) as error:
                if isinstance(error, TimelineForked) and wanted.timeline is None:
                    # Not ours to guess; and a copy that lags behind would, for want of the rest.
                    raise
                failures.append((name, error))
                continue
            return _with_reason(planned, copy, failures)
        first = failures[0][1]
        if len(failures) == 1:
            raise first
        others = "; ".join(f"{name}: {error}" for name, error in failures[1:])
        raise type(first)(f"{first}; {others}", hint=first.hint) from first

    def recovery_windows(self, copy: str | None = None) -> tuple[RecoverableWindow, ...]:
        """What one copy, or each that answers, can be recovered to.

        Raises what list_recovery_windows() raises when no copy answers.
        """
        from kb_dr.operations.recovery_windows import list_recovery_windows

        found: list[RecoverableWindow] = []
        failure: KbDrError | None = None
        asked = self.copies if copy is None else (copy,)
        failed = 0
        for name in asked:
            try:
                found += list_recovery_windows(self.checked(name), self.codec, self.known_manifests)
            except KbDrError as error:
                failure, failed = failure or error, failed + 1
        if failure is not None and failed == len(asked):
            raise failure
        return tuple(found)

    def plan_restore(self, wanted: Wanted, copy: str | None, target: Path) -> RestorePlan:
        """What restore() would do; refuses what it would refuse, and changes nothing."""
        from kb_dr.operations.restore_postgres import plan_restore

        plan = plan_restore(
            self.plan_recovery(wanted, copy),
            self.host,
            target,
            production=self.settings.source.data_directory,
        )
        return self._with_forecast(plan)

    def _with_forecast(self, plan: RestorePlan) -> RestorePlan:
        """How long it is going to take, by what was measured."""
        from kb_dr.domain.forecast import RestoreWork, forecast, measured_runs
        from kb_dr.operations.backup_proofs import gather_proofs_of
        from kb_dr.operations.catalog_part import CatalogPart

        recovery = plan.recovery
        # Of this copy alone: the other one may be what is down.
        repository, settings = self.repository(recovery.copy), self.settings
        newest = CatalogPart(
            repository,
            service=settings.service,
            org=settings.org,
            now=self.clock.now(),
            known=self.known_manifests,
        )
        newest.reach(_MEASURED_BACKUPS)
        proofs, _ = gather_proofs_of([repository], newest.names)
        manifest = recovery.stored.manifest
        work = RestoreWork.of(manifest, len(recovery.segments), recovery.fetched)
        measured = measured_runs(proof for each in proofs.values() for proof in each)
        return replace(plan, forecast=forecast(work, measured, copy=recovery.copy, checked=False))

    def restore(self, plan: RestorePlan, progress: Progress) -> Restored:
        """Carry out a plan: a promoted, stopped cluster in a new directory."""
        from kb_dr.installation.cloudwatch import restored_event
        from kb_dr.operations.restore_postgres import restore_postgres

        with (
            self.restore_told(plan, in_place=False) as told,
            self._patient(self.repository(plan.recovery.copy)) as repository,
        ):
            done = restore_postgres(
                plan, repository, self.codec, self.host, self.scratch, self.clock, progress
            )
            told.restored = restored_event(done.reach, done.started, done.finished)
        return done

    def plan_replacement(self, wanted: Wanted, copy: str | None, target: Path) -> ReplacePlan:
        """What replace() would do; refuses what it would refuse, and changes nothing."""
        from kb_dr.operations.plan_replacement import plan_replacement

        plan = plan_replacement(
            self.plan_recovery(wanted, copy),
            self.host,
            wiring.standing_clusters(),
            wiring.service_control(self.settings),
            wiring.service_database(self.settings),
            self.clock,
            target,
            service=self.settings.service,
            production=self.settings.source.data_directory,
        )
        return replace(plan, restore=self._with_forecast(plan.restore))

    def replace(self, plan: ReplacePlan, progress: Progress) -> Replaced:
        """Carry out a plan: the service runs on the restored cluster, or as it did before."""
        from kb_dr.installation.cloudwatch import restored_event
        from kb_dr.operations.replace_postgres import replace_postgres

        with (
            self.restore_told(plan.restore, in_place=True) as told,
            self._patient(self.repository(plan.restore.recovery.copy)) as repository,
        ):
            done = replace_postgres(plan, self.around(repository), progress)
            told.restored = restored_event(done.reach, done.started, done.finished)
        return done

    def unfinished_replacement(self, target: Path) -> Replacement | None:
        """The replacement of ``target`` that is at work or was killed, by its journal."""
        target = target.absolute()
        # Nothing stands beside the root of the file system.
        return wiring.standing_clusters().unfinished(target) if target.name else None

    def repair_replacement(self, target: Path) -> tuple[str, ...] | None:
        """Bring the old service back after a killed replacement; None when there was none."""
        from kb_dr.operations.replace_postgres import repair_replacement

        return repair_replacement(target, self.around(self.primary))

    def around(self, repository: Repository) -> Surroundings:
        """What a replacement from one copy works with."""
        from kb_dr.operations.replace_postgres import Surroundings

        return Surroundings(
            repository,
            self.codec,
            self.host,
            self.scratch,
            wiring.standing_clusters(),
            wiring.service_control(self.settings),
            wiring.service_database(self.settings),
            self.clock,
        )

    def reap(self) -> tuple[str, ...]:
        """Remove what killed restores left on this machine."""
        return self.scratch.reap()


def _with_reason(
    planned: Planned, asked: str | None, failures: Sequence[tuple[str, KbDrError]]
) -> Planned:
    """Say why this copy was read."""
    if asked is not None:
        why = f"read from {asked}: asked for"
    elif failures:
        name, error = failures[0]
        why = f"read from {planned.recovery.copy}: {name} cannot serve it: {error}"
    else:
        why = f"read from {planned.recovery.copy}: the nearest copy that holds it"
    recovery = replace(planned.recovery, notes=(why, *planned.recovery.notes))
    return replace(planned, recovery=recovery)
