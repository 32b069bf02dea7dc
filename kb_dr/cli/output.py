"""How results are printed: tables for people, JSON for machines."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from kb_dr.domain.wording import age as age  # part of what verbs print with
from kb_dr.domain.wording import moment as moment
from kb_dr.domain.wording import size as size
from kb_dr.records import as_builtins

if TYPE_CHECKING:
    from rich.table import Table

_NO_TERMINAL = 200
"""So wide a table is where nothing shows how wide it may be."""


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(as_builtins(value), indent=2, sort_keys=True))


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, caption: str = ""
) -> None:
    """One table on stdout; as wide as the terminal, never cut where there is none.

    On a terminal too narrow for it each row becomes a few lines of its own.
    """
    # Not before a table is printed: what is asked for as JSON has no use for it, nor has a start.
    from rich.console import Console

    from kb_dr.cli.column_widths import column_widths
    from kb_dr.cli.long_table import LONG, natural_widths, print_long

    # No markup: a reason somebody typed may hold brackets, and must not break the table it is in.
    console = Console(highlight=False, markup=False, emoji=False)
    cells = [[_cell(value) for value in row] for row in rows]
    widths: list[int | None] = [None] * len(columns)
    if console.is_terminal:
        fitting = column_widths(columns, cells, console.width)
        if fitting is None:
            _print_lines(title, columns, cells, caption)
            return
        widths = [*fitting]
    else:
        console = Console(highlight=False, markup=False, emoji=False, width=_NO_TERMINAL)
    # Beside the table, not in it: a command to type next must not be broken to its width.
    console.print(title, style="table.title", soft_wrap=True)
    long = None
    if len(cells) >= LONG:
        fixed = [each for each in widths if each is not None]
        long = fixed or natural_widths(columns, cells, _NO_TERMINAL)
    if long:
        print_long(console, columns, cells, long)
    else:
        console.print(_table(columns, cells, widths))
    if caption:
        console.print(caption, style="table.caption", soft_wrap=True)


def _table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int | None]
) -> "Table":
    from rich.table import Table

    table = Table(pad_edge=False, show_header=any(columns))
    for name, width in zip(columns, widths, strict=True):
        table.add_column(name, overflow="fold", width=width)
    for row in rows:
        table.add_row(*row)
    return table


def _print_lines(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str
) -> None:
    """What a row is about, and below it whatever else is said of it."""
    say(title)
    indent = max(len(name) for name in columns)
    for first, *others in rows:
        say(first)
        for name, value in zip(columns[1:], others, strict=True):
            if value not in ("", "-"):
                say(f"  {name:{indent}}  {value}".rstrip())
    if caption:
        say(caption)


def server_version(number: int | None) -> str:
    """A ``server_version_num`` as people write it: 160015 is 16.15."""
    return "-" if number is None else f"{number // 10000}.{number % 10000}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, timedelta):
        return age(value.total_seconds())
    if isinstance(value, float):
        return f"{value:.1f}"
    return str(value)


def say(text: str) -> None:
    """One line on stdout."""
    click.echo(text)
