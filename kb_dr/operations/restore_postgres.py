"""Restore a cluster into a new directory: recovered, opened once, stopped, and compared."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kb_dr.domain.forecast import Forecast
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.proof import Phase, Reach
from kb_dr.domain.recovery import RecoveryPlan, WorkArea
from kb_dr.errors import UnreadableRecord
from kb_dr.operations.check_target import check_space, check_target
from kb_dr.operations.lay_configuration import lay_configuration
from kb_dr.operations.phases import Phases
from kb_dr.operations.plan_target import Planned
from kb_dr.operations.recover import recovered, require_clean_shutdown, require_complete
from kb_dr.operations.restore_files import restore_files
from kb_dr.ports import Clock, Codec, PostgresHost, Progress, Repository, ScratchSpace

CONFIGURATION = "source_configuration"
"""Below the data directory: configuration files that stood outside it at the source."""


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """Everything a restore is going to do; nothing has been changed yet."""

    recovery: RecoveryPlan
    target: Path
    free_bytes: int
    production: Path | None
    passed_over: tuple[str, ...] = ()
    """Newer backups that were not chosen, and why."""
    forecast: Forecast | None = None
    """How long it is going to take, from how long it took; None when nobody worked it out."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A cluster that stands, stopped, in its directory."""

    plan: RestorePlan
    reach: Reach
    phases: tuple[Phase, ...]
    started: datetime
    finished: datetime

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What an operator does now."""
        manifest, target = self.plan.recovery.stored.manifest, self.plan.target
        steps = []
        if self.plan.recovery.configuration is not None:
            steps.append(
                f"put back the configuration files from {target / CONFIGURATION}, then remove it"
            )
        return (
            *steps,
            f"give {target} to the user PostgreSQL runs as (chown -R)",
            f"start PostgreSQL {manifest.source.major}: pg_ctl -D {target} start",
            "look at the data, but let nobody write yet: none of it would be archived; make sure "
            "that the cluster it replaces never starts again: both would archive under one system "
            "identifier",
            "take it into service: ALTER SYSTEM RESET archive_mode, restart; if it lies elsewhere "
            "now, correct KB_DB_HOST, KB_DB_PORT and KB_DR_SOURCE_DATA_DIRECTORY; kb-dr backup "
            "full, kb-dr copy, kb-dr verify latest",
        )


def plan_restore(
    planned: Planned, host: PostgresHost, target: Path, *, production: Path | None = None
) -> RestorePlan:
    """Work out where a recovery is put, and refuse what must not be done.

    ``production`` is the data directory of the protected cluster when it is on this machine.
    Raises what check_target(), PostgresHost.check() and check_space() raise.
    """
    target = target.absolute()
    recovery = planned.recovery
    source = recovery.stored.manifest.source
    check_target(target, system_identifier=source.system_identifier, production=production)
    host.check(source, combines=recovery.combines)
    free = check_space(target, recovery.bytes_needed, host)
    return RestorePlan(recovery, target, free, production, planned.passed_over)


def restore_postgres(
    plan: RestorePlan,
    repository: Repository,
    codec: Codec,
    host: PostgresHost,
    scratch: ScratchSpace,
    clock: Clock,
    progress: Progress,
) -> Restored:
    """Carry out a plan. The target appears in one rename, as the very last step.

    A restore that fails or is killed leaves the target as it was; what a killed one left beside
    it is removed by the next. Raises what restore_files() and recovered() raise, TargetNotReached
    when the cluster was opened short of the plan's end.
    """
    started = clock.now()
    recovery = plan.recovery
    manifest = recovery.stored.manifest
    phases = Phases(clock)
    check_target(
        plan.target, system_identifier=recovery.system_identifier, production=plan.production
    )
    with (
        restored_beside(plan, repository, codec, host, scratch, phases, progress) as (area, reach),
        phases.measured("put in place"),
    ):
        host.settle(area, service_lines(manifest))
        _unpack_configuration(repository, codec, recovery, area)
        scratch.put_in_place(area, plan.target)
    return Restored(plan, reach, phases.done, started, clock.now())


@contextmanager
def restored_beside(
    plan: RestorePlan,
    repository: Repository,
    codec: Codec,
    host: PostgresHost,
    scratch: ScratchSpace,
    phases: Phases,
    progress: Progress,
) -> Iterator[tuple[WorkArea, Reach]]:
    """The cluster beside its target: verified, recovered to the end of the plan, and shut down.

    It is removed when the block is left, unless it was put in place. Raises as
    restore_postgres() does.
    """
    recovery = plan.recovery
    with scratch.beside(plan.target) as area:
        restore_files(repository, codec, host, recovery.fetched, area, phases, progress)
        segment_bytes = recovery.stored.manifest.source.segment_bytes
        progress.begin("replay", len(recovery.segments) * segment_bytes)
        try:
            with recovered(
                recovery, repository, codec, host, area, phases, durable=True, progress=progress
            ) as opened:
                require_complete(recovery, opened.reach)
                with phases.measured("shut down"):
                    opened.server.stop()
                reach = opened.reach
        finally:
            progress.end()
        require_clean_shutdown(recovery, host, area)
        yield area, reach


def service_lines(manifest: Manifest) -> tuple[str, ...]:
    """What ends the ``postgresql.auto.conf`` of a restored cluster."""
    return (
        f"# Restored by kb-dr from {manifest.id}. It does not archive, so that it cannot write",
        "# into the repository of the cluster it came from. To take it into service:",
        "# ALTER SYSTEM RESET archive_mode, restart, and take a full backup.",
        "archive_mode = 'off'",
    )


def _unpack_configuration(
    repository: Repository, codec: Codec, recovery: RecoveryPlan, area: WorkArea
) -> None:
    """Lay the configuration files from outside the data directory where an operator finds them."""
    configuration = recovery.configuration
    if configuration is None:
        return
    body = codec.decode(repository.get(configuration))
    try:
        lay_configuration(body, area.data / CONFIGURATION)
    except tarfile.TarError as error:
        raise UnreadableRecord(f"read {configuration.key}: {error}") from error
