"""The service in front of production, for a restore that replaces it in place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from kb_dr.domain.replacement import (
        Places,
        Replacement,
        ServerState,
        ServiceLook,
        StandingCluster,
    )
    from kb_dr.domain.service_commands import Command, ServiceCommands


class ServiceControl(Protocol):
    """The service around a cluster, driven by the operator's own commands."""

    @property
    def commands(self) -> ServiceCommands:
        """What is configured."""
        ...

    def run(self, command: Command, also: Mapping[str, str] | None = None) -> bool:
        """Run one to its end, ``also`` in its environment; False when none is configured.

        Raises ServiceCommandFailed with its last words when it ends badly or not in time. It gets
        no secret of ours, and is ended with all it started when we are interrupted.
        """
        ...

    def check_health(self, *, patient: bool) -> bool:
        """Hold command and address of the health check; False when there is neither.

        Raises ServiceUnhealthy when the service is not well; when ``patient`` it is asked again
        for as long as a command may take. Each asking is given the time of a command.
        """
        ...

    def uninterrupted(self) -> AbstractContextManager[None]:
        """Inside, the first signal to stop raises KeyboardInterrupt, and no later one does
        anything: what is being undone then is undone to its end.
        """
        ...

    def defer_interrupts(self) -> None:
        """From here to the end of uninterrupted() not even a first signal does anything."""
        ...


class ServiceDatabase(Protocol):
    """The server of the service as its clients reach it. Raises as SourceServer does."""

    def look(self) -> ServiceLook:
        """What it is, asked in a moment."""
        ...

    def answers(self) -> bool:
        """Whether a server is there, be it one that refuses us or is only starting up."""
        ...

    def end_sessions(self) -> int:
        """End every other session in the database of the service; how many there were."""
        ...


class ReplaceJournal(Protocol):
    """What one replacement has come to, kept beside the target while it runs."""

    def write(self, replacement: Replacement) -> None:
        """Note, durably, what is about to be done."""
        ...

    def close(self, *, done: bool) -> None:
        """Let go of it; ``done`` removes it: nothing is left to undo."""
        ...


class StandingClusters(Protocol):
    """Data directories under their final names on this machine. RecoveryError where one cannot
    be read or changed.
    """

    def look_at(self, directory: Path) -> StandingCluster:
        """What stands there."""
        ...

    def server_of(self, directory: Path) -> ServerState:
        """Whether a server runs on it, in whatever container of this machine."""
        ...

    def check_replaceable(self, directory: Path) -> None:
        """Raise RecoveryError unless it can be renamed, and what comes can be given its owner."""
        ...

    def inherit(self, old: Path, new: Path, lines: Sequence[str]) -> None:
        """Give ``new`` the owner, the mode and the configuration files of ``old``.

        ``lines`` end its ``postgresql.auto.conf``, in which nothing else says archive_mode.
        """
        ...

    def rename(self, old: Path, new: Path) -> None:
        """Rename durably; RecoveryError when anything stands under the new name."""
        ...

    def stands(self, directory: Path) -> bool:
        """Whether anything stands under this name."""
        ...

    def inode(self, directory: Path) -> int:
        """Which directory it is, whatever its name; 0 where none stands."""
        ...

    def open_journal(self, places: Places) -> ReplaceJournal:
        """Begin a journal; RecoveryError when another replacement of this target is at work,
        or was cut off.
        """
        ...

    def resume_journal(self, target: Path) -> tuple[ReplaceJournal, Replacement] | None:
        """The journal a killed replacement of ``target`` left, to be undone; None without one.

        RecoveryError while its replacement is at work, or when it names other places.
        """
        ...

    def unfinished(self, target: Path) -> Replacement | None:
        """What resume_journal() would find; looks only, and sees that of a live one as well."""
        ...
