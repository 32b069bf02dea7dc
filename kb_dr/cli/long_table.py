"""Tables of thousands of rows: what rich makes of them, without asking it about every cell."""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

LONG = 100
"""From so many rows on: rich takes about a millisecond and 4 KiB for each."""


def natural_widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], most: int
) -> list[int] | None:
    """The widths that rich gives columns where all of them have room; None where they have not."""
    widths = [
        max(_width(line) for cell in (name, *(row[at] for row in rows)) for line in _lines(cell))
        for at, name in enumerate(columns)
    ]
    return widths if sum(widths) + 3 * len(widths) - 1 <= most else None


def print_long(
    console: Console, columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]
) -> None:
    """Print a table with columns of these widths."""
    *head, row, foot = _rendered(console, columns, ["x"] * len(columns), widths)
    left, right = row[0], row[-1]
    divider = f" {row[widths[0] + 2]} " if len(widths) > 1 else ""  # one column has none
    for line in head:
        _say(console, line)
    for cells in rows:
        for line in _row_lines(console, columns, cells, widths, left, divider, right):
            _say(console, line)
    _say(console, foot)


def _row_lines(
    console: Console,
    columns: Sequence[str],
    cells: Sequence[str],
    widths: Sequence[int],
    left: str,
    divider: str,
    right: str,
) -> Iterator[str]:
    padded = []
    for cell, width in zip(cells, widths, strict=True):
        room = width - _width(cell)
        if room < 0 or not cell.isprintable():
            yield from _rendered(console, columns, cells, widths, header=False)[1:-1]
            return
        padded.append(cell + " " * room)
    yield left + divider.join(padded) + right


def _rendered(
    console: Console,
    columns: Sequence[str],
    cells: Sequence[str],
    widths: Sequence[int],
    *,
    header: bool = True,
) -> list[str]:
    """The lines of a table with one row."""
    table = Table(pad_edge=False, show_header=header and any(columns))
    for name, width in zip(columns, widths, strict=True):
        table.add_column(name, overflow="fold", width=width)
    table.add_row(*cells)
    with console.capture() as captured:
        console.print(table)
    return captured.get().splitlines()


def _say(console: Console, line: str) -> None:
    console.file.write(f"{line}\n")


def _lines(cell: str) -> list[str]:
    return cell.splitlines() or [""]


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
