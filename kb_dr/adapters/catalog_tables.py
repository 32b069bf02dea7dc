"""The tables of the catalog and the classes of their rows: columns are fields, in order."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from psycopg import ServerCursor, sql

from kb_dr.adapters.postgres_session import Session
from kb_dr.domain.catalog_rows import (
    BackupRows,
    CopyRow,
    FailureRow,
    HoldRow,
    LogRow,
    ManifestRow,
    ProblemRow,
    ProofRow,
    PurgeRow,
)


@dataclass(frozen=True, slots=True)
class Table:
    """One table."""

    name: str
    row: type
    order: str
    """Columns behind ``backup_id`` that give rows the order of derive_rows.py."""
    of: Callable[[BackupRows], Iterable[Any]]

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(each.name for each in fields(self.row))

    def column_list(self) -> sql.Composed:
        return sql.SQL(", ").join(sql.Identifier(name) for name in self.columns)


@dataclass(frozen=True, slots=True)
class _TokenRow:
    backup_id: str
    token: str


TABLES: tuple[Table, ...] = (
    Table("backup_logs", LogRow, "id", lambda rows: (rows.log,)),
    Table("backup_manifests", ManifestRow, "digest", lambda rows: rows.manifests),
    Table("backup_copies", CopyRow, "position", lambda rows: rows.copies),
    Table("backup_proofs", ProofRow, 'finished, id collate "C", copy', lambda rows: rows.proofs),
    Table("backup_holds", HoldRow, 'at, id collate "C"', lambda rows: rows.holds),
    Table("backup_purges", PurgeRow, 'at, id collate "C"', lambda rows: rows.purges),
    Table(
        "backup_failures", FailureRow, 'failed_at, attempt collate "C"', lambda rows: rows.failures
    ),
    Table("backup_problems", ProblemRow, 'problem collate "C"', lambda rows: rows.problems),
    Table(
        "catalog_tokens", _TokenRow, "token", lambda rows: (_TokenRow(rows.backup_id, rows.token),)
    ),
)


def copy_in(session: Session, schema: str, batch: Sequence[BackupRows]) -> None:
    """Append all rows of these backups to the tables of a schema."""
    for table in TABLES:
        values = [_values(row) for each in batch for row in table.of(each)]
        if not values:
            continue
        words = sql.SQL("copy {}.{} ({}) from stdin").format(
            sql.Identifier(schema), sql.Identifier(table.name), table.column_list()
        )
        with session.cursor().copy(words) as copy:
            for each in values:
                copy.write_row(each)


def select_table(
    session: Session, table: Table, backup_id: str | None = None, *, name: str = ""
) -> Iterator[Any]:
    """The rows of one table in order; with a ``name`` by a cursor of the server's."""
    words = sql.SQL("select {} from {}").format(table.column_list(), sql.Identifier(table.name))
    if backup_id is not None:
        words += sql.SQL(" where backup_id = %s")
    words += sql.SQL(' order by backup_id collate "C", ') + sql.SQL(table.order)
    given = None if backup_id is None else (backup_id,)
    with session.cursor(name) if name else session.cursor() as cursor:
        if isinstance(cursor, ServerCursor):
            cursor.itersize = 500
        for values in cursor.execute(words, given):
            yield table.row(*(tuple(v) if isinstance(v, list) else v for v in values))


def gathered(found: Sequence[Sequence[Any]]) -> BackupRows | None:
    """One backup's rows, a sequence a table in the order of TABLES; None without `backup_logs`."""
    logs, manifests, copies, proofs, holds, purges, failures, problems, tokens = found
    if not logs:
        return None
    return BackupRows(
        log=logs[0],
        manifests=tuple(manifests),
        copies=tuple(copies),
        proofs=tuple(proofs),
        holds=tuple(holds),
        purges=tuple(purges),
        failures=tuple(failures),
        problems=tuple(problems),
        token=tokens[0].token if tokens else "",
    )


def _values(row: Any) -> tuple[Any, ...]:
    found = (getattr(row, each.name) for each in fields(row))
    # A tuple would be sent as a row type.
    return tuple(list(value) if isinstance(value, tuple) else _text(value) for value in found)


def _text(value: Any) -> Any:
    """PostgreSQL's text holds no NUL: records are JSON, and JSON may."""
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
