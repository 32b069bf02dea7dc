"""Files of this machine that appear whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from kb_dr.ports.basics import Writable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path


class NewFile(Writable, Protocol):
    """A file that nobody sees yet."""

    def appear(self) -> None:
        """Give it its name, with all that was written safely on the disk."""
        ...


class NewDirectory(Protocol):
    """A directory that is filled under another name."""

    @property
    def inside(self) -> Path:
        """Where it is filled: not there yet, and its parent may be written to by the user that
        PostgreSQL's programs run as."""
        ...

    def appear(self) -> None:
        """Give it its name, with all that is in it safely on the disk."""
        ...


class WholeFiles(Protocol):
    """How files are written that must never be seen half.

    Nothing is overwritten: a name that is taken is a ConfigurationError. When a block is left by
    an error, nothing of it is left, hidden or not, though it had appeared; what a kill leaves is
    removed when the next one is made in that directory, and never while its writer lives. Raises
    NotEnoughSpace, with the path and what is free, and KbDrError.
    """

    def make_directory(self, directory: Path) -> None:
        """Make a place for them if it is not there; only its owner may enter it."""
        ...

    def free_bytes(self, directory: Path) -> int:
        """The room of the file system it lies on."""
        ...

    def new_file(self, path: Path) -> AbstractContextManager[NewFile]:
        """A file that only its owner may read."""
        ...

    def new_directory(self, path: Path) -> AbstractContextManager[NewDirectory]:
        """A directory that only its owner may enter."""
        ...
