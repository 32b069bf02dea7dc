"""A file that appears holds what was in its snapshot; where it does not, there is no file."""

import gzip
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from kb_dr.adapters.whole_file import LocalWholeFiles
from kb_dr.domain.dump import DatabaseShape, DumpEnd, DumpFormat, SnapshotPlace
from kb_dr.domain.fingerprint import Fingerprint, TableFingerprint
from kb_dr.domain.local_dump import DumpHead, DumpTail, parse_line
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Source, VectorBaseline
from kb_dr.errors import KbDrError, NotEnoughSpace, PostgresCommandFailed, VerificationError
from kb_dr.operations.write_local_dump import LocalDump, LocalDumpTools, write_local_dump
from kb_dr.ports import FrozenSource, NewFile, SourceLock
from kb_dr_tests.fakes import FakeClock, RecordingProgress
from kb_dr_tests.unit.test_sql_dump import BODY, QUOTED

ROWS = {"public.entries": 3, "public.nothing": 0, QUOTED: 2}


class Frozen:
    """A `kb_dr.ports.FrozenSource` of some counts."""

    snapshot = "00000003-0000001B-1"
    place = SnapshotPlace(1, Lsn(0x3000028))

    def __init__(self, rows: dict[str, int]) -> None:
        self.rows = rows

    def describe(self) -> Source:
        return Source(
            host="db1", system_identifier=7, server_version=160014, segment_bytes=1 << 24,
            database="kb", data_checksums=True, extensions={"vector": "0.8.5"},
            schema_version="0007", settings={}, size_bytes=1000,
        )  # fmt: skip

    def vectors(self) -> tuple[VectorBaseline, ...]:
        raise NotImplementedError

    def shape(self) -> DatabaseShape:
        raise NotImplementedError

    def roles(self) -> tuple[str, ...]:
        raise NotImplementedError

    def fingerprint(self, seed: str) -> tuple[Fingerprint, tuple[str, ...]]:
        tables = tuple(TableFingerprint(name, rows, (), (), ()) for name, rows in self.rows.items())
        return Fingerprint(seed, self.place.lsn, tables), ("a note",)


class Dumps:
    """A `kb_dr.ports.DumpSource`."""

    def __init__(self, rows: dict[str, int]) -> None:
        self.frozen = Frozen(rows)

    def exclusive(self) -> AbstractContextManager[SourceLock]:
        raise NotImplementedError

    @contextmanager
    def freeze(self, tables: Sequence[str]) -> Iterator[Frozen]:
        yield self.frozen


class Stream(io.BytesIO):
    """A `kb_dr.ports.DumpStream`."""

    def finish(self) -> DumpEnd:
        return DumpEnd(len(self.getvalue()), "")


class Program:
    """A `kb_dr.ports.DumpProgram` that writes what it is told."""

    def __init__(self, body: bytes, error: KbDrError | None = None) -> None:
        self.body = body
        self.error = error

    @property
    def tools(self) -> dict[str, str]:
        return {"pg_dump": "16.15"}

    @contextmanager
    def stream(self, frozen: FrozenSource, form: DumpFormat) -> Iterator[Stream]:
        yield Stream(self.body)

    def write_directory(self, frozen: FrozenSource, directory: Path, *, jobs: int) -> None:
        directory.mkdir()
        (directory / "toc.dat").write_bytes(self.body)
        if self.error is not None:
            raise self.error

    def globals(self) -> bytes | None:
        raise NotImplementedError


def dump(
    place: Path,
    *,
    body: bytes = BODY,
    rows: dict[str, int] = ROWS,
    form: DumpFormat = DumpFormat.PLAIN,
    files: LocalWholeFiles | None = None,
    error: KbDrError | None = None,
) -> LocalDump:
    return write_local_dump(
        Dumps(rows),
        Program(body, error),
        files or LocalWholeFiles(),
        FakeClock(),
        RecordingProgress(),
        LocalDumpTools("kb", (), 2),
        directory=place,
        form=form,
    )


def test_a_plain_file_holds_what_pg_dump_wrote_between_two_lines_of_ours(tmp_path: Path) -> None:
    done = dump(tmp_path)

    stored = Path(done.path).read_bytes()
    first, rest = gzip.decompress(stored).split(b"\n", 1)
    assert rest.startswith(BODY)
    head, tail = parse_line(first), parse_line(rest.removeprefix(BODY))
    assert isinstance(head, DumpHead)
    assert (head.id, head.lsn, head.pg_dump) == ("kb-dump-20261120-020000", "0/3000028", "16.15")
    assert tail == DumpTail(rows=ROWS, data_blocks=3, data_rows=5)
    assert done.sha256 == hashlib.sha256(stored).hexdigest()
    assert done.md5 == hashlib.md5(stored, usedforsecurity=False).hexdigest()
    assert (done.size_bytes, done.plain_bytes) == (len(stored), len(BODY))
    assert Path(done.checksum_path).read_text() == f"{done.sha256}  {Path(done.path).name}\n"


def test_a_database_without_tables_is_a_whole_file_too(tmp_path: Path) -> None:
    body = (
        b"--\n-- PostgreSQL database dump\n--\n\n--\n-- PostgreSQL database dump complete\n--\n\n"
    )

    done = dump(tmp_path, body=body, rows={})

    assert done.rows == {}
    lines = gzip.decompress(Path(done.path).read_bytes()).splitlines()
    assert parse_line(lines[-1]) == DumpTail(rows={}, data_blocks=0, data_rows=0)


@pytest.mark.parametrize(
    ("body", "rows", "words"),
    [
        (BODY.replace(b"1\tit's\n", b""), ROWS, "public.entries: 2 rows, expected 3"),
        (BODY, {**ROWS, "public.lost": 0}, "public.lost: no rows of it stand here"),
        (BODY[: BODY.index(b"3\t")], ROWS, "ends within the rows of public.entries"),
        (BODY[: BODY.index(b"ALTER")], ROWS, "complete, is not at its end"),
        (b"", ROWS, "does not begin"),
    ],
)
def test_what_pg_dump_wrote_otherwise_than_it_was_counted_leaves_no_file(
    tmp_path: Path, body: bytes, rows: dict[str, int], words: str
) -> None:
    with pytest.raises(VerificationError, match=words):
        dump(tmp_path, body=body, rows=rows)

    assert os.listdir(tmp_path) == []


class _FullForSums(LocalWholeFiles):
    """The disk is full when the checksum is to appear."""

    @contextmanager
    def new_file(self, path: Path) -> Iterator[NewFile]:  # type: ignore[override]  # a wider type
        with super().new_file(path) as file:
            yield _Full(file) if path.suffix == ".sha256" else file


class _Full:
    def __init__(self, file: NewFile) -> None:
        self.file = file

    def write(self, data: bytes, /) -> int:
        return self.file.write(data)

    def flush(self) -> None: ...

    def appear(self) -> None:
        raise NotEnoughSpace("write it: No space left on device")


@pytest.mark.parametrize("form", list(DumpFormat))
def test_file_and_checksum_appear_both_or_not_at_all(tmp_path: Path, form: DumpFormat) -> None:
    with pytest.raises(NotEnoughSpace):
        dump(tmp_path, form=form, files=_FullForSums())

    assert os.listdir(tmp_path) == []


def test_a_directory_pg_dump_found_no_room_for_is_said_to_be_out_of_space(tmp_path: Path) -> None:
    failed = PostgresCommandFailed("run pg_dump: could not write: No space left on device")

    with pytest.raises(NotEnoughSpace, match=r"kb-backup-20261120-020000\.dir: .* free there"):
        dump(tmp_path, form=DumpFormat.DIRECTORY, error=failed)
    with pytest.raises(PostgresCommandFailed):
        dump(tmp_path, form=DumpFormat.DIRECTORY, error=PostgresCommandFailed("run pg_dump: no"))

    assert os.listdir(tmp_path) == []


def test_two_in_one_second_have_names_of_their_own(tmp_path: Path) -> None:
    names = [Path(dump(tmp_path, form=form).path).name for form in (*DumpFormat, DumpFormat.PLAIN)]

    assert len({name.partition(".")[0] for name in names}) == 4, names
