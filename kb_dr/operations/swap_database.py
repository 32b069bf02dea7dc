"""Let a loaded database take the place of the service's own, or bring the old one back.

Names change in one transaction: a kill at any moment leaves the old database or the new one under
the name. The old one is renamed, never removed; and until the service is well again every failure
brings it back.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kb_dr.domain.database_mark import DatabaseMark
from kb_dr.domain.dump_target import ServerLook
from kb_dr.domain.load_plan import LoadPlan
from kb_dr.domain.proof import Phase
from kb_dr.domain.service_commands import Command
from kb_dr.errors import (
    KbDrError,
    PostgresError,
    RecoveryError,
    RollbackFailed,
    ServiceCommandFailed,
    ServiceUnhealthy,
)
from kb_dr.operations.phases import Phases
from kb_dr.operations.plan_load import free_stamp, kept_name, quoted
from kb_dr.ports import Clock, DatabaseServer, ServiceControl

logger = logging.getLogger("kb_dr.load")


def swap_in(
    plan: LoadPlan,
    server: DatabaseServer,
    control: ServiceControl,
    phases: Phases,
    *,
    dropped: Callable[[], str],
    notes: list[str],
) -> int:
    """Stop the application, swap, start and check it; how many sessions were ended.

    The application is that of the database under protection: where another one is replaced, it is
    left alone, and so is what it says of itself.

    To be called inside uninterrupted(). Whatever fails, KeyboardInterrupt included: the old
    database has its name again, and the application is started; the hint says so. ``dropped``
    drops the new database, where it never took the name. Raises what failed, ServiceUnhealthy
    and ServiceCommandFailed among it, and RollbackFailed when the old state could not be had back.
    """
    if plan.replaces is None or plan.kept is None:
        raise RecoveryError(f"swap {plan.made}: no database to swap it for was planned")
    swapped = stopped = False
    try:
        if plan.production:
            with phases.measured("stop the application"):
                stopped = control.commands.app_stop is not None
                control.run(Command.APP_STOP)
        with phases.measured("swap the names"):
            ended = server.swap(new=plan.made, name=plan.replaces, kept=plan.kept)
            swapped = True
        if plan.production:
            _bring_up(control, phases)
    except BaseException as error:
        control.defer_interrupts()
        said = _undo(plan, server, control, error, swapped=swapped, stopped=stopped)
        if not swapped and not _has_name(server, plan):
            said = f"{said} {dropped()}"
        if isinstance(error, KbDrError):
            error.hint = f"{said} {error.hint}"
        else:
            logger.warning("%s", said)
        raise
    control.defer_interrupts()
    if not plan.production:
        notes.append("the application was not stopped or asked: the database is not its own")
    elif not control.commands.checks_health:
        notes.append(f"whether the service is well was not asked: {Command.HEALTH} is not set")
    return ended


@dataclass(frozen=True, slots=True)
class RollBackPlan:
    """A database that took another's place, and the one that is to have it again."""

    name: str
    restored_from: str
    kept: str
    undone: str
    """What the restored one is called then."""
    server: str
    production: bool
    service: str


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The old database under its name again."""

    plan: RollBackPlan
    sessions_ended: int
    phases: tuple[Phase, ...]


def plan_roll_back(
    name: str,
    marks: dict[str, DatabaseMark],
    look: ServerLook,
    *,
    server: str,
    stamp: str,
    production: bool,
    service: str,
) -> RollBackPlan:
    """What is swapped back. Raises RecoveryError when nothing can be."""
    mark = marks.get(name)
    if mark is None or mark.kept is None:
        raise RecoveryError(
            f"roll back database {name} on {server}: kb-dr did not put it in another's place",
            hint="Nothing was changed. `psql --list` shows what databases are called.",
        )
    if mark.kept not in look.databases:
        raise RecoveryError(
            f"roll back database {name} on {server}: {mark.kept}, which it replaced, is not there",
            hint="Nothing was changed. It was dropped or renamed; restore an older dump instead.",
        )
    undone = kept_name(name, "undone", free_stamp(name, look, stamp))
    return RollBackPlan(name, mark.restored_from, mark.kept, undone, server, production, service)


def roll_back(
    plan: RollBackPlan, server: DatabaseServer, control: ServiceControl, clock: Clock
) -> RolledBack:
    """Stop the application, swap the names back, start and check it; as swap_in()."""
    phases = Phases(clock)
    with control.uninterrupted():
        if plan.production:
            with phases.measured("stop the application"):
                control.run(Command.APP_STOP)
        try:
            with phases.measured("swap the names back"):
                ended = server.swap(new=plan.kept, name=plan.name, kept=plan.undone)
        except BaseException:
            control.defer_interrupts()
            if plan.production:
                _start(control)
            raise
        control.defer_interrupts()
        try:
            if plan.production:
                _bring_up(control, phases)
        except KbDrError as error:
            error.hint = f"Database {plan.name} is the old one again. {error.hint}"
            raise
    return RolledBack(plan, ended, phases.done)


def next_steps(plan: LoadPlan) -> Iterator[str]:
    """What an operator does now, with a database beside or in its place."""
    if plan.replaces is None:
        yield f"look at it: psql '{plan.url}'"
        yield "copy over what is needed: pg_dump --table … | psql; or point the application at it"
        yield f"when it is not needed any more: DROP DATABASE {quoted(plan.made)}"
        return
    yield "look at the data; a new backup of it: kb-dr backup full, kb-dr backup dump"
    yield (
        f"to go back to the old state: kb-dr restore --roll-back --into '{plan.url}'"
        + (f" --force-production --confirm-service {plan.service}" if plan.production else "")
        + " --yes"
    )
    yield (
        f"the old database is kept as {plan.kept}; kb-dr never drops it. When you are sure: "
        f"DROP DATABASE {quoted(plan.kept or '')}"
    )


def _bring_up(control: ServiceControl, phases: Phases) -> None:
    if control.commands.migrations_check is not None:
        with phases.measured("check migrations"):
            control.run(Command.MIGRATIONS_CHECK)
    if control.commands.app_start is not None:
        with phases.measured("start the application"):
            control.run(Command.APP_START)
    if control.commands.checks_health:
        with phases.measured("check the service"):
            control.check_health(patient=True)


def _undo(
    plan: LoadPlan,
    server: DatabaseServer,
    control: ServiceControl,
    error: BaseException,
    *,
    swapped: bool,
    stopped: bool,
) -> str:
    """Back to how it was; what to say of it. Raises RollbackFailed."""
    name, kept = plan.replaces or "", plan.kept or ""
    failed = kept_name(name, "failed", plan.stamp)
    done = []
    try:
        # An answer may have been lost on the way: the names say whether it came to the swap.
        if swapped or _has_name(server, plan):
            if stopped:
                _stop(control)
            server.swap(new=kept, name=name, kept=failed)
            done.append(
                f"database {name} is the old one again; the restored one is kept as {failed}"
            )
        else:
            done.append(f"database {name} was not changed")
    except KbDrError as undone:
        raise RollbackFailed(
            f"bring database {name} back: {undone}; the replacement itself had ended with: "
            f"{str(error) or 'a signal to stop'}",
            hint=f"The old database is {kept}, if there is one of that name, else {name}. By hand: "
            f"ALTER DATABASE {quoted(name)} RENAME TO {quoted(failed)}; ALTER DATABASE "
            f"{quoted(kept)} RENAME TO {quoted(name)}; then start the application.",
        ) from error
    if stopped:
        done.append(_start(control))
    return f"{'; '.join(done)}."


def _has_name(server: DatabaseServer, plan: LoadPlan) -> bool:
    """Whether the new database took the name already."""
    return plan.kept in server.look().databases


def _stop(control: ServiceControl) -> None:
    try:
        control.run(Command.APP_STOP)
    except ServiceCommandFailed as error:
        # Its sessions are ended anyway.
        logger.warning("%s", error)


def _start(control: ServiceControl) -> str:
    try:
        control.run(Command.APP_START)
        control.check_health(patient=True)
    except (ServiceCommandFailed, ServiceUnhealthy) as error:
        return f"the application was started, and is not well: {error}"
    except PostgresError as error:
        return f"the application is not well: {error}"
    return "the application runs again"
