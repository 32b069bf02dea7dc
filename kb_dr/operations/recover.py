"""Replay WAL on restored files until the end the plan expects, and open the cluster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.proof import Reach
from kb_dr.domain.recovery import RecoveryPlan, Replay, ServerConfiguration, WorkArea
from kb_dr.domain.scratch_configuration import recovery_settings, scratch_settings
from kb_dr.errors import RecoveryError, TargetNotReached, WrongCluster
from kb_dr.operations.phases import Phases
from kb_dr.operations.serve_wal import WalServer, serving_wal
from kb_dr.ports import Codec, PostgresHost, Progress, Repository, RestoredServer

DEADLINE_SECONDS = 24 * 3600.0
"""Nothing waits for ever; a recovery that takes longer broke every objective long before."""

AtRestorePoint = Callable[[RestoredServer, Replay], None]


@dataclass(frozen=True, slots=True)
class Recovered:
    """A cluster that was opened after recovery."""

    server: RestoredServer
    reach: Reach
    """Compare it: the cluster may have been opened short of the end the plan expects."""


@contextmanager
def recovered(
    plan: RecoveryPlan,
    repository: Repository,
    codec: Codec,
    host: PostgresHost,
    area: WorkArea,
    phases: Phases,
    *,
    at_restore_point: AtRestorePoint | None = None,
    durable: bool = False,
    progress: Progress | None = None,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> Iterator[Recovered]:
    """Recover the files in ``area.data``; the server is gone when the block is left.

    With ``at_restore_point`` replay first pauses at the backup's restore point, and goes on when
    that returns. ``progress``, begun by the caller, is told how far the last replay has come.
    Raises what kept WAL from being served (WalDamaged, WalGap, RepositoryUnavailable, KeyMissing
    ...), RecoveryAborted, TargetNotReached, NotEnoughSpace, or WrongCluster when the files are
    not those of the plan's cluster.
    """
    source = plan.stored.manifest.source
    check_files(plan, host, area)
    newest: datetime | None = None
    if at_restore_point is not None:
        point = plan.stored.manifest.fingerprint
        configuration = _configuration(plan, pause_at=point.restore_point, durable=durable)
        with (
            serving_wal(plan, repository, codec, area.spool) as wal,
            host.start(area, configuration(wal), source) as server,
        ):
            with phases.measured("replay to the restore point") as measured:
                replay = _told(wal, lambda: server.wait_for_pause(deadline_seconds))
                measured.size_bytes = _replayed(plan, replay)
            if replay.lsn is None or replay.lsn < point.lsn:
                raise TargetNotReached(
                    f"recover {plan.stored.manifest.id}: paused at {replay.lsn}, expected "
                    f"{point.lsn}, the restore point {point.restore_point}"
                )
            newest = replay.newest_commit
            with phases.measured("checks at the restore point", source.size_bytes):
                at_restore_point(server, replay)
            server.stop()
    with serving_wal(plan, repository, codec, area.spool, progress) as wal:
        configuration = _configuration(plan, pause_at=None, durable=durable)
        with host.start(area, configuration(wal), source) as server:
            with phases.measured("replay") as measured:
                replay = _told(wal, lambda: server.wait_for_promotion(deadline_seconds))
                if wal.failure is not None:
                    raise wal.failure  # it was opened all the same: never believe that
                replayed = _replayed(plan, replay)
                if replayed is not None and at_restore_point is not None:
                    replayed -= point.lsn - plan.stored.manifest.wal.start
                measured.size_bytes = replayed
                wal.all_replayed()
            commits = [each for each in (newest, replay.newest_commit) if each is not None]
            final = Replay(
                lsn=replay.lsn,
                timeline=replay.timeline,
                paused=False,
                in_recovery=False,
                newest_commit=max(commits, default=None),
            )
            yield Recovered(server, plan.reach(final))


def _replayed(plan: RecoveryPlan, replay: Replay) -> int | None:
    """Bytes of WAL from the start of the backup to where replay stands; None when not known.

    Not what was served: that runs ahead of replay, and would make it look faster than it is.
    """
    return None if replay.lsn is None else max(0, replay.lsn - plan.stored.manifest.wal.start)


def check_files(plan: RecoveryPlan, host: PostgresHost, area: WorkArea) -> None:
    """Hold what was unpacked against the plan before a server touches it."""
    control = host.control(area.data, plan.stored.manifest.source)
    if control.system_identifier != plan.system_identifier:
        raise WrongCluster(
            f"recover {plan.stored.manifest.id}: the files are of cluster "
            f"{control.system_identifier}, expected {plan.system_identifier}"
        )


def require_complete(plan: RecoveryPlan, reach: Reach) -> None:
    """Raise TargetNotReached unless recovery came to the end the plan expects."""
    if not reach.complete:
        raise TargetNotReached(
            f"recover {plan.stored.manifest.id}: replay stopped at {reach.reached_lsn} on timeline "
            f"{reach.reached_timeline}, expected {reach.expected_lsn} on timeline "
            f"{reach.expected_timeline}",
            hint="`kb-dr wal audit` names what is wrong; restore from another copy.",
        )


def require_clean_shutdown(plan: RecoveryPlan, host: PostgresHost, area: WorkArea) -> None:
    """Raise RecoveryError unless the stopped cluster may be started by anybody."""
    state = host.control(area.data, plan.stored.manifest.source).state
    if state != "shut down":
        raise RecoveryError(
            f"recover {plan.stored.manifest.id}: pg_control says {state!r}, expected 'shut down'"
        )


def _configuration(
    plan: RecoveryPlan, *, pause_at: str | None, durable: bool
) -> Callable[[WalServer], ServerConfiguration]:
    def configured(wal: WalServer) -> ServerConfiguration:
        settings = {
            **scratch_settings(plan.stored.manifest.source, durable=durable),
            **recovery_settings(plan, wal.restore_command, pause_at=pause_at),
        }
        return ServerConfiguration(settings, recover=True)

    return configured


def _told(wal: WalServer, wait: Callable[[], Replay]) -> Replay:
    """Wait; when recovery breaks off because WAL could not be served, raise that instead."""
    try:
        return wait()
    except RecoveryError as error:
        if wal.failure is not None:
            raise wal.failure from error
        raise
