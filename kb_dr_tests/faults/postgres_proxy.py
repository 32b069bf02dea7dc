"""A socket in front of PostgreSQL that drops the connection at statement k."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

_COUNTED = b"QSc"
"""Query, Sync and CopyDone: what the server is asked to do up to there gets an answer."""

_ANSWER_SECONDS = 10.0


class PostgresProxy:
    """Passes on what is said to the server's socket; counts statements from 0 over all sessions.

    At statement ``at`` the connection is gone: before the server saw it, or with ``answered``
    once it was carried out and before its answer came through.
    """

    def __init__(self, directory: Path, server: Path) -> None:
        self.directory = directory
        self._server = str(server / ".s.PGSQL.5432")
        self.at: int | None = None
        self.answered = False
        self.statements = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen()
        self._sessions: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def arm(self, at: int | None, *, answered: bool = False) -> None:
        """Count anew, and drop the connection at this statement."""
        self.at, self.answered, self.statements = at, answered, 0

    def close(self) -> None:
        """Take no more sessions, and wait for those there are."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for each in self._sessions:
            each.join()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            session = threading.Thread(target=self._session, args=(client,))
            session.start()
            self._sessions.append(session)

    def _session(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            held = threading.Event()
            answers = threading.Thread(target=_pass_on, args=(server, client, held))
            answers.start()
            with contextlib.suppress(OSError):
                for message, counted in _messages(client):
                    due = counted and self._is_due()
                    if due and not self.answered:
                        break
                    if due:
                        held.set()
                    server.sendall(message)
                    if due:
                        answers.join(_ANSWER_SECONDS)
                        break
            for each in (client, server):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            answers.join()

    def _is_due(self) -> bool:
        number, self.statements = self.statements, self.statements + 1
        return number == self.at


def _pass_on(server: socket.socket, client: socket.socket, held: threading.Event) -> None:
    """Until either end is gone, or an answer comes that nobody is to hear."""
    with contextlib.suppress(OSError):
        while answer := server.recv(1 << 16):
            if held.is_set():
                return
            client.sendall(answer)
        client.shutdown(socket.SHUT_RDWR)


def _messages(client: socket.socket) -> Iterator[tuple[bytes, bool]]:
    """What the client says, a message at a time, and whether it is counted."""
    heard, head = b"", 0
    while data := client.recv(1 << 16):
        heard += data
        while len(heard) >= head + 4:
            length = head + struct.unpack_from("!I", heard, head)[0]
            if len(heard) < length:
                break
            message, heard = heard[:length], heard[length:]
            yield message, bool(head) and message[:1] in _COUNTED
            head = 1  # only the first message has no type before its length
