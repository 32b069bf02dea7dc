"""Fingerprint: what the rows of a cluster were at one restore point.

Counts and samples are taken before and after the restore point is written; what both agree on
is kept, and a proof that pauses recovery at that point must find exactly the same.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from kb_dr.domain.lsn import Lsn

SAMPLED_ROWS = 1000
"""At least so many rows of each critical table, or all of them when it has fewer."""


@dataclass(frozen=True, slots=True)
class SampledRow:
    """One row: which, and what it held."""

    key: str
    """SHA-256 of the seed and the primary key's values as JSON: no key stands in the clear.

    The seed is the name of the restore point. Small keys can be guessed; contents never appear.
    """
    digest: str
    """SHA-256 of all its columns' text forms."""


@dataclass(frozen=True, slots=True)
class TableFingerprint:
    """One table at the restore point."""

    table: str
    """Schema-qualified name."""
    rows: int | None
    """Exact count; None when it moved between the two looks."""
    key_columns: tuple[str, ...]
    columns: tuple[str, ...]
    sample: tuple[SampledRow, ...]
    """The sampled rows that were the same in both looks."""
    row_versions: str | None = None
    """Sum over all row versions: changes with any row added, changed or removed. None when it
    moved between the two looks.
    """
    sampled_through: int | None = None
    """Each row of the sample has a key whose quick hash (kb_dr.adapters.quick_choice) is not above
    that: how a proof finds them again without a digest of every key. None where the smallest key
    digests were chosen: in dumps, and in manifests that are older than this field.
    """


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Counts and samples around one restore point."""

    restore_point: str
    lsn: Lsn
    """The end of the restore point's record."""
    tables: tuple[TableFingerprint, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """What one later look at a fingerprinted table shows."""

    rows: int
    row_versions: str
    digests: Mapping[str, str]
    """Key digest to row digest."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which a restored table differs from its fingerprint."""

    table: str
    seen: str


def row_digest(columns: tuple[str | None, ...]) -> str:
    """SHA-256 over the columns' text forms; NULL is told apart from any text."""
    state = hashlib.sha256()
    for column in columns:
        if column is None:
            state.update(b"N;")
        else:
            body = column.encode()
            state.update(b"%d:" % len(body))
            state.update(body)
    return state.hexdigest()


def agreed(before: TableFingerprint, after: TableFingerprint) -> TableFingerprint:
    """What two looks at one table have in common."""
    kept = set(after.sample)
    # Equal counts alone may hide a row added and another one removed, and the restore point
    # between the two.
    still = before.rows == after.rows and before.row_versions == after.row_versions
    return TableFingerprint(
        table=before.table,
        rows=before.rows if still else None,
        row_versions=before.row_versions if still else None,
        key_columns=before.key_columns,
        columns=before.columns,
        sample=tuple(row for row in before.sample if row in kept)
        if before.columns == after.columns and before.key_columns == after.key_columns
        else (),
        # Of the first look: all of its rows are within it, and so are those both have.
        sampled_through=before.sampled_through,
    )


def differences(
    recorded: TableFingerprint,
    rows: int,
    found: Mapping[str, str],
    row_versions: str | None = None,
) -> tuple[Difference, ...]:
    """How a restored table differs.

    ``found`` maps key digests to row digests; a recorded key that is not there is a lost row.
    Empty means: equal in all that was recorded.
    """
    seen: list[Difference] = []
    if recorded.rows is not None and recorded.rows != rows:
        seen.append(Difference(recorded.table, f"{rows} rows, expected {recorded.rows}"))
    elif recorded.row_versions is not None and recorded.row_versions != row_versions:
        seen.append(Difference(recorded.table, "other row versions than at the restore point"))
    lost = sum(1 for row in recorded.sample if row.key not in found)
    changed = sum(1 for row in recorded.sample if found.get(row.key, row.digest) != row.digest)
    if lost:
        seen.append(
            Difference(recorded.table, f"{lost} of {len(recorded.sample)} sampled rows are missing")
        )
    if changed:
        seen.append(
            Difference(recorded.table, f"{changed} of {len(recorded.sample)} sampled rows differ")
        )
    return tuple(seen)
