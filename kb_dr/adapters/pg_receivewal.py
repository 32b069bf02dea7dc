"""pg_receivewal: WAL streamed from the source into a directory, through a replication slot."""

import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from kb_dr.adapters.postgres_programs import PostgresPrograms, last_words
from kb_dr.adapters.postgres_session import connection_words, conninfo, session
from kb_dr.errors import PostgresCommandFailed
from kb_dr.settings import SourceSettings

_LISTEN_SECONDS = 5.0


class PgReceiveWal:
    """Implements `kb_dr.ports.WalReceiver`."""

    def __init__(self, programs: PostgresPrograms, source: SourceSettings) -> None:
        self._programs = programs
        self._source = source

    def create_slot(self, slot: str) -> None:
        with session(self._source, what=f"create the replication slot {slot}") as s:
            try:
                # Reserving at once: pg_receivewal's own --create-slot keeps no WAL before the
                # first byte was confirmed.
                s.execute("select pg_create_physical_replication_slot(%s, true)", (slot,))
            except psycopg.errors.DuplicateObject:
                return

    def drop_slot(self, slot: str) -> None:
        with session(self._source, what=f"drop the replication slot {slot}") as s:
            s.execute(
                "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
                " where slot_name = %s",
                (slot,),
            )

    @contextmanager
    def receiving(self, directory: Path, slot: str) -> Iterator["RunningReceiver"]:
        for path in (directory, *directory.iterdir()):
            self._programs.unprivileged.give(path)
        command = [
            str(self._programs.path("pg_receivewal")),
            f"--dbname={conninfo(connection_words(self._source))}",
            "--no-password",
            f"--directory={directory}",
            f"--slot={slot}",
            # Whether it may go on is asked before each start, not by itself.
            "--no-loop",
        ]
        password = self._source.password
        # In the environment of this one process: an argument could be read by every user.
        env = {"PGPASSWORD": password.reveal()} if password else None
        with self._programs.unprivileged.running(
            command,
            env=self._programs.environment(env),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            yield RunningReceiver(process)


class RunningReceiver:
    """Implements `kb_dr.ports.RunningWalReceiver`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        if process.stderr is None:
            raise PostgresCommandFailed("run pg_receivewal: it was started without a pipe")
        self._process = process
        self._errors = process.stderr
        self._said: deque[bytes] = deque(maxlen=20)
        # Unread, its messages would fill their pipe and stop it.
        self._listener = threading.Thread(target=self._listen, name="pg_receivewal", daemon=True)
        self._listener.start()

    def ended(self) -> str | None:
        status = self._process.poll()
        if status is None:
            return None
        self._listener.join(_LISTEN_SECONDS)
        words = last_words(b"\n".join(self._said))
        return words or f"it ended with status {status}"

    def _listen(self) -> None:
        try:
            for line in self._errors:
                self._said.append(line[:2000])
        except ValueError:
            return  # closed while it was read: the program is being ended
