"""Installations of PostgreSQL that lack something, or whose programs stop where a test wants."""

import shlex
from collections.abc import Collection
from pathlib import Path

from kb_dr.adapters.postgres_programs import PostgresPrograms


class MadePrograms:
    """Another installation made of links to a real one."""

    def __init__(
        self, real: PostgresPrograms, directory: Path, *, without_extensions: Collection[str] = ()
    ) -> None:
        self.real = real
        self.directory = directory
        self.bin_dir.mkdir(parents=True)
        extensions = directory / "share" / "extension"
        extensions.mkdir(parents=True)
        for program in real.bin_dir.iterdir():
            # pg_config would name the real installation's directories.
            if program.name != "pg_config":
                (self.bin_dir / program.name).symlink_to(program)
        home = real.bin_dir.parent
        (directory / "lib").symlink_to(home / "lib")
        for control in home.glob("share/**/extension/*.control"):
            if control.stem not in without_extensions:
                (extensions / control.name).symlink_to(control)

    @property
    def bin_dir(self) -> Path:
        return self.directory / "bin"

    @property
    def reached(self) -> Path:
        """Is there once a program stands still."""
        return self.directory / "reached"

    def stand_still(self, name: str, *, at_call: int = 1) -> None:
        """The program does its work until it is called for the ``at_call``-th time."""
        calls, place = self.directory / "calls", self.bin_dir / name
        place.unlink()
        place.write_text(
            "#!/bin/sh\n"
            f"echo >> {shlex.quote(str(calls))}\n"
            f"if [ $(wc -l < {shlex.quote(str(calls))}) -lt {at_call} ]; then\n"
            f'  exec {shlex.quote(str(self.real.path(name)))} "$@"\n'
            "fi\n"
            f"touch {shlex.quote(str(self.reached))}\n"
            "while :; do sleep 0.1; done\n"
        )
        place.chmod(0o755)
