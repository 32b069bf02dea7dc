"""Runs PostgreSQL's programs when we are root, which PostgreSQL itself refuses to be.

Without a dedicated user the program runs in a user namespace of its own: inside it is
``nobody``, outside its files belong to root, so that directories only root can enter still work.
"""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from kb_dr.errors import ConfigurationError, PostgresCommandFailed

_NOBODY = "65534"

_TERM_SECONDS = 10.0
"""How long an ended program may take before it is killed."""

Stream = int | IO[Any] | None


@dataclass(frozen=True, slots=True)
class Unprivileged:
    """Starts programs as a user PostgreSQL accepts.

    As an ordinary user programs run as they are. As root they run as ``os_user`` when one is
    configured (its binaries and data must be within that user's reach), else in a user namespace.
    """

    os_user: str | None = None
    as_ourselves: bool = False
    """Run as who we are, root too: PostgreSQL's client programs do not mind, and read what only we
    can read."""

    def prefixed(
        self, command: Sequence[str | os.PathLike[str]], tied: signal.Signals | None
    ) -> list[str]:
        """The words that start ``command`` so, each with exec: the process id stays the same.

        ``tied`` is the signal the program gets from the kernel when the *thread* that started it
        ends; None leaves it running on its own (a sandbox server).
        """
        words = [os.fspath(word) for word in command]
        setpriv = shutil.which("setpriv")
        if tied is not None and setpriv is not None:
            # Innermost: a change of user would clear the setting again.
            words = [setpriv, "--pdeathsig", tied.name.removeprefix("SIG"), "--", *words]
        if os.geteuid() != 0 or self.os_user or self.as_ourselves:
            return words
        unshare = shutil.which("unshare")
        if unshare is None:
            raise _no_way("the program unshare is missing")
        return [unshare, "-U", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", *words]

    def start(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = None,
        stderr: Stream = None,
        cwd: Path | None = None,
        tied: signal.Signals | None = signal.SIGKILL,
        pass_fds: Collection[int] = (),
    ) -> "subprocess.Popen[bytes]":
        """Start a program at the head of a process group of its own.

        The caller ends it with end(), in a finally. Raises ConfigurationError when root has no
        way to run it.
        """
        user: dict[str, Any] = {}
        if os.geteuid() == 0 and self.os_user:
            entry = _entry(self.os_user)
            user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return subprocess.Popen(
            self.prefixed(command, tied),
            env=None if env is None else dict(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            # The caller's directory may be closed to the user the program runs as.
            cwd=cwd or "/",
            process_group=0,
            pass_fds=tuple(pass_fds),
            **user,
        )

    @contextmanager
    def running(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = None,
        stderr: Stream = None,
    ) -> "Iterator[subprocess.Popen[bytes]]":
        """A program that is ended, with all it started, when the block is left."""
        process = self.start(command, env=env, stdin=stdin, stdout=stdout, stderr=stderr)
        try:
            yield process
        finally:
            end(process)

    def run(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: Mapping[str, str] | None = None,
        timeout_seconds: float,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a program to its end; what it printed is in the result, whatever its status.

        Raises PostgresCommandFailed when it does not end within ``timeout_seconds``.
        """
        pipe = subprocess.PIPE
        with self.running(command, env=env, stdout=pipe, stderr=pipe) as process:
            try:
                out, err = process.communicate(timeout=timeout_seconds)
            except subprocess.TimeoutExpired as error:
                raise PostgresCommandFailed(
                    f"run {Path(command[0]).name}: not ended within {timeout_seconds:g} s"
                ) from error
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def give(self, path: Path) -> None:
        """Hand a file or directory just made to the user programs run as."""
        if os.geteuid() == 0 and self.os_user:
            entry = _entry(self.os_user)
            # Never what a link leads to: that user may have put it there.
            os.chown(path, entry.pw_uid, entry.pw_gid, follow_symlinks=False)

    def give_open(self, descriptor: int) -> None:
        """The same for an open file, which may have no name any more."""
        if os.geteuid() == 0 and self.os_user:
            entry = _entry(self.os_user)
            os.fchown(descriptor, entry.pw_uid, entry.pw_gid)


def end(process: "subprocess.Popen[bytes]", *, seconds: float = _TERM_SECONDS) -> None:
    """End a program and its process group: ask, wait, then kill. Ended already is fine."""
    if process.poll() is None:
        _signal_group(process.pid, signal.SIGTERM)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return  # it ended in between


def _entry(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        raise _no_way(f"there is no user {name!r}") from error


def _no_way(seen: str) -> ConfigurationError:
    return ConfigurationError(
        f"run PostgreSQL's programs as root: {seen}",
        hint="Run kb-dr as another user, or name one in KB_DR_POSTGRES_OS_USER.",
    )
