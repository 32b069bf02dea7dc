"""How wide the columns of a table become on a terminal: ids stay whole, long sentences wrap."""

from collections.abc import Sequence

from rich.cells import cell_len

_WHOLE = 26
"""So long a word is never split: ids of backups, moments. A digest or a path may be."""


def column_widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], terminal: int
) -> list[int] | None:
    """A width for each column; None when the table cannot be read on a terminal so narrow.

    The first column says what a row is about, and people copy it: no word of it is ever split,
    however long.
    """
    cells = [[name, *(row[at] for row in rows)] for at, name in enumerate(columns)]
    words = [max(_longest_word(cell) for cell in column) for column in cells]
    wanted = [max(_widest_line(cell) for cell in column) for column in cells]
    widths = [words[0], *(min(word, _WHOLE) for word in words[1:])]
    # A line left and right of each column, and a blank at each line but the outer ones.
    left = terminal - sum(widths) - (3 * len(columns) - 1)
    if left < 0:
        return None
    for enough in (words, wanted):
        while left and (short := [at for at, width in enumerate(widths) if width < enough[at]]):
            widths[min(short, key=lambda at: widths[at])] += 1
            left -= 1
    return widths


def _longest_word(cell: str) -> int:
    return max((cell_len(word) for word in cell.split()), default=0)


def _widest_line(cell: str) -> int:
    return max((cell_len(line) for line in cell.splitlines()), default=0)
