"""A stream of tar, unpacked as the user that PostgreSQL's programs run as."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kb_dr.adapters.postgres_programs import FULL, last_words
from kb_dr.adapters.program_pipes import widen, write_all
from kb_dr.adapters.unprivileged import Unprivileged, end
from kb_dr.errors import ChecksumMismatch, NotEnoughSpace, RecoveryError
from kb_dr.ports import Writable

_RECORD_BLOCKS = 512
"""tar reads, and writes to a file, so many blocks of 512 bytes at once. With its own 20 it spends
three times the CPU, most of it in the kernel."""


@contextmanager
def unpacked(directory: Path, unprivileged: Unprivileged) -> Iterator[Writable]:
    """Make the directory, and unpack into it what is written."""
    directory.mkdir(mode=0o700)
    unprivileged.give(directory)
    command = ["tar", "--extract", "--file=-", f"--directory={directory}"]
    command += ["--no-same-owner", "--same-permissions", "--warning=no-timestamp"]
    command += [f"--blocking-factor={_RECORD_BLOCKS}"]
    with tempfile.TemporaryFile() as words:
        process = unprivileged.start(
            [shutil.which("tar") or "tar", *command[1:]],
            env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=words,
        )
        try:
            yield _opened_pipe(process)
            _close(process)
        except BrokenPipeError as error:
            # tar ended before the stream did: its own words say why.
            raise _tar_failed(directory, process.wait(), words) from error
        else:
            if process.wait() != 0:
                raise _tar_failed(directory, process.returncode, words)
        finally:
            _abandon(process)


class _Pipe:
    """Writes all of what it is given."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, data: bytes, /) -> int:
        write_all(self._stream.fileno(), data)
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def _opened_pipe(process: "subprocess.Popen[bytes]") -> _Pipe:
    stream = process.stdin
    if stream is None:
        raise RecoveryError("unpack: tar has no input")
    widen(stream.fileno())
    return _Pipe(stream)


def _close(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()


def _abandon(process: "subprocess.Popen[bytes]") -> None:
    try:
        end(process)
    except BrokenPipeError:
        return


def _tar_failed(directory: Path, status: int, words: IO[bytes]) -> Exception:
    words.seek(0)
    said = words.read(1 << 20)
    text = last_words(said)
    if any(sign in said.decode("utf-8", "replace") for sign in FULL):
        return NotEnoughSpace(
            f"unpack into {directory}: {text}",
            hint="Make room there, or restore to another file system.",
        )
    how = f"signal {-status}" if status < 0 else f"status {status}"
    if status < 0:
        return RecoveryError(f"unpack into {directory}: tar ended by {how}")
    return ChecksumMismatch(f"unpack into {directory}: tar ended with {how}: {text}")
