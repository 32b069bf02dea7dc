"""A file is looked at without a restore, and each thing that is wrong with it is named."""

import gzip
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr.adapters.log_progress import LogProgress
from kb_dr.domain.file_validation import FileValidation, checksum_text, parse_checksums
from kb_dr.domain.local_dump import head_line, tail_line
from kb_dr.domain.proof import Outcome
from kb_dr.errors import PostgresProgramMissing
from kb_dr.operations.gunzip import Gunzip
from kb_dr.operations.validate_file import validate_file
from kb_dr.ports import DumpLoader
from kb_dr_tests.fakes import PlainCodec
from kb_dr_tests.unit.test_sql_dump import BODY, HEAD, TAIL, WHOLE

NAME = "kb-backup-20261120-020000.sql.gz"


def no_loader() -> DumpLoader:
    raise PostgresProgramMissing("find pg_restore: none here")


def look(path: Path, *, checksum: bool = True) -> FileValidation:
    return validate_file(path, no_loader, PlainCodec, LogProgress(), checksum=checksum)


def outcomes(found: FileValidation) -> dict[str, Outcome]:
    return {each.subject: each.outcome for each in found.findings}


def failed(found: FileValidation) -> dict[str, str]:
    return {each.subject: each.seen for each in found.findings if not each.good}


def put(directory: Path, body: bytes, name: str = NAME) -> Path:
    """A file with the checksum of what it holds beside it."""
    path = directory / name
    path.write_bytes(body)
    put_checksum(path, body)
    return path


def put_checksum(path: Path, body: bytes, name: str = "") -> None:
    text = checksum_text([(name or path.name, hashlib.sha256(body).hexdigest())])
    path.with_name(path.name + ".sha256").write_bytes(text)


def test_a_good_file_passes_with_every_finding(tmp_path: Path) -> None:
    found = look(put(tmp_path, gzip.compress(WHOLE)))

    assert found.verdict == "PASS", found.findings
    assert list(outcomes(found)) == ["file", "size", "checksum", "gzip", "SQL", "rows"]
    assert set(outcomes(found).values()) == {Outcome.PASSED}


def test_a_plain_file_that_is_not_compressed_passes_as_well(tmp_path: Path) -> None:
    assert look(put(tmp_path, WHOLE, "kept.sql")).sound


def test_a_file_of_pg_dump_itself_passes_and_says_that_no_counts_are_recorded(
    tmp_path: Path,
) -> None:
    found = look(put(tmp_path, gzip.compress(BODY)))

    assert found.sound
    assert outcomes(found)["rows"] is Outcome.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("line", "seen"),
    [(b"\\connect kb", "a command of psql"), (b"ALTER DATABASE kb RENAME TO gone;", "more than")],
)
def test_a_file_that_a_restore_would_refuse_does_not_pass(
    tmp_path: Path, line: bytes, seen: str
) -> None:
    body = WHOLE.replace(b"CREATE VIEW", line + b"\nCREATE VIEW", 1)
    found = look(put(tmp_path, gzip.compress(body)))

    assert found.verdict == "FAIL"
    assert seen in failed(found)["restore"]


CODED = gzip.compress(WHOLE)
FLIPPED = CODED[:200] + bytes([CODED[200] ^ 0x10]) + CODED[201:]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b"", {"size": "empty"}),
        (CODED[:-5], {"gzip": "unexpected end of file"}),
        (CODED[: len(CODED) // 2], {"gzip": "unexpected end of file"}),
        (CODED + b"\x00", {"gzip": "behind its end"}),
        (CODED + b"garbage", {"gzip": "behind its end"}),
        (CODED + CODED, {"rows": "there twice"}),
        (CODED[:-8] + b"\x00" * 8, {"gzip": "incorrect data check"}),
        (b"%PDF-1.7 of somebody", {"format": "neither SQL"}),
        (hashlib.shake_256(b"noise").digest(4096), {"format": "neither SQL"}),
        (b"PGDMP\x01\x0e\x00", {"format": "custom, expected plain", "archive": "pg_restore"}),
        (gzip.compress(b"no dump"), {"SQL": "does not begin as pg_dump"}),
        (gzip.compress(WHOLE[: WHOLE.index(b"3\t")]), {"SQL": "within the rows of public.entries"}),
        (gzip.compress(WHOLE[: WHOLE.index(b"ALTER TABLE")]), {"SQL": "last line"}),
        (gzip.compress(head_line(HEAD) + BODY), {"rows": "with the counts, is missing"}),
        (gzip.compress(WHOLE.replace(b"2\t$$", b"9\n2\t$$")), {"rows": "4 rows, expected 3"}),
        (gzip.compress(WHOLE.replace(b"1\tit's\n", b"")), {"rows": "2 rows, expected 3"}),
        (
            gzip.compress(
                head_line(HEAD) + BODY + tail_line(replace(TAIL, rows={"public.other": 1}))
            ),
            {"rows": "no rows of it stand here"},
        ),
        (gzip.compress(WHOLE.replace(b'"complete": true, "r', b'"complete": tru')),
         {"rows": "cannot be relied on"}),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else " and ".join(value.values()),
)  # fmt: skip
def test_each_damage_has_a_finding_of_its_own(
    tmp_path: Path, body: bytes, wrong: dict[str, str]
) -> None:
    found = look(put(tmp_path, body))

    assert found.verdict == "FAIL"
    seen = failed(found)
    assert set(wrong) == set(seen), seen
    for subject, words in wrong.items():
        assert words in seen[subject], seen


def test_a_flipped_bit_is_seen_with_its_checksum_and_without(tmp_path: Path) -> None:
    path = put(tmp_path, CODED)
    path.write_bytes(FLIPPED)

    assert "checksum" in failed(look(path))
    path.with_name(NAME + ".sha256").unlink()
    assert failed(look(path, checksum=False))


def test_a_checksum_that_is_missing_foreign_or_no_checksum_fails(tmp_path: Path) -> None:
    path = put(tmp_path, CODED)
    beside = path.with_name(NAME + ".sha256")

    beside.unlink()
    assert "is missing" in failed(look(path))["checksum"]
    assert look(path, checksum=False).sound
    put_checksum(path, CODED, "kb-backup-20261119-020000.sql.gz")
    assert "is for kb-backup-20261119" in failed(look(path))["checksum"]
    put_checksum(path, b"other")
    assert "expected" in failed(look(path))["checksum"]
    for text in ("", "no digest\n", "0" * 64 + "\n"):
        beside.write_text(text)
        assert "cannot be read" in failed(look(path))["checksum"]


def test_what_is_not_there_or_cannot_be_read_fails(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    assert "not there" in failed(look(tmp_path / NAME))["file"]
    assert "not there" in failed(look(tmp_path / "pipe" / NAME))["file"]
    assert "cannot be read" in failed(look(tmp_path / "pipe"))["file"]


@pytest.mark.parametrize(
    ("sizes", "sound"),
    [
        ({"20261114-020000": 2.1, "20261119-020000": 2.1}, False),
        ({"20261114-020000": 1.9, "20261119-020000": 1.9}, True),
        ({"20261101-020000": 100.0}, True),  # long ago
        ({"20261121-020000": 100.0}, True),  # later than itself
    ],
)
def test_a_size_far_below_the_mean_of_the_seven_days_before_fails(
    tmp_path: Path, sizes: dict[str, float], sound: bool
) -> None:
    for stamp, times in sizes.items():
        body = b"x" * int(times * len(CODED))
        (tmp_path / f"kb-backup-{stamp}.sql.gz").write_bytes(body)
        (tmp_path / f"kb-backup-{stamp}.dump").write_bytes(b"x" * (1 << 20))  # another format

    found = look(put(tmp_path, CODED))

    assert found.sound is sound, found.findings
    if not sound:
        assert "48% of the mean of the 2" in failed(found)["size"]


def test_an_archive_that_nothing_here_can_read_does_not_pass(tmp_path: Path) -> None:
    found = look(put(tmp_path, b"PGDMP\x01\x0e\x00", "kb-backup-20261120-020000.dump"))

    assert outcomes(found)["archive"] is Outcome.COULD_NOT_RUN
    assert found.verdict == "FAIL"


def directory(place: Path, change: Callable[[Path], object] = lambda _: None) -> FileValidation:
    """A dump in a directory, changed after its checksums were written."""
    path = place / "kb-backup-20261120-020000.dir"
    path.mkdir()
    for name in ("toc.dat", "1.dat.gz"):
        (path / name).write_bytes(name.encode())
    listed = [
        (f"{path.name}/{each.name}", hashlib.sha256(each.read_bytes()).hexdigest())
        for each in path.iterdir()
    ]
    path.with_name(path.name + ".sha256").write_bytes(checksum_text(listed))
    change(path)
    return look(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: (path / "1.dat.gz").unlink(), "missing"),
        (lambda path: (path / "2.dat.gz").write_bytes(b"x"), "not in the list"),
        (lambda path: (path / "1.dat.gz").write_bytes(b"x"), "expected"),
    ],
)
def test_each_file_of_a_directory_is_held_against_its_checksum(
    tmp_path: Path, change: Callable[[Path], object], words: str
) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").mkdir()

    assert set(failed(directory(tmp_path / "good"))) == {"archive"}
    assert words in failed(directory(tmp_path / "bad", change))["checksum"]


def test_what_is_encrypted_is_looked_at_as_far_as_its_header(tmp_path: Path) -> None:
    found = look(put(tmp_path, b"age-encryption.org/v1\nnonsense", "x.age"))

    assert outcomes(found)["encryption"] is not Outcome.NOT_APPLICABLE


def pieces(coded: bytes, lengths: Sequence[int]) -> bytes:
    gunzip, plain = Gunzip(), b""
    for length in lengths:
        plain += b"".join(gunzip.feed(coded[:length]))
        coded = coded[length:]
    plain += b"".join(gunzip.feed(coded))
    gunzip.finish()
    return plain


def test_gzip_is_read_in_any_pieces_also_of_several_members_and_much_from_little() -> None:
    plain = bytes(5 << 20) + b"end"

    assert pieces(gzip.compress(plain), [1, 2, 3]) == plain
    assert pieces(gzip.compress(plain) + gzip.compress(b"more"), [1] * 50) == plain + b"more"


def test_what_sha256sum_prints_is_read_back() -> None:
    digest = "0" * 64

    assert parse_checksums(f"{digest}  a b.sql.gz\n{digest} *c\n") == {
        "a b.sql.gz": digest,
        "c": digest,
    }
