"""The table of contents of pg_dump's archives, read as pg_restore reads it.

Its listing is for people: names with spaces and line breaks cannot be told apart in it. What is
read here is exact, and held against that listing by who uses it.
Source: PostgreSQL, src/bin/pg_dump/pg_backup_archiver.c, ReadHead and ReadToc.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from kb_dr.domain.dump_contents import ContentsEntry, DumpContents
from kb_dr.errors import ChecksumMismatch, ConfigurationError, PostgresProgramMissing

_MAGIC = b"PGDMP"
_CUSTOM, _TAR = 1, 3
"""A directory calls the format of its own table of contents that of tar."""

_OLDEST, _NEWEST = (1, 14), (1, 16)
"""Of PostgreSQL 12, and of 17 and 18."""
_COMPRESSION_BY_NAME = (1, 15)
_RELKIND = (1, 16)

_LONGEST = 1 << 30
"""Bytes of a text; PostgreSQL itself makes none longer."""

_EXTENSION = re.compile(r' WITH SCHEMA (?:"((?:[^"]|"")+)"|([^\s";]+));\s*\Z')

_HINT = "Use another copy or another dump; `pg_restore --list FILE` shows what can be read of it."


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive says of itself."""

    contents: DumpContents
    tablespaces: frozenset[str]
    """Those that something in it lies in."""

    @property
    def major(self) -> int:
        """Of the pg_dump that wrote it; an older pg_restore does not promise to read it."""
        return _major(self.contents.program_version)


def read_archive(path: Path) -> Archive:
    """What is in an archive: a file of the custom format, or a directory.

    ChecksumMismatch when it is none, or ends before its table of contents does; ConfigurationError
    when it cannot be read; PostgresProgramMissing when a newer PostgreSQL wrote it than is known.
    """
    in_directory = path.is_dir()
    try:
        with (path / "toc.dat" if in_directory else path).open("rb") as file:
            return _Reader(file, path, in_directory=in_directory).read()
    except FileNotFoundError as error:
        if in_directory:
            raise _none(path, "a directory without toc.dat") from error
        raise ConfigurationError(f"read archive {path}: there is no such file") from error
    except OSError as error:
        raise ConfigurationError(f"read archive {path}: {error.strerror}") from error


class _Reader:
    def __init__(self, file: IO[bytes], path: Path, *, in_directory: bool) -> None:
        self._file = file
        self._path = path
        self._in_directory = in_directory
        self._integer_bytes = 4
        self._offset_bytes = 8

    def read(self) -> Archive:
        version = self._head()
        for _ in range(7):  # when it was made, by a clock without a time zone
            self._integer()
        database, server, program = self._text(), self._text(), self._text()
        if not (database and server and program and _major(server) and _major(program)):
            raise self._damaged(f"dumped from {server!r} by pg_dump {program!r}")
        count = self._integer()
        if count < 0:
            raise self._damaged(f"{count} entries")
        tablespaces: set[str] = set()
        entries = tuple(self._entry(version, tablespaces.add) for _ in range(count))
        if len({each.id for each in entries}) != count:
            raise self._damaged("two entries with one id")
        return Archive(
            DumpContents(
                database=database,
                server_version=server,
                program_version=program,
                entries=entries,
            ),
            frozenset(tablespaces),
        )

    def _head(self) -> tuple[int, int]:
        magic = self._file.read(len(_MAGIC))
        if magic != _MAGIC:
            raise _none(self._path, _looks_like(magic, self._file))
        major, minor, _revision = self._bytes(3)
        version = (major, minor)
        if version > _NEWEST:
            raise PostgresProgramMissing(
                f"read archive {self._path}: its format is {major}.{minor}, expected at most "
                f"{_NEWEST[0]}.{_NEWEST[1]}",
                hint="A newer PostgreSQL wrote it: load it with pg_restore of that version.",
            )
        if version < _OLDEST:
            raise _none(self._path, f"format {major}.{minor}, of PostgreSQL 11 or older")
        self._integer_bytes, self._offset_bytes, form = self._bytes(3)
        if not 1 <= self._integer_bytes <= 8 or not 1 <= self._offset_bytes <= 8:
            raise self._damaged("numbers of no length")
        if form != (_TAR if self._in_directory else _CUSTOM):
            raise _none(self._path, f"format number {form}")
        if version >= _COMPRESSION_BY_NAME:
            self._bytes(1)
        else:
            self._integer()
        return version

    def _entry(self, version: tuple[int, int], note: Callable[[str], None]) -> ContentsEntry:
        number = self._integer()
        if number <= 0:
            raise self._damaged(f"entry {number}")
        self._integer()  # whether data follows
        self._text()  # the catalogue it stood in
        self._text()  # and its oid
        name, kind = self._text(), self._text()
        self._integer()  # section
        making = self._text()
        for _ in range(2):  # how to drop it, and to copy into it
            self._text()
        schema, tablespace, _access_method = self._text(), self._text(), self._text()
        if version >= _RELKIND:
            self._integer()
        owner = self._text()
        self._text()  # whether it has oids
        depends_on: list[int] = []
        while (word := self._text()) is not None:
            if not word.isdigit():
                raise self._damaged(f"entry {number} depends on {word!r}")
            depends_on.append(int(word))
        if self._in_directory:
            self._text()  # its file
        else:
            self._bytes(1 + self._offset_bytes)
        if not kind or name is None:
            raise self._damaged(f"entry {number} without a kind or a name")
        if tablespace:
            note(tablespace)
        if kind == "EXTENSION":
            schema = _schema_of_extension(making or "")
        return ContentsEntry(
            id=number,
            kind=kind,
            schema=schema or None,
            name=name,
            owner=owner or "",
            depends_on=tuple(dict.fromkeys(depends_on)),
        )

    def _integer(self) -> int:
        sign, *rest = self._bytes(1 + self._integer_bytes)
        value = int.from_bytes(bytes(rest), "little")
        return -value if sign else value

    def _text(self) -> str | None:
        length = self._integer()
        if length < 0:
            return None
        if length > _LONGEST:
            raise self._damaged(f"a text of {length} bytes")
        # Names are in the encoding of the database: what is none of ours stays as bytes.
        return self._bytes(length).decode("utf-8", "surrogateescape")

    def _bytes(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise self._damaged("it ends in its table of contents")
        return data

    def _damaged(self, seen: str) -> ChecksumMismatch:
        return ChecksumMismatch(f"read archive {self._path}: {seen}", hint=_HINT)


def _none(path: Path, seen: str) -> ChecksumMismatch:
    return ChecksumMismatch(
        f"read archive {path}: {seen}, expected an archive of pg_dump (custom or directory)",
        hint=_HINT,
    )


def _looks_like(magic: bytes, file: IO[bytes]) -> str:
    """What a file that is no archive seems to be."""
    if not magic:
        return "an empty file"
    if magic.startswith(b"\x1f\x8b"):
        return "a file of gzip"
    if magic.startswith(b"\x28\xb5\x2f\xfd"):
        return "a file of zstd"
    if magic == b"age-e":
        return "a file age encrypted"
    head = magic + file.read(4096)
    if head[257:262] == b"ustar":
        return "a tar"
    if head.startswith((b"--", b"SET ", b"CREATE ")):
        return "statements, for psql"
    return "another file"


def _schema_of_extension(statement: str) -> str | None:
    """It belongs to no schema, but is made in one."""
    found = _EXTENSION.search(statement)
    if found is None:
        return None
    return found[2] or found[1].replace('""', '"')


def _major(version: str | None) -> int:
    """0 when it is no version."""
    found = re.match(r"\d+", version or "")
    return int(found[0]) if found else 0
