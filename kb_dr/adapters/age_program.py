"""age's own program: it decrypts in half the CPU of the library, and in a process beside ours."""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING

from kb_dr.adapters.program_pipes import widen, write_all
from kb_dr.adapters.unprivileged import Unprivileged, end
from kb_dr.errors import ChecksumMismatch, KbDrError

if TYPE_CHECKING:
    from kb_dr.ports import Readable, Writable

_READ_BYTES = 1 << 26
"""A chunk is passed on as it is, in one piece."""
_TAKEN_BYTES = 1 << 18
_SEALED_BYTES = 1 << 16
_TAG_BYTES = 16

_DAMAGE = ("authenticate payload chunk", "unexpected EOF", "trailing data", "last chunk is empty")
"""What age says of a stream that is not whole (its internal/stream/stream.go). All else it may say
is of this host."""


def age_program() -> str | None:
    """Where age is, if it is."""
    return shutil.which("age")


def decrypt_beside(
    program: str, identities: Sequence[str], coded: "Readable", sink: "Writable"
) -> "list[bytes] | None":
    """Decrypt ``coded`` into ``sink``; None when all of it is there.

    A list holds what was read of ``coded`` when the program could not be started, or ended in an
    error before it gave a byte: nothing is lost then, and the library may say better what is
    wrong. ChecksumMismatch for damage after that. What ``coded`` and ``sink`` raise passes
    through; ``sink`` is written to by a thread of ours, which has ended when this returns or
    raises.
    """
    try:
        words = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, once it is there
    except OSError:
        return []  # nothing may be written here
    with words:
        try:
            process = _started(program, identities, words)
        except OSError:
            return []
        taker = _Taker(process, sink)
        taker.thread.start()
        read: list[bytes] = []
        try:
            _feed(process, coded, taker, read)
            taker.thread.join()
            status = process.wait()
        finally:
            process.kill()  # ended already unless something went wrong
            taker.thread.join()
            end(process)
        if taker.failure is not None:
            failure, taker.failure = taker.failure, None
            if isinstance(failure, ChecksumMismatch):
                failure.at_byte = taker.at_byte
            try:
                raise failure
            finally:
                del failure  # a cycle with this frame, which holds a chunk
        if status == 0:
            return None
        if not taker.has_begun:
            return read
        failed = _failed(status, words)
        if isinstance(failed, ChecksumMismatch):
            failed.at_byte = taker.at_byte
        raise failed


def _started(
    program: str, identities: Sequence[str], words: IO[bytes]
) -> "subprocess.Popen[bytes]":
    # The secret goes through a pipe: it is in no file, no argument and no environment.
    secret, tell = os.pipe()
    try:
        process = Unprivileged(as_ourselves=True).start(
            [program, "--decrypt", "--identity", f"/dev/fd/{secret}"],
            # With several threads Go spends half as much again on handing work to itself.
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath), "GOMAXPROCS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            pass_fds=(secret,),
        )
        write_all(tell, "".join(f"{each}\n" for each in identities).encode())
    finally:
        os.close(secret)
        os.close(tell)
    return process


class _Taker:
    """The thread that takes what comes out."""

    def __init__(self, process: "subprocess.Popen[bytes]", sink: "Writable") -> None:
        self._process = process
        self._sink = sink
        self.taken = 0
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._take, name="decrypted", daemon=True)

    @property
    def has_begun(self) -> bool:
        return self.taken > 0

    @property
    def at_byte(self) -> int:
        """The end of what is being decrypted: what was fed runs ahead of it.

        age seals 64 KiB at a time, each with a tag of 16 bytes (C2SP, age-encryption.org/v1).
        """
        return (self.taken // _SEALED_BYTES + 1) * (_SEALED_BYTES + _TAG_BYTES)

    def _take(self) -> None:
        descriptor = _descriptor(self._process.stdout)
        try:
            while piece := os.read(descriptor, _TAKEN_BYTES):
                self.taken += len(piece)
                self._sink.write(piece)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for us
            self.failure = error
            self._process.kill()  # else it would wait for a reader, and its feeder for it


def _feed(
    process: "subprocess.Popen[bytes]", coded: "Readable", taker: _Taker, read: list[bytes]
) -> None:
    """Write all of ``coded`` into the program; stop when it ended before."""
    stdin = process.stdin
    if stdin is None:
        raise KbDrError("decrypt a stream: age has no input")
    widen(stdin.fileno())
    widen(_descriptor(process.stdout))
    while piece := coded.read(_READ_BYTES):
        if taker.has_begun:
            read.clear()
        else:
            read.append(piece)
        try:
            write_all(stdin.fileno(), piece)
        except BrokenPipeError:
            break  # its own words, or what the sink raised, say why
        del piece
    stdin.close()


def _descriptor(stream: IO[bytes] | None) -> int:
    if stream is None:
        raise KbDrError("decrypt a stream: age has no output")
    return stream.fileno()


def _failed(status: int, words: IO[bytes]) -> KbDrError:
    words.seek(0)
    said = words.read(1 << 16).decode("utf-8", "replace").strip()
    if status > 0 and any(sign in said for sign in _DAMAGE):
        return ChecksumMismatch("decrypt a stream: damaged, as age says")
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return KbDrError(f"decrypt a stream: age ended with {how}: {said[-300:]}")
