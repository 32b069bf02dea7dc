"""A data directory that is replaced in place: what stands there, and where each part goes."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from kb_dr.domain.lsn import Lsn


class ServerState(StrEnum):
    """What can be told of the server of a data directory."""

    STOPPED = "stopped"
    STALE = "perhaps running: a postmaster.pid stands there, and no process is seen"
    """It died; or it runs where its process is not seen, as in another container."""
    RUNNING = "running"
    UNKNOWN = "perhaps running: a server of its user may not be looked at"


@dataclass(frozen=True, slots=True)
class StandingCluster:
    """A data directory as it is found."""

    server: ServerState
    is_standby: bool
    """It has a standby.signal."""
    tablespaces: tuple[str, ...]
    """Names in ``pg_tblspc``."""
    linked_wal: bool
    """``pg_wal`` is a link to another place."""
    archive_mode: str | None
    """Its value in ``postgresql.auto.conf``, where ALTER SYSTEM writes; None when not there."""

    @property
    def is_stopped(self) -> bool:
        """Nothing runs on it, for certain."""
        return self.server is ServerState.STOPPED


@dataclass(frozen=True, slots=True)
class ServiceLook:
    """The running server, as the clients of the service reach it."""

    system_identifier: int
    timeline: int
    checkpoint: Lsn
    """The newest checkpoint, from the server's own pg_control: it tells the data directory."""
    in_recovery: bool
    may_end_sessions: bool
    tables: frozenset[str]
    """Schema-qualified names of the permanent tables."""
    schema_version: str | None


@dataclass(frozen=True, slots=True)
class Places:
    """The names one replacement uses, all beside each other."""

    target: Path
    aside: Path
    """Where the old directory is kept. It is there only when it has been moved out of the way."""
    restored: Path
    """The restored directory, complete, before it takes the target's name."""
    failed: Path
    """Where a restored directory is kept that had to make way for the old one again."""

    @classmethod
    def beside(cls, target: Path, stamp: str) -> "Places":
        """The names for a replacement that began at ``stamp`` (YYYYMMDD-HHMMSS)."""

        def named(word: str) -> Path:
            return target.with_name(f"{target.name}.{word}-{stamp}")

        return cls(target, named("before"), named("restored"), named("failed"))


@dataclass(frozen=True, slots=True)
class Replacement:
    """One replacement as its journal has it: enough to undo it after its process was killed."""

    places: Places
    was_running: bool
    """A server ran on the old directory when it began."""
    answered: bool
    """That server answered us."""
    was_healthy: bool
    """The health check held; False as well when there is none."""
    stopped_application: bool = False
    stopped_server: bool = False
    started_application: bool = False
    """On the restored cluster."""
    inode: int = 0
    """Of the old directory: it tells that directory from the restored one, whatever their names.
    The file system is that of the directory both stand in."""
    step: str = "begin"
    """The step it was in."""

    @property
    def is_done(self) -> bool:
        """It came to its end: nothing is to be undone."""
        return self.step == DONE


DONE = "done"
"""The step behind the last one."""

UNDOING = "bring the old service back"
"""The step of a rollback: whatever was noted before, there is something to undo."""
