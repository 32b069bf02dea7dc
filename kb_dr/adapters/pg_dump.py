"""pg_dump to a pipe or a directory, and pg_dumpall for what no single database holds."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kb_dr.adapters.await_backup import Patience
from kb_dr.adapters.client_programs import ClientPrograms
from kb_dr.adapters.postgres_programs import command_failed
from kb_dr.adapters.postgres_session import connection_words, conninfo
from kb_dr.adapters.program_output import ProgramOutput
from kb_dr.domain.dump import NO_PASSWORDS, DumpEnd, DumpFormat
from kb_dr.errors import ConfigurationError, PostgresError, PostgresUnavailable
from kb_dr.ports import FrozenSource
from kb_dr.settings import SourceSettings

_GLOBALS_SECONDS = 600.0

_DIRECTORY_SECONDS = 7 * 86400.0
"""A directory is written by the program itself: nobody sees whether it comes on."""

_DENIED = b"permission denied"

_LOCKED = (b"canceling statement due to statement timeout", b"could not obtain lock on relation")
"""What pg_dump ends with when --lock-wait-timeout is over, and what one of its workers does."""

_LOST = (
    b"connection to server",
    b"terminating connection",
    b"server closed the connection",
    b"invalid snapshot identifier",  # the session that held it is gone
)

_TOO_MANY_LOCKS = b"max_locks_per_transaction"
"""In the hint the server gives beside "out of shared memory" (lock.c)."""


class PgDump:
    """Implements `kb_dr.ports.DumpProgram`.

    ``stall_seconds`` without a byte, and the server is taken for gone; ``lock_seconds`` it may
    wait for a table that somebody else has locked. ``compressed``: the way pg_dump itself does it.
    """

    def __init__(
        self,
        client: ClientPrograms,
        source: SourceSettings,
        *,
        stall_seconds: float = 600.0,
        lock_seconds: float = 30.0,
        compressed: bool = False,
    ) -> None:
        self._client = client
        self._programs = client.programs
        self._source = source
        self._patience = Patience(stall_seconds)
        self._lock_seconds = lock_seconds
        self._compressed = compressed

    @property
    def tools(self) -> dict[str, str]:
        return {"pg_dump": self._client.version}

    @contextmanager
    def stream(self, frozen: FrozenSource, form: DumpFormat) -> Iterator["RunningDump"]:
        if form is DumpFormat.DIRECTORY:
            raise ConfigurationError("run pg_dump: a directory is written, not streamed")
        # What it writes is compressed here: its own way is one thread, and differs by version.
        command = self._command(frozen, form, *([] if self._compressed else ["--compress=0"]))
        with self._programs.unprivileged.running(
            command, env=self._environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            yield RunningDump(process, self._patience)

    def write_directory(self, frozen: FrozenSource, directory: Path, *, jobs: int) -> None:
        unprivileged = self._programs.unprivileged
        directory.mkdir(mode=0o700)  # pg_dump takes an empty one; its user may make none
        unprivileged.give(directory)
        done = unprivileged.run(
            self._command(frozen, DumpFormat.DIRECTORY, f"--jobs={jobs}", f"--file={directory}"),
            env=self._environment(),
            timeout_seconds=_DIRECTORY_SECONDS,
        )
        if done.returncode != 0:
            raise _failed("pg_dump", done.returncode, done.stderr)

    def globals(self) -> bytes | None:
        done = self._dump_globals()
        if done.returncode != 0 and _DENIED in done.stderr:
            # pg_authid is for superusers; pg_roles, without the hashes, for all.
            done = self._dump_globals("--no-role-passwords")
            if done.returncode != 0 and _DENIED in done.stderr:
                return None
            done.stdout = NO_PASSWORDS + done.stdout
        if done.returncode != 0:
            raise _failed("pg_dumpall", done.returncode, done.stderr)
        return done.stdout

    def _dump_globals(self, *more: str) -> "subprocess.CompletedProcess[bytes]":
        return self._programs.run_raw(
            "pg_dumpall",
            f"--dbname={conninfo(connection_words(self._source))}",
            f"--database={self._source.database}",
            "--no-password",
            "--globals-only",
            "--encoding=UTF8",  # whatever the database's is: they are read as that
            *more,
            env=self._environment(bare=True),
            timeout_seconds=_GLOBALS_SECONDS,
        )

    def _command(self, frozen: FrozenSource, form: DumpFormat, *more: str) -> list[str]:
        words = {**connection_words(self._source), "dbname": self._source.database}
        return [
            str(self._programs.path("pg_dump")),
            f"--dbname={conninfo(words)}",
            "--no-password",
            f"--format={form}",
            f"--snapshot={frozen.snapshot}",
            f"--lock-wait-timeout={int(self._lock_seconds * 1000)}",
            *more,
        ]

    def _environment(self, *, bare: bool = False) -> dict[str, str]:
        password = self._source.password
        # In the environment of this one process: an argument could be read by every user.
        own = {"PGPASSWORD": password.reveal()} if password else {}
        return own if bare else self._programs.environment(own)


class RunningDump:
    """Implements `kb_dr.ports.DumpStream`."""

    def __init__(self, process: "subprocess.Popen[bytes]", patience: Patience) -> None:
        self.output = ProgramOutput("pg_dump", process, patience, _failed)

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes. Raises PostgresUnavailable when the server stalls."""
        return self.output.read(size)

    def finish(self) -> DumpEnd:
        self.output.require_end()
        return DumpEnd(self.output.length, self.output.sha256)


def _failed(name: str, status: int, said: bytes) -> PostgresError:
    failed = command_failed(name, status, said)
    if _TOO_MANY_LOCKS in said:
        return PostgresError(
            str(failed),
            hint="Raise max_locks_per_transaction of the server, and restart it: a dump locks "
            "every table at once.",
        )
    if any(words in said for words in _LOCKED):
        return PostgresUnavailable(
            str(failed),
            hint="Somebody holds a table, as a schema migration does: take the dump again when "
            "that is over.",
        )
    if any(words in said for words in _LOST):
        return PostgresUnavailable(str(failed))
    return failed
