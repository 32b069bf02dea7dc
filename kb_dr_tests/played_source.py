"""A source and its pg_basebackup that the tests play: what they send is the same each time."""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from kb_dr.domain import layout
from kb_dr.domain.base_backup import ArchiverStatus, BaseBackupEnd, SourceConfiguration
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Source, WalPosition
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.tablespaces import Tablespace
from kb_dr.errors import BackupInProgress
from kb_dr.ports import BaseBackupStream, Repository, SourceLock
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.stored_backups import SEGMENT_BYTES, SYSTEM, segment, store_objects


class _Lock:
    def check(self) -> None:
        """It is never lost."""


@dataclass
class PlayedSource:
    """A `kb_dr.ports.SourceServer`. A switch of its WAL archives what was written since the last.

    The archive is reached past whatever fails for kb-dr: another program fills it.
    """

    archive: Repository
    server_version: int = 160014
    written: int = 2
    """The segment that is being written."""
    archived: int = 1
    locked: bool = False

    @property
    def summarizes_wal(self) -> bool | None:
        return True if self.server_version >= 170000 else None

    @contextmanager
    def exclusive(self) -> Iterator[SourceLock]:
        if self.locked:
            raise BackupInProgress("lock the source: another backup runs")
        self.locked = True
        try:
            yield _Lock()
        finally:
            self.locked = False

    def describe(self) -> Source:
        made = store_objects(MemoryRepository()).source
        return replace(made, server_version=self.server_version)

    def fingerprint(
        self,
        restore_point: str,
        tables: Sequence[str],
        written: Callable[[Lsn], object] = lambda lsn: None,
    ) -> tuple[Fingerprint, tuple[str, ...]]:
        lsn = self._at(0x2000)
        written(lsn)
        return Fingerprint(restore_point, lsn, ()), ("a table was locked",)

    def configuration(self) -> SourceConfiguration:
        return SourceConfiguration({"/etc/postgresql/postgresql.conf": b"port = 5432\n"}, ())

    def tablespaces(self) -> tuple[Tablespace, ...]:
        return ()

    def switch_wal(self) -> Lsn:
        for number in range(self.archived + 1, self.written + 1):
            # A few bytes long: nobody reads it here.
            self.archive.put(layout.wal_key(SYSTEM, segment(number).name, "0" * 64), b"wal")
        self.archived = self.written
        reached = self._at(0x3000)
        self.written += 1
        return reached

    def archiver(self) -> ArchiverStatus:
        return ArchiverStatus("on", "kb-dr wal push %p", 1, 0, None, None, None, None)

    def facts(self) -> SourceFacts:
        return SourceFacts(
            server_version=self.server_version,
            system_identifier=SYSTEM,
            segment_bytes=SEGMENT_BYTES,
            is_standby=False,
            written_lsn=self._at(0x100),
            timeline=1,
            now=datetime(2026, 11, 20, 2, tzinfo=UTC),
            wal_level="replica",
            max_wal_senders=10,
            archive_timeout_seconds=0,
            waiting_segments=None,
            may_replicate=True,
            summarizes_wal=self.summarizes_wal,
        )

    def _at(self, offset: int) -> Lsn:
        return segment(self.written).start.plus(offset)


class _Stream:
    def __init__(self, tar: bytes, wal: Callable[[], WalPosition]) -> None:
        self._tar, self._wal = tar, wal
        self._left = io.BytesIO(tar)

    def read(self, size: int = -1, /) -> bytes:
        return self._left.read(size)

    def finish(self) -> BaseBackupEnd:
        digest = hashlib.sha256(self._tar).hexdigest()
        return BaseBackupEnd(self._wal(), len(self._tar), digest, b"postgres manifest")


@dataclass
class PlayedProgram:
    """A `kb_dr.ports.BaseBackupProgram`: a tar of a few hundred bytes."""

    source: PlayedSource

    @property
    def tools(self) -> dict[str, str]:
        return {"pg_basebackup": "16.14"}

    @contextmanager
    def stream(
        self,
        label: str,
        tablespaces: Sequence[Tablespace] = (),
        *,
        parent_manifest_zst: bytes | None = None,
    ) -> Iterator[BaseBackupStream]:
        # Its own switch at the start of a backup leaves the segment before to the archiver.
        self.source.switch_wal()
        begun = self.source.written
        tar = hashlib.shake_256(parent_manifest_zst or b"full").digest(350)
        start, stop = (segment(begun).start.plus(each) for each in (0x28, 0x1000))
        yield _Stream(tar, lambda: WalPosition(1, start, stop))
