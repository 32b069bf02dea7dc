"""Is a local dump what it was when it was written? Looked at without restoring it.

A file that validates may still not restore: only a restore shows that.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from kb_dr.domain.dump import DumpFormat
from kb_dr.domain.file_validation import (
    FileValidation,
    listed_finding,
    parse_checksums,
    rows_finding,
    size_finding,
    structure_finding,
)
from kb_dr.domain.finding import Finding
from kb_dr.domain.local_dump import CHECKSUM, name_parts
from kb_dr.domain.proof import Outcome
from kb_dr.errors import ChecksumMismatch, KbDrError
from kb_dr.operations.read_plain import GZIP, PlainReading
from kb_dr.ports import HEADER_BYTES, Codec, DumpLoader, Progress

_PIECE_BYTES = 1 << 20
_ARCHIVE = b"PGDMP"
_AGE = b"age-encryption.org/"
_DAMAGED = "Use another file; take a new one with `kb-dr backup dump --to DIR`."


def validate_file(
    path: Path,
    loader: Callable[[], DumpLoader],
    codec: Callable[[], Codec],
    progress: Progress,
    *,
    checksum: bool = True,
) -> FileValidation:
    """Look at a file or a directory: readable, plausible in size, as its checksum says, whole.

    Whatever is wrong is a finding; nothing but a bug is raised. ``loader`` and ``codec`` are
    asked for when it is an archive, or encrypted. Not ``checksum``: it is not asked for, and the
    rest decides.
    """
    try:
        seen = path.stat()
        form, start = _form(path, seen)
        peers = _peers(path)
        bytes_there = _size(path)
    except OSError as error:
        return _unreadable(path, error)
    findings = [
        Finding("file", Outcome.PASSED, f"there, and readable: {form}"),
        size_finding(_taken(path, seen), bytes_there, peers),
    ]
    if bytes_there == 0:
        return FileValidation(str(path), form, 0, None, tuple(findings))
    progress.begin(f"read {path.name}", bytes_there)
    try:
        if stat.S_ISDIR(seen.st_mode):
            findings += _directory(path, loader, progress, checksum=checksum)
            digest = None
        else:
            content, digest = _file(path, form, progress)
            findings += [_checksum(path, digest)] if checksum else []
            findings += content
            if form == DumpFormat.CUSTOM:
                findings.append(_archive(path, loader))
            elif form == "encrypted":
                findings.append(_header(start, codec))
    except OSError as error:
        return _unreadable(path, error)
    finally:
        progress.end()
    expected = _expected(path)
    if expected is not None and form not in (expected, "encrypted"):
        findings.insert(1, Finding("format", Outcome.FAILED, f"{form}, expected {expected}",
                                   _DAMAGED))  # fmt: skip
    return FileValidation(str(path), form, bytes_there, digest, tuple(findings))


def _unreadable(path: Path, error: OSError) -> FileValidation:
    missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
    return FileValidation(
        str(path), "not known", 0, None,
        (
            Finding(
                "file",
                Outcome.FAILED,
                "it is not there" if missing else f"it cannot be read: {error.strerror}",
                "Check the path." if missing else "Run it as the user whose file it is.",
            ),
        ),
    )  # fmt: skip


def _form(path: Path, seen: os.stat_result) -> tuple[str, bytes]:
    """What it is by its contents, and how it begins."""
    if stat.S_ISDIR(seen.st_mode):
        os.scandir(path).close()
        return DumpFormat.DIRECTORY, b""
    if not stat.S_ISREG(seen.st_mode):
        raise OSError(errno.EINVAL, "no file and no directory")
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    if start.startswith(_ARCHIVE):
        return DumpFormat.CUSTOM, start
    if start.startswith(_AGE):
        return "encrypted", start
    if start.startswith(GZIP) or start.lstrip().startswith(b"--"):
        return DumpFormat.PLAIN, start
    return "not known", start


def _expected(path: Path) -> DumpFormat | None:
    """What it is called."""
    parts = name_parts(path.name)
    if parts is not None:
        return parts[1]
    endings = {".gz": DumpFormat.PLAIN, ".sql": DumpFormat.PLAIN, ".dump": DumpFormat.CUSTOM,
               ".dir": DumpFormat.DIRECTORY}  # fmt: skip
    return endings.get(path.suffix)


def _taken(path: Path, seen: os.stat_result) -> datetime:
    parts = name_parts(path.name)
    return parts[0] if parts is not None else datetime.fromtimestamp(seen.st_mtime, UTC)


def _peers(path: Path) -> dict[datetime, int]:
    """The other dumps of its format beside it, as far as they can be looked at."""
    form = _expected(path)
    found: dict[datetime, int] = {}
    with suppress(OSError):
        for other in path.absolute().parent.iterdir():
            parts = name_parts(other.name)
            if parts is not None and parts[1] == form and other.name != path.name:
                with suppress(OSError):
                    found[parts[0]] = _size(other)
    return found


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size


def _pieces(path: Path, progress: Progress) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            progress.advance(len(piece))
            yield piece


def _file(path: Path, form: str, progress: Progress) -> tuple[list[Finding], str]:
    """What its contents show, and the digest of all of it, in one reading."""
    state = hashlib.sha256()
    look = PlainReading() if form == DumpFormat.PLAIN else None
    for piece in _pieces(path, progress):
        state.update(piece)
        if look is not None:
            look.feed(piece)
    if look is not None:
        return _plain(look), state.hexdigest()
    if form == "not known":
        said = "neither SQL, nor gzip, nor an archive of pg_dump, nor encrypted by age"
        return [Finding("format", Outcome.FAILED, said, _DAMAGED)], state.hexdigest()
    return [], state.hexdigest()


def _plain(reading: PlainReading) -> list[Finding]:
    try:
        read = reading.finish()
    except ChecksumMismatch as error:
        # What SQL came out of it says nothing more.
        return [Finding("gzip", Outcome.FAILED, str(error), _DAMAGED)]
    whole = Finding("gzip", Outcome.PASSED, "whole, to its very end")
    findings = [whole] if reading.compressed else []
    structure = structure_finding(read)
    findings.append(structure)
    refused = reading.refused
    if structure.good and refused is not None:
        findings.append(Finding("restore", Outcome.FAILED, f"refused: {refused}", refused.hint))
    if structure.good:
        findings.append(rows_finding(read))
    return findings


def _checksum(path: Path, digest: str) -> Finding:
    beside = path.with_name(path.name + CHECKSUM)
    listed = _listed(beside)
    if isinstance(listed, Finding):
        return listed
    if set(listed) != {path.name}:
        return Finding(
            "checksum",
            Outcome.FAILED,
            f"{beside.name} is for {', '.join(sorted(listed)[:3])}, expected {path.name}",
            "Bring the checksum file that was written with this file.",
        )
    if listed[path.name] != digest:
        seen = f"sha256 {digest}, expected {listed[path.name]}"
        return Finding("checksum", Outcome.FAILED, seen, _DAMAGED)
    return Finding("checksum", Outcome.PASSED, f"sha256 {digest}, as {beside.name} says")


def _listed(beside: Path) -> dict[str, str] | Finding:
    try:
        return parse_checksums(beside.read_text("utf-8", "surrogateescape"))
    except FileNotFoundError:
        return Finding(
            "checksum",
            Outcome.FAILED,
            f"{beside.name} is missing",
            "Bring it from where the file was written, or look without it: --no-checksum.",
        )
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        return Finding(
            "checksum", Outcome.FAILED, f"{beside.name} cannot be read: {said}",
            "Bring the checksum file that was written with this file.",
        )  # fmt: skip


def _directory(
    path: Path, loader: Callable[[], DumpLoader], progress: Progress, *, checksum: bool
) -> list[Finding]:
    """Each file hashed, and the table of contents read."""
    found = {}
    for each in sorted(path.rglob("*")):
        if each.is_file():
            state = hashlib.sha256()
            for piece in _pieces(each, progress):
                state.update(piece)
            found[f"{path.name}/{each.relative_to(path)}"] = state.hexdigest()
    findings = []
    if checksum:
        listed = _listed(path.with_name(path.name + CHECKSUM))
        findings.append(listed if isinstance(listed, Finding) else listed_finding(listed, found))
    return [*findings, _archive(path, loader)]


def _archive(path: Path, loader: Callable[[], DumpLoader]) -> Finding:
    """Whether pg_restore can read its table of contents, and all that is in it."""
    try:
        used = loader()
        contents = used.contents(path)
        # Of a file that is cut short the table of contents, at its beginning, is still whole.
        used.read_through(path)
    except ChecksumMismatch as error:
        return Finding("archive", Outcome.FAILED, str(error), _DAMAGED)
    except KbDrError as error:
        return Finding("archive", Outcome.COULD_NOT_RUN, str(error), error.hint)
    tables = sum(1 for each in contents.entries if each.kind == "TABLE DATA")
    return Finding(
        "archive",
        Outcome.PASSED,
        f"read to its end: {len(contents.entries)} entries, {tables} tables with rows, of "
        f"{contents.database} ({contents.server_version}), by pg_dump {contents.program_version}",
    )


def _header(start: bytes, codec: Callable[[], Codec]) -> Finding:
    try:
        openers = codec().openers(start[:HEADER_BYTES])
    except ChecksumMismatch as error:
        return Finding("encryption", Outcome.FAILED, str(error), _DAMAGED)
    except KbDrError as error:
        return Finding("encryption", Outcome.COULD_NOT_RUN, str(error), error.hint)
    opened = f"{', '.join(openers)} opens it" if openers else "no identity at hand opens it"
    return Finding(
        "encryption",
        Outcome.PASSED,
        f"a header of age, and {opened}; what is encrypted was not looked at",
    )
