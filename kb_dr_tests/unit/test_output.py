"""Tables for people: what they wrote is printed as they wrote it, and ids can be copied."""

import re

import pytest
from rich.cells import cell_len

from kb_dr.cli.column_widths import column_widths
from kb_dr.cli.output import print_table

ID = "kb-full-20261120-020000"
COLUMNS = ("id", "taken", "tiers", "why")
_ESCAPES = re.compile(r"\x1b\[[\d;]*m")
ROWS = (
    (ID, "2026-11-20 02:00:00Z", "hourly, daily, weekly", "held: legal case 7 (ops1); " * 6),
    (ID, "2026-11-20 02:00:00Z", "-", "the newest"),
)


def test_brackets_and_colons_of_a_reason_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reasons = ("[ticket 7] legal case", "closed [/7]", "[red]alert", "on fire :fire:")

    print_table(
        "Backups in [local]", ("id", "held [x]"), enumerate(reasons), caption="as of [/then]"
    )

    printed = capsys.readouterr().out
    assert [reason for reason in reasons if reason not in printed] == []
    assert "Backups in [local]" in printed
    assert "held [x]" in printed
    assert "as of [/then]" in printed


@pytest.mark.parametrize("width", range(60, 220))
def test_no_id_is_ever_split_and_no_line_longer_than_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))

    print_table("Retention", COLUMNS, ROWS, caption="the end")

    printed = _ESCAPES.sub("", capsys.readouterr().out)
    assert printed.count(ID) == 2
    words = " ".join(line.split("│")[-2] if "│" in line else line for line in printed.splitlines())
    assert " ".join(words.split()).count("held: legal case 7 (ops1);") == 6
    if "│" in printed:
        assert max(cell_len(line) for line in printed.splitlines()) <= width


def test_a_terminal_too_narrow_for_a_table_shows_the_same_in_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")

    print_table("Retention", COLUMNS, ROWS)

    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["Retention", ID, "  taken  2026-11-20 02:00:00Z"]
    assert lines[-1] == "  why    the newest"


def test_a_column_takes_no_more_than_it_needs() -> None:
    assert column_widths(("id", ""), [["a", "b c"]], 80) == [2, 3]


def test_a_title_longer_than_its_table_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(f"{ID} is {ID} now", ("a",), [("b",)], caption=f"Prove it: kb-dr verify {ID}")

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{ID} is {ID} now"
    assert lines[-1] == f"Prove it: kb-dr verify {ID}"


@pytest.mark.parametrize("terminal", ["", "90", "200"])
@pytest.mark.parametrize("columns", [("id", "number", "why"), ("id", "why"), ("why",)])
def test_a_long_table_is_what_rich_makes_of_it(
    columns: tuple[str, ...],
    terminal: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", terminal)
    reasons = ("", "-", "two\nlines", "  a blank  ", "日本 text", "a\ttab", "held: " * 9, "[b]")
    cells = {
        "id": [f"{ID}-{n % 7}" for n in range(150)],
        "number": [str(n) for n in range(150)],
        "why": [reasons[n % len(reasons)] for n in range(150)],
    }
    rows = list(zip(*(cells[name] for name in columns), strict=True))

    print_table("Backups", columns, rows, caption="the end")
    long = capsys.readouterr().out
    monkeypatch.setattr("kb_dr.cli.long_table.LONG", len(rows) + 1)
    print_table("Backups", columns, rows, caption="the end")

    assert long == capsys.readouterr().out


def test_a_long_table_that_has_no_room_is_left_to_rich(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(str(n), "word " * 80) for n in range(150)]

    print_table("Backups", ("number", "why"), rows)

    printed = capsys.readouterr().out
    assert printed.count("word") == 80 * 150
    assert max(cell_len(line) for line in printed.splitlines()) <= 200
