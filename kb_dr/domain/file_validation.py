"""What looking at one local dump showed, and the rules that need no file to be opened."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kb_dr.domain.finding import Finding, all_good
from kb_dr.domain.local_dump import DumpTail
from kb_dr.domain.proof import Outcome
from kb_dr.domain.sql_dump import SqlDump, Table, table_of
from kb_dr.domain.wording import first_few, size

_NEWER = "Use another file; take a new one with `kb-dr backup dump --to DIR`."
_LEAST_SHARE = 0.5
_SPAN = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class FileValidation:
    """What one look at one file, or directory, showed."""

    path: str
    form: str
    """What it is: plain, custom, directory, encrypted, or not known."""
    size_bytes: int
    sha256: str | None
    """Of the file as it is; None of a directory, and where it could not be read."""
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether all of it is good; what could not be looked at is not."""
        return all_good(self.findings)

    @property
    def verdict(self) -> str:
        """PASS or FAIL, for people."""
        return "PASS" if self.sound else "FAIL"


def size_finding(taken: datetime, size_bytes: int, peers: Mapping[datetime, int]) -> Finding:
    """Whether a size is plausible: not nothing, and not below half of the mean of those taken in
    the seven days before.

    ``peers``: when the others of its format beside it were taken, and their sizes.
    """
    if size_bytes == 0:
        return Finding("size", Outcome.FAILED, "0 bytes: it is empty", _NEWER)
    recent = [each for at, each in peers.items() if taken - _SPAN <= at < taken]
    if not recent:
        return Finding(
            "size", Outcome.PASSED, f"{size(size_bytes)}; none of the 7 days before to compare with"
        )
    mean = sum(recent) / len(recent)
    seen = (
        f"{size(size_bytes)}, {size_bytes / mean:.0%} of the mean of the {len(recent)} of the "
        f"7 days before ({size(mean)})"
    )
    if size_bytes < _LEAST_SHARE * mean:
        return Finding(
            "size",
            Outcome.FAILED,
            f"{seen}, expected at least {_LEAST_SHARE:.0%}",
            "Find out what is missing: compare the tables of both. Until then rely on the older.",
        )
    return Finding("size", Outcome.PASSED, seen)


def structure_finding(read: SqlDump) -> Finding:
    """Whether it is one plain dump, from its beginning to its end."""
    subject = "SQL"
    if not read.begins:
        return Finding(subject, Outcome.FAILED, "it does not begin as pg_dump writes it", _NEWER)
    if read.cut_off_in:
        return Finding(subject, Outcome.FAILED, f"it ends within {read.cut_off_in}", _NEWER)
    if not read.complete:
        return Finding(
            subject,
            Outcome.FAILED,
            "pg_dump's last line, that the dump is complete, is not at its end",
            _NEWER,
        )
    return Finding(
        subject,
        Outcome.PASSED,
        f"whole, with the rows of {read.data_blocks} tables, {read.data_rows} in all",
    )


def rows_finding(read: SqlDump) -> Finding:
    """Whether the rows that stand in it are those its last line says were in the snapshot."""
    subject = "rows"
    if read.damaged_notes:
        said = f"a line of kb-dr in it cannot be relied on: {read.damaged_notes[0]}"
        return Finding(subject, Outcome.FAILED, said, _NEWER)
    if read.tail is None:
        if read.head is not None:
            return Finding(
                subject, Outcome.FAILED, "its last line, with the counts, is missing", _NEWER
            )
        return Finding(
            subject, Outcome.NOT_APPLICABLE, "kb-dr did not write it: it records no counts"
        )
    if read.head is None or not read.tail_is_last:
        return Finding(subject, Outcome.FAILED, "it was put together of several files", _NEWER)
    wrong = row_differences(read.tail, read.rows)
    if wrong:
        return Finding(subject, Outcome.FAILED, "; ".join(first_few(wrong)), _NEWER)
    return Finding(
        subject,
        Outcome.PASSED,
        f"{read.data_rows} in {read.data_blocks} tables, as recorded; "
        f"{len(read.tail.rows)} tables counted in the snapshot, each the same",
    )


def row_differences(tail: DumpTail, rows: Mapping[Table, int]) -> Sequence[str]:
    """In what the rows that stand in a file differ from what it says of itself."""
    wrong = []
    if (len(rows), sum(rows.values())) != (tail.data_blocks, tail.data_rows):
        wrong.append(
            f"{sum(rows.values())} rows in {len(rows)} tables, expected {tail.data_rows} in "
            f"{tail.data_blocks}"
        )
    for name, expected in tail.rows.items():
        table = table_of(name)
        found = None if table is None else rows.get(table)
        if found != expected:
            seen = "no rows of it stand here" if found is None else f"{found} rows"
            wrong.append(f"{name}: {seen}, expected {expected}")
    return wrong


def listed_finding(listed: Mapping[str, str], found: Mapping[str, str]) -> Finding:
    """Whether the files of a directory are those its checksums name, each with its digest."""
    wrong = [
        *(f"{name}: missing" for name in sorted(set(listed) - set(found))),
        *(f"{name}: not in the list of checksums" for name in sorted(set(found) - set(listed))),
        *(
            f"{name}: sha256 {found[name]}, expected {listed[name]}"
            for name in sorted(set(found) & set(listed))
            if found[name] != listed[name]
        ),
    ]
    if wrong:
        return Finding("checksum", Outcome.FAILED, "; ".join(first_few(wrong)), _NEWER)
    return Finding("checksum", Outcome.PASSED, f"sha256 of all {len(found)} files as recorded")


def parse_checksums(text: str) -> dict[str, str]:
    """File name to digest, of what sha256sum prints. Raises ValueError for anything else."""
    found = {}
    for line in text.splitlines():
        digest, mark, name = line[:64], line[64:66], line[66:]
        if mark not in ("  ", " *") or not name or not _is_digest(digest):
            raise ValueError(f"not a line of sha256sum: {line[:100]!r}")
        found[name] = digest
    if not found:
        raise ValueError("it is empty")
    return found


def checksum_text(digests: Iterable[tuple[str, str]]) -> bytes:
    """What `sha256sum -c` reads: file name and digest, in this order."""
    return "".join(f"{digest}  {name}\n" for name, digest in digests).encode()


def _is_digest(text: str) -> bool:
    return len(text) == 64 and all(each in "0123456789abcdef" for each in text)
