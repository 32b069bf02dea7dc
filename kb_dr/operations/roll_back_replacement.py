"""Bring the old service back after a replacement that failed, was cancelled, or was killed."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kb_dr.domain.replacement import Replacement, ServerState
from kb_dr.domain.service_commands import Command
from kb_dr.errors import (
    KbDrError,
    PostgresError,
    RecoveryError,
    RollbackFailed,
    ServiceCommandFailed,
    ServiceUnhealthy,
)
from kb_dr.ports import Clock, ServiceControl, ServiceDatabase, StandingClusters

logger = logging.getLogger("kb_dr.replace")

_DOWN = (ServerState.STOPPED, ServerState.STALE)
"""No process is seen: enough to start it, never enough to take its directory away."""
_LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Action:
    """One step back, and how a person does it by hand."""

    by_hand: str
    do: Callable[[], None]


class Rollback:
    """Undoes one replacement, by what stands on disk; done twice it does nothing more."""

    def __init__(
        self,
        clusters: StandingClusters,
        control: ServiceControl,
        database: ServiceDatabase,
        clock: Clock,
    ) -> None:
        self._clusters = clusters
        self._control = control
        self._database = database
        self._clock = clock

    def run(self, state: Replacement) -> tuple[str, ...]:
        """Undo it; what was done, in order.

        The server and the application are started again only if a server ran before. Raises
        RollbackFailed, which says where each directory is and what remains to be done.
        """
        self._require_old_directory(state)
        actions = list(self._actions(state))
        for number, action in enumerate(actions):
            logger.warning("roll back %s: %s", state.places.target, action.by_hand)
            try:
                action.do()
            except KbDrError as error:
                remains = "; ".join(
                    f"{place}. {each.by_hand}" for place, each in enumerate(actions[number:], 1)
                )
                raise RollbackFailed(
                    f"roll back the replacement of {state.places.target}: {error}",
                    hint=f"{self._where(state)}. Remains, in this order: {remains}. Or mend it, "
                    "and run the same command again: it goes on with the rollback first.",
                ) from error
        done = tuple(each.by_hand for each in actions)
        if state.stopped_application and not state.was_running:
            return (*done, "the application is left stopped: no server ran before")
        return done

    def _actions(self, state: Replacement) -> Iterator[_Action]:
        places, clusters = state.places, self._clusters
        if clusters.inode(places.target) != state.inode:
            if clusters.stands(places.target):
                if state.started_application:
                    yield _Action(self._said(Command.APP_STOP), self._stop_application)
                if self._control.commands.drives_server:
                    yield _Action(self._said(Command.POSTGRES_STOP), lambda: self._stop(state))
                yield self._move(places.target, places.failed)
            yield _Action(f"mv {places.aside} {places.target}", lambda: self._put_back(state))
        if clusters.stands(places.restored):
            yield self._move(places.restored, places.failed)
        if not state.was_running:
            return
        if state.stopped_server:
            yield _Action(self._said(Command.POSTGRES_START), lambda: self._start(state))
        if state.stopped_application:
            yield _Action(self._said(Command.APP_START), self._start_application)
        if (state.stopped_server or state.stopped_application) and (
            self._control.commands.checks_health
        ):
            yield _Action("check that the service is well", lambda: self._check(state))

    def _move(self, old: Path, new: Path) -> _Action:
        return _Action(f"mv {old} {new}", lambda: self._clusters.rename(old, new))

    def _put_back(self, state: Replacement) -> None:
        places = state.places
        self._clusters.rename(places.aside, places.target)
        if self._clusters.inode(places.target) != state.inode:
            raise RecoveryError(f"rename {places.aside}: it is not the old directory")

    def _require_old_directory(self, state: Replacement) -> None:
        """It stands under one of its two names: nothing else is ever started in its place."""
        places = state.places
        if state.inode and state.inode in map(self._clusters.inode, (places.target, places.aside)):
            return
        raise RollbackFailed(
            f"roll back the replacement of {places.target}: the old directory is neither there nor "
            f"at {places.aside}",
            hint=f"Nothing was done. Find it: find {places.target.parent} -inum {state.inode}; "
            f"rename it to {places.aside}, and run the same command again.",
        )

    def _said(self, command: Command) -> str:
        return self._control.commands.told(command)

    def _stop(self, state: Replacement) -> None:
        stop_server(
            self._clusters,
            self._control,
            self._database,
            self._clock,
            state.places.target,
            lenient=True,
        )

    def _stop_application(self) -> None:
        """It must not write into what is taken away; but nothing waits for that."""
        try:
            self._control.run(Command.APP_STOP)
        except ServiceCommandFailed as error:
            logger.warning("the application may still run: %s", error)

    def _start(self, state: Replacement) -> None:
        """Start the old server unless it runs, and wait until it answers as it did before.

        A stop that was broken off may still come to its end: then it is started after that.
        """
        target, seconds = state.places.target, self._control.commands.seconds
        deadline = self._clock.monotonic() + seconds
        started = False
        while True:
            running = self._clusters.server_of(target) not in _DOWN
            if not running and not started:
                self._control.run(Command.POSTGRES_START)
                started = True
                continue
            seen = ""
            if running and not state.answered:
                return
            try:
                self._database.look()
            except PostgresError as error:
                seen = str(error)
            if (running or started) and not seen:
                return
            if self._clock.monotonic() > deadline:
                raise ServiceUnhealthy(
                    f"start the old server: not there within {seconds:g} s"
                    f"{': ' + seen if seen else ''}"
                )
            self._clock.sleep(_LOOK_SECONDS)

    def _start_application(self) -> None:
        self._control.run(Command.APP_START)

    def _check(self, state: Replacement) -> None:
        try:
            self._control.check_health(patient=True)
        except ServiceUnhealthy as error:
            if state.was_healthy:
                raise
            logger.warning("the service is not well, as it was not before: %s", error)

    def _where(self, state: Replacement) -> str:
        places = state.places
        aside = self._clusters.inode(places.target) != state.inode
        told = [f"the old directory is {places.aside if aside else places.target}"]
        if aside and self._clusters.stands(places.target):
            told.append(f"the restored one {places.target}")
        told += [
            f"the restored one {each}"
            for each in (places.restored, places.failed)
            if self._clusters.stands(each)
        ]
        return "Now " + ", ".join(told)


def stop_server(
    clusters: StandingClusters,
    control: ServiceControl,
    database: ServiceDatabase,
    clock: Clock,
    target: Path,
    *,
    lenient: bool,
) -> ServerState:
    """Run the stop command, and wait until nothing runs on the directory, and nothing answers.

    STOPPED; or STALE when its process was seen before and is gone, killed. One that was never
    seen must have removed its postmaster.pid. When ``lenient`` a command that fails is passed over
    when nothing runs there afterwards: it had nothing to stop. Raises ServiceCommandFailed.
    """
    was_seen = clusters.server_of(target) is ServerState.RUNNING
    ended_as = ServerState.STALE if was_seen else ServerState.STOPPED
    try:
        control.run(Command.POSTGRES_STOP)
    except ServiceCommandFailed as error:
        if not lenient or still_there(clusters, database, target, ended_as) is not None:
            raise
        logger.warning("nothing was there to stop: %s", error)
    seconds = control.commands.seconds
    deadline = clock.monotonic() + seconds
    while (seen := still_there(clusters, database, target, ended_as)) is not None:
        if clock.monotonic() > deadline:
            raise ServiceCommandFailed(
                f"run {Command.POSTGRES_STOP}: it ended well, but the server of {target} {seen} "
                f"after {seconds:g} s",
                hint="The command must stop the server of this very directory, and wait for it. "
                f"If you are sure that it died, remove {target / 'postmaster.pid'}.",
            )
        clock.sleep(_LOOK_SECONDS)
    return clusters.server_of(target)


def still_there(
    clusters: StandingClusters,
    database: ServiceDatabase,
    target: Path,
    ended_as: ServerState = ServerState.STOPPED,
) -> str | None:
    """How the server shows that it is not stopped; None when nothing does.

    ``ended_as`` STALE: its process was seen to end, so a postmaster.pid says nothing.
    """
    state = clusters.server_of(target)
    if state not in (ServerState.STOPPED, ended_as):
        return f"is still {state}"
    return "still answers" if database.answers() else None
