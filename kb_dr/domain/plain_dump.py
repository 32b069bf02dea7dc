"""A plain dump on its way to psql: what must not reach it, and whether all of it came.

psql runs more than statements: a line of a file somebody gave can start programs on this machine.
Its commands are refused, all but the two that pg_dump itself writes, which are left out: who runs
psql restricts it anyway. And psql takes the end of a file for the end of the rows being copied,
and commits: so an end there is found before psql sees it.
Source: PostgreSQL, src/fe_utils/psqlscan.l and src/bin/psql/copy.c, handleCopyIn.
"""

import re

from kb_dr.errors import ChecksumMismatch, LoadFailed

_LOOKAHEAD = 128
"""Bytes. Every word that is looked for, and every line that is left out, is shorter."""
_BEFORE = 128
"""Bytes kept of what was passed on: words begin by what stands before them."""
_STATEMENT_BYTES = 1 << 20
"""Of the beginning of a statement that is kept; a COPY of 1,600 columns fits."""

_OWN_COMMAND = re.compile(rb"\\(?:un)?restrict [A-Za-z0-9]{1,64}\r?(?:\n|\Z)")
_HEAD = re.compile(rb"-- PostgreSQL database dump\r?\n")
_TAIL = re.compile(rb"-- PostgreSQL database dump complete\r?(?:\n|\Z)")
_OWN_TRANSACTION = re.compile(rb"(?:BEGIN|COMMIT);\r?\n")
"""Around large objects: within the one transaction of all they would end it."""
_ENDS_TRANSACTION = re.compile(
    rb"(?:abort|commit|prepare\s+transaction|rollback(?!\s+(?:(?:work|transaction)\s+)?to\b))\b",
    re.IGNORECASE,
)
_END = re.compile(rb"end\b", re.IGNORECASE)
_BEGINS_BODY = re.compile(
    rb"create\s+(?:or\s+replace\s+)?(?:function|procedure)\b.*\bbegin\s+atomic\b(?!\s+end\s*\Z)",
    re.IGNORECASE | re.DOTALL,
)
"""Of a function in SQL: the statements in it end with semicolons, too, and it with END."""
_REACHES_BEYOND = re.compile(
    rb"(?:alter|create|drop)\s+(?:database|group|role|tablespace|user(?!\s+mapping\b))\b"
    rb"|alter\s+system\b|(?:drop|reassign)\s+owned\b"
    rb"|(?:comment|security\s+label\b.*)\s+on\s+(?:database|role|tablespace)\b"
    rb"|(?:grant|revoke)\b(?:(?!\bon\b).)*\Z"
    rb"|(?:grant|revoke)\b.*\bon\s+(?:database|parameter|tablespace)\b"
    rb"|copy\b.*\b(?:from|to)\s+program\b",
    re.IGNORECASE | re.DOTALL,
)
"""Other databases, the cluster, and its machine. pg_dump writes none of it unless told to."""
_NO_LIMIT = re.compile(rb"SET transaction_timeout = 0;\r?\n")
"""Of pg_dump 17 and newer; an older server has no such setting, and psql would stop."""

_WORD = re.compile(
    rb"(?P<line>\n)|(?P<comment>--)|(?P<block>/\*)|(?P<semicolon>;)|(?P<command>\\)"
    rb"|(?P<single>')|(?P<double>\")"
    rb"|(?P<dollar>\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]{0,63})?\$)"
)
_WORD_BEFORE = re.compile(rb"[\w$\x80-\xff]*\Z")
_COPY = re.compile(rb"\s*copy\b.*\bfrom\s+stdin\b", re.IGNORECASE | re.DOTALL)

_ENDS = {
    "a line": re.compile(rb"[\r\n]"),
    "a comment": re.compile(rb"/\*|\*/"),
    "a string": re.compile(rb"'"),
    "a string with escapes": re.compile(rb"\\.|''|'", re.DOTALL),
    "a name": re.compile(rb'"'),
}
_ROWS = "the rows of a table"
_NUMBERS = tuple(b"$0123456789"[at : at + 1] for at in range(11))


class PlainDump:
    """Passes a plain dump on, piece by piece, without what is left out.

    LoadFailed for a command of psql, for what ends a transaction and for a statement that changes
    more than its database; ChecksumMismatch for a dump that ends before its end. A file can hide
    such a statement in a function: whom it is loaded as has to be able to do no more than it may.
    """

    def __init__(self, *, has_transaction_timeout: bool, of_roles: bool = False) -> None:
        self._left_out = [
            _OWN_COMMAND,
            _OWN_TRANSACTION,
            *([] if has_transaction_timeout else [_NO_LIMIT]),
        ]
        self._of_roles = of_roles
        """It is what pg_dumpall says of roles: to reach beyond one database is its work."""
        self._data = b""
        self._at = 0
        """Up to here it was looked at."""
        self._within = ""
        """What has to end first, in words; empty between words."""
        self._end = _WORD
        self._depth = 0
        self._statement = b""
        """What stands outside of quotes since the last statement ended."""
        self._line_begins = True
        self._escapes_go_on = ""
        """Whether a string with escapes may go on: "after" one, or "below" it, in another line."""
        self._in_body = False
        """Of a function in SQL."""
        self._rows_follow = False
        self._unfinished = False

    def feed(self, data: bytes) -> bytes:
        """What may be passed on so far."""
        return self._look(data, last=False)

    def finish(self) -> bytes:
        """The rest. Only after this may psql be told that it is the end."""
        rest = self._look(b"", last=True)
        if self._within not in ("", "a line") or self._rows_follow:
            raise _cut_short(f"it ends within {self._within or _ROWS}")
        if self._unfinished:
            raise _cut_short("the last line of pg_dump is missing")
        return rest

    def _look(self, data: bytes, *, last: bool) -> bytes:
        kept = max(0, self._at - _BEFORE)
        self._data, self._at = self._data[kept:] + data, self._at - kept
        # What begins before this is here as a whole.
        limit = len(self._data) - (0 if last else _LOOKAHEAD)
        passed: list[bytes] = []
        while self._at < limit:
            if self._within == _ROWS:
                passed.append(self._take(self._end_of_rows(limit, last=last)))
                continue
            if self._line_begins and not self._within:
                self._line_begins = False
                if self._leaves_out():
                    self._line_begins = True
                    continue
            found = self._end.search(self._data, self._at)
            if found is None or found.start() >= limit:
                passed.append(self._take(limit, counted=True))
                break
            passed.append(self._take(found.start(), counted=True))
            if self._within:
                self._leave(found)
            else:
                self._enter(found)
            passed.append(self._take(found.end()))
        return b"".join(passed)

    def _take(self, until: int, *, counted: bool = False) -> bytes:
        piece = self._data[self._at : until]
        self._at = until
        if counted and not self._within and self._escapes_go_on:
            if piece.strip():
                self._escapes_go_on = ""
            elif b"\r" in piece:
                self._escapes_go_on = "below"
        if counted and not self._within and len(self._statement) < _STATEMENT_BYTES:
            self._statement += piece if self._statement else piece.lstrip()
        return piece

    def _leaves_out(self) -> bool:
        """Whether a line begins here that is not passed on; it is gone then."""
        if _HEAD.match(self._data, self._at):
            self._unfinished = True
        elif _TAIL.match(self._data, self._at):
            self._unfinished = False
        for each in self._left_out:
            found = each.match(self._data, self._at)
            if found is not None and not self._statement:
                self._at = found.end()
                return True
        return False

    def _enter(self, found: re.Match[bytes]) -> None:
        kind = found.lastgroup or ""
        goes_on = self._escapes_go_on
        if kind not in ("line", "comment"):
            self._escapes_go_on = ""
        if kind == "command":
            raise LoadFailed(
                "load a plain dump: it holds a command of psql besides its statements",
                hint="Nothing was put in place. Such a line can start programs on this machine: "
                "read the file; if it is right, give it to psql yourself.",
            )
        if kind == "line":
            self._line_over()
        elif kind == "semicolon":
            self._end_statement()
        elif kind == "dollar":
            if not self._word_before(found):  # else they belong to a name
                self._within, self._end = "a quoted text", re.compile(re.escape(found[0]))
        else:
            self._within = {"comment": "a line", "block": "a comment", "double": "a name"}.get(
                kind, "a string"
            )
            if kind == "single" and (
                goes_on == "below" or self._word_before(found) in (b"e", b"E")
            ):
                self._within = "a string with escapes"
            self._end, self._depth = _ENDS[self._within], 1

    def _word_before(self, found: re.Match[bytes]) -> bytes:
        """What a quote stands right behind. Numbers there are read in several ways by psql."""
        word = _WORD_BEFORE.search(self._data, max(0, found.start() - _BEFORE), found.start())
        seen = word[0] if word is not None else b""
        matters = found.lastgroup == "dollar" or seen[-1:] in (b"e", b"E")
        if matters and (seen[:1] in _NUMBERS or len(seen) >= _BEFORE):
            raise LoadFailed(
                "load a plain dump: where a text in it begins cannot be told",
                hint="Nothing was put in place. No number and no very long name stands right "
                "before a quote in what pg_dump writes: read the file.",
            )
        return seen

    def _end_statement(self) -> None:
        statement, self._statement = self._statement, b""
        ends = _END.match(statement) is not None
        if (ends and not self._in_body) or _ENDS_TRANSACTION.match(statement):
            raise LoadFailed(
                "load a plain dump: a statement in it ends the transaction it is loaded in",
                hint="Nothing was put in place. Take the statement out of the file, or give "
                "it to psql yourself.",
            )
        if not self._of_roles and (found := _REACHES_BEYOND.match(statement)):
            words = b" ".join(found[0].split()[:2]).decode("utf-8", "replace").upper()
            raise LoadFailed(
                f"load a plain dump: a statement in it changes more than its database: {words}",
                hint="Nothing was put in place. Dump one database, without --create and without "
                "roles; or take the statement out of the file.",
            )
        self._in_body = not ends and (self._in_body or _BEGINS_BODY.match(statement) is not None)
        self._rows_follow |= _COPY.match(statement) is not None

    def _leave(self, found: re.Match[bytes]) -> None:
        if self._within == "a string with escapes":
            if found[0] != b"'":
                return
            self._escapes_go_on = "after"
        if self._within == "a comment":
            self._depth += 1 if found[0] == b"/*" else -1
            if self._depth:
                return
        ended, self._within, self._end = self._within, "", _WORD
        if ended == "a line":
            # A line of rows begins behind a line end of its own.
            if found[0] == b"\n":
                self._line_over()
            elif self._escapes_go_on:
                self._escapes_go_on = "below"
        elif ended != "a comment" and self._statement:
            # A word of its own: what stands on both sides of it is not one.
            self._statement += b'"'

    def _line_over(self) -> None:
        self._line_begins = True
        if self._escapes_go_on:
            self._escapes_go_on = "below"
        if self._statement:
            self._statement += b"\n"
        if self._rows_follow:
            self._rows_follow, self._within = False, _ROWS

    def _end_of_rows(self, limit: int, *, last: bool) -> int:
        r"""Behind the line ``\.`` when it begins before ``limit``, else ``limit``."""
        place = self._at - 1
        while (place := self._data.find(b"\n\\.", place, limit + 2)) >= 0:
            behind = re.compile(rb"\r?(?:\n|\Z)" if last else rb"\r?\n").match(
                self._data, place + 3
            )
            if behind is not None:
                self._within, self._line_begins = "", True
                return behind.end()
            place += 1
        return limit


def _cut_short(seen: str) -> ChecksumMismatch:
    return ChecksumMismatch(
        f"read a plain dump: {seen}",
        hint="It was cut short: use another copy of it, or another dump.",
    )
