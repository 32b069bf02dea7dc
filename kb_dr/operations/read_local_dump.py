"""Read a local dump from its beginning to its end, before anything is changed for it."""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

from kb_dr.domain.dump import DumpFormat
from kb_dr.domain.file_validation import (
    listed_finding,
    parse_checksums,
    rows_finding,
    structure_finding,
)
from kb_dr.domain.finding import Finding
from kb_dr.domain.load_plan import LocalDump
from kb_dr.domain.local_dump import CHECKSUM
from kb_dr.domain.proof import Outcome
from kb_dr.errors import ChecksumMismatch, ConfigurationError
from kb_dr.operations.read_plain import GZIP, PlainReading
from kb_dr.ports import DumpLoader, Progress

_PIECE_BYTES = 1 << 20
_ARCHIVE, _ZSTD, _AGE = b"PGDMP", b"\x28\xb5\x2f\xfd", b"age-encryption.org/"
_DAMAGED = "Nothing was changed. Use another file; `kb-dr validate FILE` says all that is wrong."
_SERVER = re.compile(r"-- Dumped from database version (\d+)")


def read_local_dump(
    path: Path, loader: DumpLoader, progress: Progress, *, checksum: bool = True
) -> LocalDump:
    """What is in a file or directory, by its contents and not by its name.

    Raises ConfigurationError when it cannot be read, or its checksum file is missing or for
    another file; ChecksumMismatch when it is empty, damaged, cut short, or no dump.
    """
    path = path.absolute()
    try:
        if path.is_dir():
            return _directory(path, loader, progress, checksum=checksum)
        if not path.is_file():
            seen = "it is no file" if path.exists() else "there is no such file"
            raise ConfigurationError(f"restore {path}: {seen}", hint="Check the path.")
        with path.open("rb") as file:
            start = file.read(512)
        digest_wanted = _listed(path).get(path.name) if checksum else None
        if checksum and digest_wanted is None:
            raise _foreign(path)
        _refuse_others(path, start)
        if start.startswith(_ARCHIVE):
            return _archive(path, loader, progress, digest_wanted)
        return _plain(path, progress, digest_wanted)
    except OSError as error:
        raise ConfigurationError(
            f"restore {path}: {error.strerror or error}", hint="Run it as who may read it."
        ) from error


def trace_of(path: Path) -> tuple[int, ...]:
    """What tells this file, or directory of files, from another or a changed one."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    seen = (each.stat() for each in files)
    return tuple(part for s in seen for part in (s.st_ino, s.st_size, s.st_mtime_ns))


def _refuse_others(path: Path, start: bytes) -> None:
    seen = ""
    if not start:
        seen = "it is empty"
    elif start.startswith(_AGE):
        seen = "it is encrypted by age; decrypt it first: age -d"
    elif start.startswith(_ZSTD):
        seen = "it is compressed by zstd; decompress it first: zstd -d"
    elif start[257:262] == b"ustar":
        seen = "it is a tar, expected .sql.gz, .sql, an archive of pg_dump -Fc, or a directory"
    elif not start.startswith((_ARCHIVE, GZIP)) and b"\x00" in start:
        seen = "it is neither SQL nor an archive of pg_dump"
    if seen:
        raise ChecksumMismatch(f"restore {path}: {seen}", hint=_DAMAGED)


def _archive(
    path: Path, loader: DumpLoader, progress: Progress, digest_wanted: str | None
) -> LocalDump:
    trace = trace_of(path)
    state = hashlib.sha256()
    for piece in _pieces(path, progress):
        state.update(piece)
    vouched = _vouched(path, state.hexdigest(), digest_wanted)
    if digest_wanted is None:
        loader.read_through(path)
    return _of_archive(path, DumpFormat.CUSTOM, loader, trace, vouched, path.stat().st_size)


def _directory(path: Path, loader: DumpLoader, progress: Progress, *, checksum: bool) -> LocalDump:
    trace = trace_of(path)
    found: dict[str, str] = {}
    count = 0
    for each in sorted(path.iterdir()):
        state = hashlib.sha256()
        for piece in _pieces(each, progress):
            state.update(piece)
            count += len(piece)
        found[f"{path.name}/{each.name}"] = state.hexdigest()
    vouched = "no checksum was asked for"
    if not checksum:
        loader.read_through(path)
    else:
        listed = _listed(path)
        if not any(name.startswith(f"{path.name}/") for name in listed):
            raise _foreign(path)
        _require(path, listed_finding(listed, found))
        vouched = f"sha256 of its {len(found)} files as {path.name}{CHECKSUM} says"
    return _of_archive(path, DumpFormat.DIRECTORY, loader, trace, vouched, count)


def _of_archive(
    path: Path,
    form: DumpFormat,
    loader: DumpLoader,
    trace: tuple[int, ...],
    vouched: str,
    count: int,
) -> LocalDump:
    contents = loader.contents(path)
    return LocalDump(
        path=path,
        form=form,
        compressed=False,
        size_bytes=count,
        trace=trace,
        checksum=vouched,
        major=_major(contents.server_version),
        contents=contents,
        extensions=tuple(each.name for each in contents.entries if each.kind == "EXTENSION"),
        roles=tuple(sorted({each.owner for each in contents.entries if each.owner})),
    )


def _plain(path: Path, progress: Progress, digest_wanted: str | None) -> LocalDump:
    trace = trace_of(path)
    state = hashlib.sha256()
    reading = PlainReading()
    for piece in _pieces(path, progress):
        state.update(piece)
        reading.feed(piece)
    try:
        read = reading.finish()
    except ChecksumMismatch as error:
        raise ChecksumMismatch(f"restore {path}: {error}", hint=_DAMAGED) from error
    vouched = _vouched(path, state.hexdigest(), digest_wanted)
    _require(path, structure_finding(read))
    rows = rows_finding(read)
    if rows.outcome is not Outcome.NOT_APPLICABLE:
        _require(path, rows)
    if reading.refused is not None:
        # It would be run there, whatever was asked for.
        raise ConfigurationError(
            f"restore {path}: {reading.refused}",
            hint="Nothing was changed. Dump one database, without --create and without roles, or "
            "as --format=custom; or take out what is named.",
        )
    version = _SERVER.search(reading.begins.decode("utf-8", "replace"))
    return LocalDump(
        path=path,
        form=DumpFormat.PLAIN,
        compressed=reading.compressed,
        size_bytes=path.stat().st_size,
        trace=trace,
        checksum=vouched,
        major=int(version[1]) if version else 0,
        contents=None,
        head=read.head,
        rows=None if read.tail is None else dict(read.tail.rows),
        extensions=tuple(read.extensions),
        roles=tuple(sorted(read.roles)),
    )


def _vouched(path: Path, digest: str, wanted: str | None) -> str:
    if wanted is None:
        return f"sha256 {digest}; no checksum was asked for"
    if digest != wanted:
        raise ChecksumMismatch(
            f"restore {path}: sha256 {digest}, expected {wanted} as {path.name}{CHECKSUM} says",
            hint=_DAMAGED,
        )
    return f"sha256 {digest}, as {path.name}{CHECKSUM} says"


def _listed(path: Path) -> dict[str, str]:
    beside = path.with_name(path.name + CHECKSUM)
    try:
        return parse_checksums(beside.read_text("utf-8", "surrogateescape"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"restore {path}: its checksum file {beside.name} is missing",
            hint="Nothing was changed. Bring it from where the dump was written; or go without: "
            "--no-checksum.",
        ) from error
    except ValueError as error:
        raise ConfigurationError(
            f"read {beside}: {error}",
            hint="Nothing was changed. Bring the one that was written with the dump; or go "
            "without: --no-checksum.",
        ) from error


def _foreign(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"restore {path}: its checksum file {path.name}{CHECKSUM} is for another file",
        hint="Nothing was changed. Bring the one that was written with the dump; or go without: "
        "--no-checksum.",
    )


def _require(path: Path, finding: Finding) -> None:
    if not finding.good:
        raise ChecksumMismatch(f"restore {path}: {finding.subject}: {finding.seen}", hint=_DAMAGED)


def _pieces(path: Path, progress: Progress) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            progress.advance(len(piece))
            yield piece


def _major(version: str) -> int:
    found = re.match(r"\d+", version)
    return int(found[0]) if found else 0
