"""Dumps in files of their own: what they are called, and what a plain one says of itself.

A plain file begins and ends with comments that psql passes over, one JSON object each:
``-- kb-dr: {"id": …}`` says what was dumped, ``-- kb-dr: {"complete": true, …}`` what of it is in
the file. docs/local-dumps.md describes both.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kb_dr.domain.dump import DumpFormat

MARK = "-- kb-dr: "
"""Begins a line of ours."""

ENDINGS = {
    DumpFormat.PLAIN: ".sql.gz",
    DumpFormat.CUSTOM: ".dump",
    DumpFormat.DIRECTORY: ".dir",
}

CHECKSUM = ".sha256"
"""Ends the name of the file beside it that `sha256sum -c` reads."""

_NAME = re.compile(r"kb-backup-(\d{8}-\d{6})(\.sql\.gz|\.dump|\.dir)")


@dataclass(frozen=True, slots=True)
class DumpHead:
    """What a file says it is a dump of; written before anything was dumped."""

    id: str
    taken: datetime
    """When its snapshot was taken."""
    postgres: int
    """``server_version_num`` of the source."""
    pg_dump: str
    lsn: str
    """Where in the WAL its snapshot was taken."""
    database: str
    extensions: dict[str, str]
    schema_version: str | None


@dataclass(frozen=True, slots=True)
class DumpTail:
    """What a file says is in it; written when all of it was."""

    rows: dict[str, int]
    """Exact count in the snapshot, by schema-qualified name, quoted where SQL needs it."""
    data_blocks: int
    """How many tables' rows stand in the file: also of those that are not counted in ``rows``."""
    data_rows: int
    """How many rows all of them hold together."""


def name_parts(name: str) -> tuple[datetime, DumpFormat] | None:
    """When a file of that name was taken, and what it is; None when it is none of ours."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    (form,) = (each for each, ending in ENDINGS.items() if ending == match[2])
    try:
        return datetime.strptime(match[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC), form
    except ValueError:
        return None


def is_local_file(name: str) -> bool:
    """Whether a file is called as local dumps and their checksums are; also in a directory."""
    return name_parts(name.partition("/")[0].removesuffix(CHECKSUM)) is not None


def head_line(head: DumpHead) -> bytes:
    """The comment a file begins with."""
    return _line(
        {
            "id": head.id,
            "taken": head.taken.astimezone(UTC).isoformat(),
            "postgres": head.postgres,
            "pg_dump": head.pg_dump,
            "lsn": head.lsn,
            "database": head.database,
            "extensions": dict(sorted(head.extensions.items())),
            "schema_version": head.schema_version,
        }
    )


def tail_line(tail: DumpTail) -> bytes:
    """The comment a file ends with."""
    return _line(
        {
            "complete": True,
            "rows": dict(sorted(tail.rows.items())),
            "data_blocks": tail.data_blocks,
            "data_rows": tail.data_rows,
        }
    )


def parse_line(line: bytes) -> DumpHead | DumpTail | None:
    """What a comment of ours says; None for any other line. Raises ValueError when it is damaged.

    Fields that are not known here are passed over: a newer version may add some.
    """
    text = line.decode("utf-8", "surrogateescape").strip()
    if not text.startswith(MARK):
        return None
    found = json.loads(text.removeprefix(MARK))
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    try:
        return _tail(found) if "complete" in found else _head(found)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its fields are not as expected: {error}") from error


def _head(found: Mapping[str, Any]) -> DumpHead:
    version = found["schema_version"]
    return DumpHead(
        id=str(found["id"]),
        taken=datetime.fromisoformat(found["taken"]),
        postgres=int(found["postgres"]),
        pg_dump=str(found["pg_dump"]),
        lsn=str(found["lsn"]),
        database=str(found["database"]),
        extensions={str(name): str(each) for name, each in found["extensions"].items()},
        schema_version=None if version is None else str(version),
    )


def _tail(found: Mapping[str, Any]) -> DumpTail:
    if found["complete"] is not True:
        raise ValueError("it does not say that it is complete")
    return DumpTail(
        rows={str(name): int(rows) for name, rows in found["rows"].items()},
        data_blocks=int(found["data_blocks"]),
        data_rows=int(found["data_rows"]),
    )


def _line(value: Mapping[str, Any]) -> bytes:
    # ASCII alone, and no line ends: whatever a name holds, the comment ends where its line does.
    return f"{MARK}{json.dumps(value, separators=(', ', ': '))}\n".encode("ascii")
