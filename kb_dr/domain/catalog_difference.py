"""What the catalog says and the buckets do not, or the reverse."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from kb_dr.domain.catalog_rows import BackupRows


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which they disagree."""

    backup_id: str
    where: str
    """A table, or a column of it."""
    catalog: str
    """What the catalog says, in words."""
    buckets: str
    """What the buckets say."""


_SHOWN = 80


def missing_rows(found: BackupRows) -> Difference:
    """A backup the catalog does not show."""
    return Difference(found.backup_id, "backup_logs", "nothing", found.log.status)


def surplus_rows(backup_id: str, status: str) -> Difference:
    """A backup that only the catalog shows."""
    return Difference(backup_id, "backup_logs", status, "nothing")


def differences(catalog: BackupRows, buckets: BackupRows) -> Iterator[Difference]:
    """Where the rows of one backup differ; none when they are equal."""
    yield from _columns(buckets.backup_id, "backup_logs", catalog.log, buckets.log)
    for each in fields(BackupRows):
        if each.name in ("log", "token"):
            continue
        table = f"backup_{each.name}"
        mine, theirs = getattr(catalog, each.name), getattr(buckets, each.name)
        if len(mine) == len(theirs):
            for one, other in zip(mine, theirs, strict=True):
                yield from _columns(buckets.backup_id, table, one, other)
        else:
            rows = f"{len(mine)} rows", f"{len(theirs)} rows"
            yield Difference(buckets.backup_id, table, *rows)


def _columns(backup_id: str, table: str, one: Any, other: Any) -> Iterator[Difference]:
    for each in fields(one):
        mine, theirs = getattr(one, each.name), getattr(other, each.name)
        if mine != theirs:
            yield Difference(backup_id, f"{table}.{each.name}", _shown(mine), _shown(theirs))


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
