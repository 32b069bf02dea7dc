"""A database and its pg_dump that the tests play: what they send is the same each time."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from kb_dr.domain.dump import DatabaseShape, DumpEnd, DumpFormat, SnapshotPlace
from kb_dr.domain.fingerprint import Fingerprint, TableFingerprint
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Source, VectorBaseline
from kb_dr.errors import BackupInProgress, PostgresCommandFailed, PostgresUnavailable
from kb_dr.ports import DumpStream, FrozenSource, SourceLock
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.stored_backups import store_objects

ARCHIVE = hashlib.shake_256(b"an archive").digest(350)
"""What the played pg_dump writes."""


class _Lock:
    def check(self) -> None:
        """It is never lost."""


@dataclass
class PlayedDumpSource:
    """A `kb_dr.ports.DumpSource` with one table of three rows."""

    system_identifier: int | None = None
    """None: that of the backups of stored_backups.py."""
    size_bytes: int = 1000
    looking: Callable[[], None] = lambda: None
    """Called while the fingerprint is taken."""
    locked: bool = False
    ended: bool = False
    """Its session is gone, and with it the locks."""
    held: int = 0
    """Snapshots that are open."""

    @contextmanager
    def exclusive(self) -> Iterator[SourceLock]:
        if self.locked:
            raise BackupInProgress("lock the source: another dump runs")
        self.locked = True
        try:
            yield _Lock()
        finally:
            self.locked = False

    @contextmanager
    def freeze(self, tables: Sequence[str]) -> Iterator["_Frozen"]:
        self.held += 1
        try:
            yield _Frozen(self)
        finally:
            self.held -= 1


@dataclass
class _Frozen:
    source: PlayedDumpSource
    snapshot: str = "00000003-0000001B-1"
    place: SnapshotPlace = field(default_factory=lambda: SnapshotPlace(1, Lsn(0x3000100)))

    def describe(self) -> Source:
        made = store_objects(MemoryRepository()).source
        return replace(
            made,
            size_bytes=self.source.size_bytes,
            system_identifier=self.source.system_identifier or made.system_identifier,
        )

    def vectors(self) -> tuple[VectorBaseline, ...]:
        return (VectorBaseline("public.entries", "place", "entries_place", 8, 0.98, 100),)

    def shape(self) -> DatabaseShape:
        if self.source.ended:
            raise PostgresUnavailable("ask for the database's locale: the connection is lost")
        return DatabaseShape("UTF8", "C.UTF-8", "C.UTF-8", "libc", None)

    def roles(self) -> tuple[str, ...]:
        return ("kb",)

    def fingerprint(self, seed: str) -> tuple[Fingerprint, tuple[str, ...]]:
        self.source.looking()
        table = TableFingerprint("public.entries", 3, (), ("a",), ())
        return Fingerprint(seed, self.place.lsn, (table,)), ("entries has no primary key",)


class _Stream:
    def __init__(self, archive: bytes, ends_badly: bool) -> None:
        self._archive, self._ends_badly = archive, ends_badly
        self._left = io.BytesIO(archive)

    def read(self, size: int = -1, /) -> bytes:
        return self._left.read(size)

    def finish(self) -> DumpEnd:
        if self._ends_badly:
            raise PostgresCommandFailed("run pg_dump: ended with status 1")
        return DumpEnd(len(self._archive), hashlib.sha256(self._archive).hexdigest())


@dataclass
class PlayedDumpProgram:
    """A `kb_dr.ports.DumpProgram`: an archive of a few hundred bytes."""

    roles: bytes | None = b"create role kb;\n"
    ends_badly: bool = False
    meanwhile: Callable[[], None] = lambda: None
    """Called once it is started."""

    @property
    def tools(self) -> dict[str, str]:
        return {"pg_dump": "16.15"}

    @contextmanager
    def stream(self, frozen: FrozenSource, form: DumpFormat) -> Iterator[DumpStream]:
        self.meanwhile()
        yield _Stream(ARCHIVE, self.ends_badly)

    def write_directory(self, frozen: FrozenSource, directory: Path, *, jobs: int) -> None:
        directory.mkdir()
        (directory / "toc.dat").write_bytes(ARCHIVE)

    def globals(self) -> bytes | None:
        return self.roles
