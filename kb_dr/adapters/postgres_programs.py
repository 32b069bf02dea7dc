"""PostgreSQL's own programs of one major version, found and run."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.errors import PostgresCommandFailed, PostgresProgramMissing

_PASSED_ON = ("PATH", "HOME", "TMPDIR", "TZ", "LD_LIBRARY_PATH", "PGPASSFILE", "PGSSLROOTCERT")
"""What a program needs of our environment. Nothing else is passed on: PostgreSQL's own variables
would change what the programs do, and credentials of the repository are none of their business."""

FULL = ("No space left on device", "Disk quota exceeded")
"""How programs say, in English, that a disk or a share of it is full."""

_DEBIAN_DIRECTORIES = Path("/usr/lib/postgresql")

_SECRET = re.compile(r"(password\s*=\s*|://[^:/@\s]*:)[^@\s]+", re.IGNORECASE)


@dataclass(frozen=True)
class PostgresPrograms:
    """The programs in one bin directory, run as a user they accept."""

    bin_dir: Path
    unprivileged: Unprivileged = field(default_factory=Unprivileged)

    @cached_property
    def version(self) -> str:
        """Their version, such as ``16.15``."""
        done = self.run("postgres", "--version", timeout_seconds=30)
        match = re.search(r"(\d+)(\.\d+|devel|beta\d+|rc\d+)", done)
        if match is None:
            raise PostgresProgramMissing(f"ask {self.bin_dir}/postgres for its version: {done!r}")
        return match[0]

    @property
    def major(self) -> int:
        """Their major version."""
        return int(re.match(r"\d+", self.version)[0])  # type: ignore[index]  # version begins so

    def path(self, name: str) -> Path:
        """Where one program is; PostgresProgramMissing."""
        path = self.bin_dir / name
        if not os.access(path, os.X_OK):
            raise PostgresProgramMissing(f"find {name}: not in {self.bin_dir}")
        return path

    def has(self, name: str) -> bool:
        """Whether a program is there."""
        return os.access(self.bin_dir / name, os.X_OK)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of one program: no password unless ``extra`` brings it."""
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        libraries = self.bin_dir.parent / "lib"
        if (libraries / "libpq.so.5").exists():
            # A relocated installation: its modules look for libpq where it was once built.
            others = kept.get("LD_LIBRARY_PATH", "")
            kept["LD_LIBRARY_PATH"] = f"{libraries}:{others}" if others else str(libraries)
        # Messages are parsed nowhere, but shown: in one language, whatever the host speaks.
        return {**kept, "LC_ALL": "C.UTF-8", "PGAPPNAME": "kb-dr", **(extra or {})}

    def run(
        self,
        name: str,
        *arguments: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 600,
        accepted: Sequence[int] = (0,),
    ) -> str:
        """Run one program to its end; return what it printed.

        Raises PostgresCommandFailed with its last words when the status is none of ``accepted``.
        """
        done = self.run_raw(name, *arguments, env=env, timeout_seconds=timeout_seconds)
        if done.returncode not in accepted:
            raise command_failed(name, done.returncode, done.stderr)
        return done.stdout.decode("utf-8", "replace")

    def run_raw(
        self,
        name: str,
        *arguments: str | os.PathLike[str],
        env: Mapping[str, str] | None = None,
        timeout_seconds: float = 600,
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run one program to its end, whatever its status."""
        return self.unprivileged.run(
            [self.path(name), *arguments],
            env=self.environment(env),
            timeout_seconds=timeout_seconds,
        )


def find_programs(
    major: int, bin_dirs: Sequence[Path], unprivileged: Unprivileged | None = None
) -> PostgresPrograms:
    """The programs of one major version: in ``bin_dirs``, Debian's place, or the PATH, in order.

    Raises PostgresProgramMissing naming where it looked.
    """
    looked = [*bin_dirs, _DEBIAN_DIRECTORIES / str(major) / "bin"]
    on_path = shutil.which("postgres")
    if on_path is not None:
        looked.append(Path(on_path).resolve().parent)
    for directory in looked:
        programs = PostgresPrograms(directory, unprivileged or Unprivileged())
        if programs.has("postgres") and programs.major == major:
            return programs
    places = ", ".join(map(str, looked))
    raise PostgresProgramMissing(f"find PostgreSQL {major}: looked in {places}")


def command_failed(name: str, status: int, stderr: bytes) -> PostgresCommandFailed:
    """The error for a program that ended badly, with its last words."""
    how = f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
    words = last_words(stderr)
    return PostgresCommandFailed(f"run {name}: {how}{': ' + words if words else ''}")


def last_words(stderr: bytes, lines: int = 4) -> str:
    """The last lines a program wrote, on one line and without passwords."""
    text = stderr.decode("utf-8", "replace")
    kept = [line.strip() for line in text.splitlines() if line.strip()][-lines:]
    return _SECRET.sub(r"\1***", "; ".join(kept))[:1000]
