"""Reads a plain dump as it streams by: its structure, and the rows of each table.

Statements are told apart the way psql does, with quotes, dollar quotes and comments, so that
nothing inside a function's body is taken for a table's rows. Memory is bounded whatever the file.
It describes what pg_dump writes, and passes over what else there is; what psql may be given is
judged by kb_dr.domain.plain_dump, which refuses what it does not know.
"""

import codecs
import re
from dataclasses import dataclass, field
from enum import Enum

from kb_dr.domain import sql_demands
from kb_dr.domain.local_dump import MARK, DumpHead, DumpTail, parse_line

_LONGEST_STATEMENT = 1 << 20
"""No COPY statement comes near: 1,600 columns of 63 characters."""
_LONGEST_COMMENT = 64 << 20
"""Ours, of some hundred thousand tables."""
_LONGEST_TOKEN = 256
"""More than the quotes of a dollar quote may have: nothing else is longer."""

_TOKEN = re.compile(
    rb"(?<![A-Za-z0-9_$\x80-\xff])[eE]'"
    rb"|['\";]|--|/\*|\\"
    rb"|(?<![A-Za-z0-9_$\x80-\xff])\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$"
)
_ESCAPED_END = re.compile(rb"\\.|'", re.DOTALL)
_BLOCK = re.compile(rb"/\*|\*/")
_NAME = r'("(?:[^"]|"")+"|[^\s".(]+)'
_COPY = re.compile(rf"COPY\s+{_NAME}\.{_NAME}\s*(?:\(.*\)\s*)?FROM stdin", re.DOTALL)
_QUALIFIED = re.compile(rf"{_NAME}\.{_NAME}", re.DOTALL)
_ENCODING = re.compile(rb"SET client_encoding = '([A-Za-z0-9_]+)'")
_END_OF_ROWS = b"\n\\.\n"
_BEGINS = b"-- PostgreSQL database dump"
_COMPLETE = b"-- PostgreSQL database dump complete"

Table = tuple[str, str]
"""Schema and name, without quotes."""


_ASKED_ABOUT = (b"COPY ", b"SET client_encoding = ", *sql_demands.ASKED_ABOUT)


class _In(Enum):
    STATEMENTS = "statements"
    ROWS = "the rows of a table"
    TEXT = "a quoted text"
    ESCAPED = "a quoted text with escapes"
    NAME = "a quoted name"
    DOLLARS = "a text in dollar quotes"
    BLOCK = "a comment"


_CLOSING = {_In.TEXT: b"'", _In.NAME: b'"'}


@dataclass
class SqlDump:
    """What was read of a plain dump."""

    begins: bool = False
    """Whether it begins as pg_dump does, before any statement."""
    complete: bool = False
    """Whether pg_dump said it was complete, and no statement follows."""
    cut_off_in: str = ""
    """What it ends within; empty where it ends well."""
    rows: dict[Table, int] = field(default_factory=dict)
    """Rows that stand in it, by table."""
    data_blocks: int = 0
    head: DumpHead | None = None
    tail: DumpTail | None = None
    tail_is_last: bool = False
    """Whether nothing but room follows ``tail``."""
    damaged_notes: list[str] = field(default_factory=list)
    """Comments of ours that cannot be read."""
    extensions: list[str] = field(default_factory=list)
    """Those it creates."""
    roles: set[str] = field(default_factory=set)
    """Those it makes owners, or grants something to."""

    @property
    def data_rows(self) -> int:
        """All rows that stand in it."""
        return sum(self.rows.values())


def table_of(name: str) -> Table | None:
    """A qualified name as SQL writes it, taken apart; None when it is none."""
    match = _QUALIFIED.fullmatch(name)
    return (_unquoted(match[1]), _unquoted(match[2])) if match else None


class SqlDumpReader:
    """Is fed a dump piece by piece."""

    def __init__(self) -> None:
        self._read = SqlDump()
        self._rest = b""
        self._in = _In.STATEMENTS
        self._table: Table | None = None
        self._tag = b""
        self._depth = 0
        self._statement = bytearray()
        self._dull = False
        """Whether the statement is one that nobody asks about."""
        self._encoding = "utf-8"
        self._seen_statement = False

    def feed(self, data: bytes) -> None:
        """The next piece, of any length."""
        rest = self._rest + data if self._rest else data
        position = 0
        while True:
            went_on = self._step(rest, position)
            if went_on is None:
                break
            position = went_on
        self._rest = rest[position:]

    def finish(self) -> SqlDump:
        """All that was read; to be called at the end."""
        if self._in is _In.STATEMENTS and self._rest:
            self.feed(b"\n")  # a last line without an end
        if self._in is _In.ROWS:
            table = "" if self._table is None else f" {'.'.join(self._table)}"
            self._read.cut_off_in = f"the rows of{table}"
        elif self._in is not _In.STATEMENTS:
            self._read.cut_off_in = self._in.value
        elif self._rest or bytes(self._statement).strip() or self._dull:
            self._read.cut_off_in = "a statement"
        return self._read

    def _step(self, data: bytes, position: int) -> int | None:
        """Read on from ``position``; to where, or None when more is needed."""
        if self._in is _In.ROWS:
            return self._rows(data, position)
        if self._in is _In.STATEMENTS:
            return self._statements(data, position)
        if self._in is _In.BLOCK:
            return self._block(data, position)
        return self._quoted(data, position)

    def _rows(self, data: bytes, position: int) -> int | None:
        # The line end before the first row belongs to it: so many line ends, so many rows.
        end = data.find(_END_OF_ROWS, position)
        upto = end if end >= 0 else max(position, len(data) - len(_END_OF_ROWS) + 1)
        if self._table is not None:
            self._read.rows[self._table] += data.count(b"\n", position, upto)
        if end >= 0:
            self._in = _In.STATEMENTS
            return end + len(_END_OF_ROWS)
        return upto if upto > position else None

    def _statements(self, data: bytes, position: int) -> int | None:
        # What is cut off at the end of a piece is left for the next one.
        limit = max(data.rfind(b"\n") + 1, len(data) - _LONGEST_TOKEN)
        if limit <= position:
            return None
        match = _TOKEN.search(data, position)
        if match is None or match.start() >= limit:
            self._take(data[position:limit])
            return limit
        start, end = match.span()
        self._take(data[position:start])
        if match[0] in (b"--", b"\\"):
            line_end = data.find(b"\n", end)
            if line_end < 0 and len(data) - start < _LONGEST_COMMENT:
                return start if start > position else None
            line_end = len(data) if line_end < 0 else line_end
            if match[0] == b"--":
                self._comment(data[start:line_end])
            # Which of psql's own commands may stand in a dump, kb_dr.domain.plain_dump says.
            return line_end
        self._begin(match[0])
        return end

    def _begin(self, token: bytes) -> None:
        """A token outside of all quotes."""
        if token == b";":
            self._end_statement()
            return
        if token == b"/*":
            self._in, self._depth = _In.BLOCK, 1
            return
        self._take(token)
        if token == b'"':
            self._in = _In.NAME
        elif token == b"'":
            self._in = _In.TEXT
        elif token.startswith(b"$"):
            self._in, self._tag = _In.DOLLARS, token
        else:
            self._in = _In.ESCAPED

    def _quoted(self, data: bytes, position: int) -> int | None:
        if self._in is _In.ESCAPED:
            match = _ESCAPED_END.search(data, position)
            if match is None:
                return self._within(data, position, 1)
            if match[0] != b"'":
                self._take(data[position : match.end()])
                return match.end()
            # Doubled, it is one of the text's own, and the text goes on with its escapes.
            if match.end() == len(data):
                return self._within(data, position, 1)
            if data[match.end() : match.end() + 1] == b"'":
                self._take(data[position : match.end() + 1])
                return match.end() + 1
            self._take(data[position : match.end()])
            self._in = _In.STATEMENTS
            return match.end()
        closing = _CLOSING.get(self._in, self._tag)
        end = data.find(closing, position)
        if end < 0:
            return self._within(data, position, len(closing) - 1)
        # Doubled, a quote ends one text and begins another: that is the same here.
        self._take(data[position : end + len(closing)])
        self._in = _In.STATEMENTS
        return end + len(closing)

    def _within(self, data: bytes, position: int, kept: int) -> int | None:
        """Pass over what is inside, but for the last ``kept`` bytes."""
        upto = len(data) - kept
        if upto <= position:
            return None
        self._take(data[position:upto])
        return upto

    def _block(self, data: bytes, position: int) -> int | None:
        match = _BLOCK.search(data, position)
        if match is None:
            upto = len(data) - 1
            return upto if upto > position else None
        self._depth += 1 if match[0] == b"/*" else -1
        if self._depth == 0:
            self._in = _In.STATEMENTS
        return match.end()

    def _take(self, data: bytes) -> None:
        """Keep what may be a statement that somebody asks about."""
        if self._dull:
            return
        self._statement += data if self._statement else data.lstrip()
        if len(self._statement) > _LONGEST_STATEMENT or not (
            self._statement.startswith(_ASKED_ABOUT)
            or any(each.startswith(self._statement) for each in _ASKED_ABOUT)
        ):
            self._statement.clear()
            self._dull = True

    def _end_statement(self) -> None:
        statement = bytes(self._statement)
        self._statement.clear()
        self._dull = False
        self._seen_statement = True
        self._read.complete = self._read.tail_is_last = False
        if (found := _ENCODING.fullmatch(statement)) is not None:
            self._encoding = _codec_of(found[1].decode())
        text = statement.decode(self._encoding, "surrogateescape")
        if (extension := sql_demands.extension_of(text)) is not None:
            self._read.extensions.append(extension)
        self._read.roles |= sql_demands.roles_of(text)
        copy = _COPY.match(text)
        if copy is not None:
            self._in = _In.ROWS
            self._table = (_unquoted(copy[1]), _unquoted(copy[2]))
            self._read.rows.setdefault(self._table, 0)
            self._read.data_blocks += 1

    def _comment(self, line: bytes) -> None:
        if line.rstrip() == _COMPLETE:
            self._read.complete = True
        elif line.rstrip() == _BEGINS:
            self._read.begins |= not self._seen_statement
        elif line.startswith(MARK.encode()):
            try:
                said = parse_line(line)
            except ValueError as error:
                self._read.damaged_notes.append(str(error))
                return
            if (self._read.tail if isinstance(said, DumpTail) else self._read.head) is not None:
                self._read.damaged_notes.append("it is there twice")
            if isinstance(said, DumpTail):
                self._read.tail, self._read.tail_is_last = said, True
            else:
                self._read.head = said


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _codec_of(encoding: str) -> str:
    """Python's name for an encoding of PostgreSQL; names are read as UTF-8 where it has none."""
    name = f"cp{encoding[3:]}" if encoding.startswith("WIN") else encoding
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "utf-8"
