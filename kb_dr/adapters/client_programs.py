"""Finds PostgreSQL's client programs: those of a machine with no server on it, too."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.errors import PostgresProgramMissing

_DEBIAN_DIRECTORIES = Path("/usr/lib/postgresql")


@dataclass(frozen=True, slots=True)
class ClientPrograms:
    """The programs beside one pg_dump or pg_restore, and the version that one says it has."""

    programs: PostgresPrograms
    version: str
    """Such as ``16.15``."""

    @property
    def major(self) -> int:
        """Their major version."""
        return _by_number(self.version)[0]


def find_client_programs(
    name: str, at_least: int, bin_dirs: Sequence[Path], unprivileged: Unprivileged | None = None
) -> ClientPrograms:
    """The program ``name`` of major version ``at_least``, else of the nearest newer one at hand.

    It is looked for in ``bin_dirs``, Debian's places and the PATH; of one version the first counts.
    Raises PostgresProgramMissing naming what was found instead.
    """
    user = unprivileged or Unprivileged()
    found: list[ClientPrograms] = []
    for directory in _places(name, bin_dirs):
        programs = PostgresPrograms(directory, user)
        if not programs.has(name):
            continue
        each = ClientPrograms(programs, _version(programs, name))
        if each.major == at_least:
            return each
        found.append(each)
    newer = [each for each in found if each.major > at_least]
    if newer:
        return min(newer, key=lambda each: each.major)
    seen = ", ".join(sorted({each.version for each in found}, key=_by_number)) or "none"
    raise PostgresProgramMissing(
        f"find {name}: {seen} here, expected {at_least} or newer, as the server is",
        hint=f"Install the client programs of PostgreSQL {at_least}, or point "
        "KB_DR_POSTGRES_BIN_DIRS at them: an older one does not read a newer server.",
    )


def _places(name: str, bin_dirs: Sequence[Path]) -> list[Path]:
    places = [*bin_dirs, *sorted(_DEBIAN_DIRECTORIES.glob("*/bin"))]
    on_path = shutil.which(name)
    if on_path is not None:
        # Debian's is a link to a wrapper that chooses a version by rules of its own.
        places.append(Path(on_path).resolve().parent)
    return list(dict.fromkeys(places))


def _version(programs: PostgresPrograms, name: str) -> str:
    said = programs.run(name, "--version", timeout_seconds=30)
    match = re.search(r"\d+(?:(?:\.\d+)+|devel|beta\d+|rc\d+)", said)
    if match is None:
        raise PostgresProgramMissing(f"ask {programs.path(name)} for its version: {said!r}")
    return match[0]


def _by_number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
