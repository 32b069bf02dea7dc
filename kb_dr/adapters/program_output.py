"""What a running program writes into a pipe: read to its end, and believed if that was good."""

import fcntl
import hashlib
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable

from kb_dr.adapters.await_backup import Patience
from kb_dr.adapters.postgres_programs import command_failed
from kb_dr.errors import PostgresCommandFailed, PostgresError

_PIPE_BYTES = 1024 * 1024

_END_SECONDS = 60.0
"""How long the program may take to end after its output did."""


class ProgramOutput:
    """Implements `kb_dr.ports.Readable`; counts and digests what was read.

    ``failed`` makes the error of a program that ended badly, from its name, status and last words.
    """

    def __init__(
        self,
        name: str,
        process: "subprocess.Popen[bytes]",
        patience: Patience,
        failed: Callable[[str, int, bytes], PostgresError] = command_failed,
    ) -> None:
        self._name = name
        self.process = process
        self._patience = patience
        self._failed = failed
        self._digest = hashlib.sha256()
        self.length = 0
        """Bytes read so far."""
        self._over = False
        self._said: deque[bytes] = deque(maxlen=20)
        if process.stdout is None or process.stderr is None:
            raise PostgresCommandFailed(f"run {name}: it was started without pipes")
        self._output = process.stdout.fileno()
        self._errors = process.stderr
        _widen(self._output)
        # Unread, its messages would fill their pipe and stop it.
        self._listener = threading.Thread(target=self._listen, name=name, daemon=True)
        self._listener.start()

    @property
    def sha256(self) -> str:
        """Lower-case hex digest of what was read."""
        return self._digest.hexdigest()

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes. Raises PostgresUnavailable or WalGap when the server stalls."""
        wanted = _PIPE_BYTES if size < 0 else min(size, _PIPE_BYTES)
        if self._over or wanted == 0:
            return b""
        self._patience.await_bytes(self._output, self._said, f"run {self._name}")
        data = os.read(self._output, wanted)
        if not data:
            self._over = True
            # Its status is looked at before anyone takes this end for the whole's: a stream that
            # broke off must not become a stored backup of the same shape.
            self._check_status()
            return b""
        self._digest.update(data)
        self.length += len(data)
        return data

    def require_end(self) -> None:
        """Return once all was read and the program ended well; else raise."""
        if not self._over:
            raise PostgresCommandFailed(f"run {self._name}: its output was not read to the end")
        self._check_status()

    def _check_status(self) -> None:
        try:
            status = self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise PostgresCommandFailed(
                f"run {self._name}: its output ended, but it did not within {_END_SECONDS:g} s"
            ) from error
        if status != 0:
            self._listener.join(_END_SECONDS)
            raise self._failed(self._name, status, b"\n".join(self._said))

    def _listen(self) -> None:
        try:
            for line in self._errors:
                self._said.append(line[:2000])
        except ValueError:
            return  # closed while it was read: the program is being ended


def _widen(descriptor: int) -> None:
    """A larger pipe: fewer switches between the two programs. Linux only; else as it is."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except PermissionError:
            return  # past the limit of an ordinary user
