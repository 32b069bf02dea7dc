"""Write a dump into a file of its own, for people with a shell: whole, or nothing at all."""

import errno
import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.dump import DumpFormat
from kb_dr.domain.file_validation import checksum_text, row_differences, structure_finding
from kb_dr.domain.local_dump import (
    CHECKSUM,
    ENDINGS,
    DumpHead,
    DumpTail,
    head_line,
    tail_line,
)
from kb_dr.domain.manifest import Source
from kb_dr.domain.sql_dump import SqlDump, SqlDumpReader
from kb_dr.domain.wording import first_few, size
from kb_dr.errors import NotEnoughSpace, PostgresCommandFailed, VerificationError
from kb_dr.ports import (
    Clock,
    DumpProgram,
    DumpSource,
    FrozenSource,
    NewFile,
    Progress,
    WholeFiles,
    Writable,
)

_PIECE_BYTES = 1 << 20
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class LocalDump:
    """One dump in a file, or a directory, of its own."""

    id: str
    path: str
    checksum_path: str
    format: DumpFormat
    taken: datetime
    """When its snapshot was taken."""
    seconds: float
    size_bytes: int
    plain_bytes: int | None
    """What pg_dump wrote; None of a directory, whose files it compresses itself."""
    md5: str | None
    """Of the file as it is stored; None of a directory."""
    sha256: str
    """Of the file as it is stored; of a directory's list of checksums, which names every file."""
    database: str
    lsn: str
    postgres: int
    """``server_version_num`` of the source."""
    extensions: dict[str, str]
    schema_version: str | None
    tools: dict[str, str]
    rows: dict[str, int]
    """Exact counts in the snapshot."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LocalDumpTools:
    """What a dump into a file is told."""

    service: str
    tables: Sequence[str]
    """Those whose rows are counted; empty: every one. All are dumped."""
    jobs: int


def write_local_dump(
    dumps: DumpSource,
    program: DumpProgram,
    files: WholeFiles,
    clock: Clock,
    progress: Progress,
    tools: LocalDumpTools,
    *,
    directory: Path,
    form: DumpFormat,
) -> LocalDump:
    """Dump the database into a new file in ``directory``, with its checksum beside it.

    Both appear, or neither does; what a plain file holds was counted against the snapshot before
    it appears. Raises what the ports raise, NotEnoughSpace and, when what pg_dump wrote is not
    what was in the snapshot, VerificationError.
    """
    files.make_directory(directory)
    began = clock.monotonic()
    progress.begin("dump")
    try:
        with dumps.freeze(tools.tables) as frozen:
            described = frozen.describe()
            run = _Run(described, frozen, program, files, progress, tools,
                       _free_moment(directory, clock.now()), directory, form)  # fmt: skip
            done = run.into_directory() if form is DumpFormat.DIRECTORY else run.into_file()
    finally:
        progress.end()
    return LocalDump(
        id=str(run.id),
        path=str(run.path),
        checksum_path=str(run.checksum_path),
        format=form,
        taken=run.taken,
        seconds=clock.monotonic() - began,
        size_bytes=done.size_bytes,
        plain_bytes=done.plain_bytes,
        md5=done.md5,
        sha256=done.sha256,
        database=described.database,
        lsn=str(frozen.place.lsn),
        postgres=described.server_version,
        extensions=described.extensions,
        schema_version=described.schema_version,
        tools=program.tools,
        rows=done.rows,
        notes=done.notes,
    )


@dataclass(frozen=True, slots=True)
class _Done:
    size_bytes: int
    plain_bytes: int | None
    md5: str | None
    sha256: str
    rows: dict[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """One dump while it is written."""

    described: Source
    frozen: FrozenSource
    program: DumpProgram
    files: WholeFiles
    progress: Progress
    tools: LocalDumpTools
    taken: datetime
    directory: Path
    form: DumpFormat

    @property
    def id(self) -> BackupId:
        return BackupId.of(self.tools.service, BackupKind.DUMP, self.taken)

    @property
    def path(self) -> Path:
        return self.directory / (layout.local_dump_name(self.id.stamp) + ENDINGS[self.form])

    @property
    def checksum_path(self) -> Path:
        return self.path.with_name(self.path.name + CHECKSUM)

    def into_file(self) -> _Done:
        with (
            self.files.new_file(self.path) as file,
            self.files.new_file(self.checksum_path) as sums,
        ):
            stored = _Digested(file)
            if self.form is DumpFormat.PLAIN:
                plain_bytes, rows, notes = self._plain(stored)
            else:
                plain_bytes = self._stream(stored, None)
                rows, notes = self._count()
            sums.write(checksum_text([(self.path.name, stored.sha256)]))
            # The checksum last: where it stands, the file does.
            file.appear()
            sums.appear()
        return _Done(stored.length, plain_bytes, stored.md5, stored.sha256, rows, notes)

    def into_directory(self) -> _Done:
        with (
            self.files.new_directory(self.path) as made,
            self.files.new_file(self.checksum_path) as sums,
        ):
            self._dump_into(made.inside)
            rows, notes = self._count()
            listed, length = _digests(made.inside, self.path.name)
            text = checksum_text(listed)
            sums.write(text)
            made.appear()
            sums.appear()
        return _Done(length, None, None, hashlib.sha256(text).hexdigest(), rows, notes)

    def _plain(self, stored: "_Digested") -> tuple[int, dict[str, int], tuple[str, ...]]:
        reader = SqlDumpReader()
        coded = _Gzipped(stored)
        coded.write(head_line(self._head()))
        plain_bytes = self._stream(coded, reader)
        rows, notes = self._count()
        read = reader.finish()
        tail = DumpTail(
            rows=rows,
            data_blocks=read.data_blocks,
            data_rows=read.data_rows,
        )
        self._require_same(read, tail)
        coded.write(tail_line(tail))
        coded.finish()
        return plain_bytes, rows, notes

    def _stream(self, sink: Writable, reader: SqlDumpReader | None) -> int:
        """All that pg_dump writes; its length, once it has ended well."""
        with self.program.stream(self.frozen, self.form) as stream:
            while piece := stream.read(_PIECE_BYTES):
                if reader is not None:
                    reader.feed(piece)
                sink.write(piece)
                self.progress.advance(len(piece))
            return stream.finish().plain_bytes

    def _count(self) -> tuple[dict[str, int], tuple[str, ...]]:
        """Rows of each table in the snapshot, with notes."""
        fingerprint, notes = self.frozen.fingerprint(str(self.id))
        return {
            each.table: each.rows for each in fingerprint.tables if each.rows is not None
        }, notes

    def _head(self) -> DumpHead:
        return DumpHead(
            id=str(self.id),
            taken=self.taken,
            postgres=self.described.server_version,
            pg_dump=self.program.tools["pg_dump"],
            lsn=str(self.frozen.place.lsn),
            database=self.described.database,
            extensions=self.described.extensions,
            schema_version=self.described.schema_version,
        )

    def _require_same(self, read: SqlDump, tail: DumpTail) -> None:
        """What pg_dump wrote is a whole dump, of the rows that were counted."""
        structure = structure_finding(read)
        wrong = [] if structure.good else [structure.seen]
        wrong += row_differences(tail, read.rows)
        if wrong:
            raise VerificationError(
                f"dump {self.described.database}: {'; '.join(first_few(wrong))}",
                hint="No file was left. Run it again; the server's log may say more.",
            )

    def _dump_into(self, inside: Path) -> None:
        try:
            self.program.write_directory(self.frozen, inside, jobs=self.tools.jobs)
        except PostgresCommandFailed as error:
            if os.strerror(errno.ENOSPC) not in str(error):
                raise
            free = size(self.files.free_bytes(self.directory))
            raise NotEnoughSpace(
                f"write {self.path}: No space left on device, {free} free there",
                hint="Nothing of it was left. Make room, or choose a directory on another file "
                "system.",
            ) from error


class _Digested:
    """Hands on to a file, and reckons what was written."""

    def __init__(self, sink: NewFile) -> None:
        self._sink = sink
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self.length = 0

    def write(self, data: bytes, /) -> int:
        self._md5.update(data)
        self._sha256.update(data)
        self.length += len(data)
        return self._sink.write(data)

    def flush(self) -> None:
        """Nothing."""

    @property
    def md5(self) -> str:
        return self._md5.hexdigest()

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


class _Gzipped:
    """Compresses on the way, as gzip does."""

    def __init__(self, sink: Writable) -> None:
        self._sink = sink
        self._coder = zlib.compressobj(_LEVEL, wbits=31)

    def write(self, data: bytes, /) -> int:
        if coded := self._coder.compress(data):
            self._sink.write(coded)
        return len(data)

    def flush(self) -> None:
        """Nothing: finish() ends it."""

    def finish(self) -> None:
        self._sink.write(self._coder.flush())


def _free_moment(directory: Path, now: datetime) -> datetime:
    """Now, or the first second after it that no dump here is named by."""
    while True:
        stamp = BackupId.of("kb", BackupKind.DUMP, now).stamp
        name = layout.local_dump_name(stamp)
        if not any(os.path.lexists(directory / f"{name}{each}") for each in ENDINGS.values()):
            return now
        now += timedelta(seconds=1)


def _digests(directory: Path, name: str) -> tuple[list[tuple[str, str]], int]:
    """Of each file in it, as it will be called; and their length together."""
    found, length = [], 0
    for each in sorted(directory.rglob("*")):
        if each.is_file():
            with each.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                length += file.tell()
            found.append((f"{name}/{each.relative_to(directory)}", digest))
    return found, length
