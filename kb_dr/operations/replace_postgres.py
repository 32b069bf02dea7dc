"""Replace the cluster of a running service by a restored one, or leave it as it was.

The order is the safety: the old directory is not touched before the restored one stands beside
it, verified, recovered and complete; it is then renamed, never removed; and until the service is
well again every failure, and every signal to stop, brings it back.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from kb_dr.domain.proof import Phase, Reach
from kb_dr.domain.recovery import ControlFile
from kb_dr.domain.replacement import DONE, UNDOING, Replacement, ServerState
from kb_dr.domain.service_commands import Command
from kb_dr.errors import (
    DataDirectoryInUse,
    KbDrError,
    PostgresUnavailable,
    RecoveryError,
    RollbackFailed,
    ServiceUnhealthy,
)
from kb_dr.operations.check_service import check_schema, wait_for_server
from kb_dr.operations.phases import Phases
from kb_dr.operations.plan_replacement import ReplacePlan
from kb_dr.operations.restore_postgres import restored_beside, service_lines
from kb_dr.operations.roll_back_replacement import Rollback, still_there, stop_server
from kb_dr.ports import (
    Clock,
    Codec,
    PostgresHost,
    Progress,
    ReplaceJournal,
    Repository,
    ScratchSpace,
    ServiceControl,
    ServiceDatabase,
    StandingClusters,
)

logger = logging.getLogger("kb_dr.replace")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a replacement works with."""

    repository: Repository
    codec: Codec
    host: PostgresHost
    scratch: ScratchSpace
    clusters: StandingClusters
    control: ServiceControl
    database: ServiceDatabase
    clock: Clock


@dataclass(frozen=True, slots=True)
class Replaced:
    """A service that runs on the restored cluster."""

    plan: ReplacePlan
    reach: Reach
    phases: tuple[Phase, ...]
    notes: tuple[str, ...]
    started: datetime
    finished: datetime

    @property
    def next_steps(self) -> tuple[str, ...]:
        """What an operator does now."""
        return tuple(_next_steps(self.plan))


def replace_postgres(plan: ReplacePlan, here: Surroundings, progress: Progress) -> Replaced:
    """Carry out a plan: stop, restore beside, swap, start, check.

    Whatever goes wrong, KeyboardInterrupt included, the old service is brought back first, and
    the error raised then says so in its hint. Raises what restored_beside() raises,
    ServiceCommandFailed, ServiceUnhealthy, and RollbackFailed when bringing it back failed.
    """
    started = here.clock.now()
    with here.control.uninterrupted():
        journal = here.clusters.open_journal(plan.places)
        work = _Replacing(plan, here, journal, progress)
        try:
            reach = work.run()
            here.control.defer_interrupts()
            journal.write(replace(work.state, step=DONE))
        except BaseException as error:
            here.control.defer_interrupts()
            done = _roll_back(work.state, here, journal, error)
            if isinstance(error, KbDrError):
                error.hint = f"{done} {error.hint}"
            else:
                logger.warning("%s", done)
            raise
        journal.close(done=True)
    return Replaced(plan, reach, work.phases.done, tuple(work.notes), started, here.clock.now())


def repair_replacement(target: Path, here: Surroundings) -> tuple[str, ...] | None:
    """Bring back the old service that a killed replacement of ``target`` left half replaced.

    What was done, in order; None when there was nothing to repair. Raises RollbackFailed, and
    RecoveryError while a replacement is at work.
    """
    target = target.absolute()
    found = here.clusters.resume_journal(target)
    if found is None:
        return None
    journal, state = found
    if state.is_done:
        journal.close(done=True)
        return None
    with here.control.uninterrupted():
        here.control.defer_interrupts()
        logger.warning("replace %s: it was cut off at: %s", target, state.step)
        done = _undo(state, here, journal)
        with here.scratch.beside(target):
            pass  # what the killed restore left beside it is removed
    return done


def _roll_back(
    state: Replacement, here: Surroundings, journal: ReplaceJournal, error: BaseException
) -> str:
    logger.warning("replace %s failed at: %s: %s", state.places.target, state.step, error)
    try:
        done = _undo(state, here, journal)
    except RollbackFailed as failed:
        raise RollbackFailed(
            f"{failed}; the replacement itself had ended with: {str(error) or 'a signal to stop'}",
            hint=failed.hint,
        ) from error
    if not done:
        return f"It failed at: {state.step}; nothing had been changed."
    return f"It failed at: {state.step}; the old service is back ({'; '.join(done)})."


def _undo(state: Replacement, here: Surroundings, journal: ReplaceJournal) -> tuple[str, ...]:
    undone = False
    try:
        journal.write(replace(state, step=UNDOING))
    except RecoveryError as error:
        # Bringing it back matters more than noting that it is being done.
        logger.warning("%s", error)
    try:
        done = Rollback(here.clusters, here.control, here.database, here.clock).run(state)
        undone = True
    finally:
        # Kept when it failed: the next run goes on with it.
        journal.close(done=undone)
    return done


class _Replacing:
    """One replacement on its way, and how far it has come."""

    def __init__(
        self, plan: ReplacePlan, here: Surroundings, journal: ReplaceJournal, progress: Progress
    ) -> None:
        self._plan = plan
        self._here = here
        self._journal = journal
        self._progress = progress
        self.phases = Phases(here.clock)
        self.notes: list[str] = list(plan.notes)
        self._ended_as = ServerState.STOPPED
        self.state = Replacement(
            plan.places,
            was_running=plan.was_running,
            answered=plan.answered,
            was_healthy=False,
            inode=here.clusters.inode(plan.places.target),
        )

    def run(self) -> Reach:
        """Every step in order; raises what fails."""
        control, commands = self._here.control, self._plan.commands
        with self._step("look at the old service"):
            self._look()
        if commands.app_stop is not None:
            with self._step("stop the application", stopped_application=True):
                control.run(Command.APP_STOP)
        if self._plan.ends_sessions:
            with self._step("end sessions"):
                self._end_sessions()
        if commands.drives_server:
            with self._step("stop the server", stopped_server=True):
                self._stop_server()
        reach, restored = self._restore()
        with self._step("swap the directories"):
            self._swap()
        if commands.drives_server:
            self._bring_up(restored)
        return reach

    @contextmanager
    def _step(self, name: str, **noted: Any) -> Iterator[None]:
        """Announce it, note it durably, measure it."""
        self.state = replace(self.state, step=name, **noted)
        self._journal.write(self.state)
        logger.info("replace %s: %s", self._plan.restore.target, name)
        with self.phases.measured(name):
            yield

    def _look(self) -> None:
        """Whether the service is well now: it need not be more so after a rollback."""
        self._refuse_another_state()
        if not self._plan.was_running:
            return
        try:
            healthy = self._here.control.check_health(patient=False)
        except ServiceUnhealthy as error:
            self.notes.append(f"before anything was done: {error}")
            return
        self.state = replace(self.state, was_healthy=healthy)

    def _refuse_another_state(self) -> None:
        """What was planned for must still stand."""
        target, commands = self._plan.restore.target, self._plan.commands
        seen = self._here.clusters.look_at(target)
        if not seen.is_stopped and not commands.drives_server:
            raise DataDirectoryInUse(
                f"replace {target}: its server is {seen.server}", hint="Stop it, then plan again."
            )

    def _end_sessions(self) -> None:
        try:
            count = self._here.database.end_sessions()
        except PostgresUnavailable as error:
            self.notes.append(f"no sessions were ended: {error}")
            return
        logger.info("replace %s: %d sessions ended", self._plan.restore.target, count)

    def _stop_server(self) -> None:
        here = self._here
        self._ended_as = stop_server(
            here.clusters,
            here.control,
            here.database,
            here.clock,
            self._plan.restore.target,
            # Nothing may have been there to stop.
            lenient=not self._plan.was_running,
        )

    def _restore(self) -> tuple[Reach, ControlFile]:
        here, plan, places = self._here, self._plan.restore, self._plan.places
        manifest = plan.recovery.stored.manifest
        self.state = replace(self.state, step="restore beside")
        self._journal.write(self.state)
        logger.info("replace %s: restore beside", plan.target)
        with (
            restored_beside(
                plan,
                here.repository,
                here.codec,
                here.host,
                here.scratch,
                self.phases,
                self._progress,
            ) as (area, reach),
            self.phases.measured("put in place"),
        ):
            lines = service_lines(manifest)
            here.host.settle(area, lines)
            here.clusters.inherit(places.target, area.data, lines)
            control = here.host.control(area.data, manifest.source)
            here.scratch.put_in_place(area, places.restored, known_as=places.target)
        return reach, control

    def _swap(self) -> None:
        clusters, places = self._here.clusters, self._plan.places
        self._require_stopped(places.target)
        clusters.rename(places.target, places.aside)
        clusters.rename(places.restored, places.target)
        self._require_stopped(places.aside)

    def _require_stopped(self, directory: Path) -> None:
        here = self._here
        seen = still_there(here.clusters, here.database, directory, self._ended_as)
        if seen is not None:
            raise DataDirectoryInUse(
                f"replace {self._plan.restore.target}: its server {seen}, after it was stopped",
                hint="Something started it: let the stop command stop that, too.",
            )

    def _bring_up(self, restored: ControlFile) -> None:
        here, commands = self._here, self._plan.commands
        with self._step("start the server"):
            here.control.run(Command.POSTGRES_START)
        with self._step("check the server"):
            look = wait_for_server(
                here.database,
                here.host,
                here.clock,
                self._plan.restore,
                restored,
                seconds=commands.seconds,
            )
            self.notes += check_schema(look, self._plan.restore.recovery.stored.manifest)
        if commands.migrations_check is not None:
            with self._step("check migrations"):
                here.control.run(Command.MIGRATIONS_CHECK)
        if commands.app_start is not None:
            with self._step("start the application", started_application=True):
                here.control.run(Command.APP_START)
        if commands.checks_health:
            with self._step("check the service"):
                here.control.check_health(patient=True)


def _next_steps(plan: ReplacePlan) -> Iterator[str]:
    target, aside, commands = plan.restore.target, plan.places.aside, plan.commands

    def line(command: Command) -> str:
        return commands.told(command) if commands.line(command) else ""

    if not commands.drives_server:
        yield f"start PostgreSQL on {target}, look at the data, start the application"
    mode = plan.standing.archive_mode
    reset = f"SET archive_mode = '{mode}'" if mode else "RESET archive_mode"
    yield (
        f"nothing of what is written now is archived yet. Take it into service: ALTER SYSTEM "
        f"{reset}, restart PostgreSQL; kb-dr backup full, kb-dr copy, kb-dr verify latest"
    )
    stop = [line(each) for each in (Command.APP_STOP, Command.POSTGRES_STOP)]
    start = [line(each) for each in (Command.POSTGRES_START, Command.APP_START)]
    back = [
        *(filter(None, stop) if any(stop) else ("stop the service",)),
        f"mv {target} {target}.undone",
        f"mv {aside} {target}",
        *(filter(None, start) if any(start) else ("start the service",)),
    ]
    yield "to go back to the old state, by hand: " + "; ".join(back)
    yield (
        f"the old directory is kept as {aside}; kb-dr never removes it. Never start it under that "
        f"name. When you are sure: rm -r {aside}"
    )
