"""What pg_restore says while it loads: each error told apart, in bounded memory.

Rows are never repeated: of an error the server's own sentence is kept and the beginning of a
statement that makes something. DETAIL, CONTEXT and statements with values stay out.
"""

import re
from dataclasses import dataclass, field
from typing import IO

from kb_dr.adapters.postgres_programs import FULL, last_words
from kb_dr.domain.expected_errors import why_expected
from kb_dr.errors import (
    KbDrError,
    LoadFailed,
    NotEnoughSpace,
    PostgresError,
    PostgresUnavailable,
    TargetLacks,
)

_LINE_BYTES = 16 * 1024
_BLOCK_CHARACTERS = 64 * 1024
"""Of one error; what is longer is no error that is expected."""
_NOTES = 20

_ERROR = re.compile(r"pg_restore: error: (?:could not execute query: )?")
_SERVER = re.compile(r"(?P<how>.*?)\b[^\s:]{4,12}:  (?P<words>.*)", re.DOTALL)
"""The severity, in any language, has two blanks after it; before it may stand what failed."""
_WARNING = re.compile(r"pg_restore: (?:warning|WARNING): +")
_IGNORED = re.compile(r"pg_restore: warning: errors ignored on restore: (\d+)")
_STATEMENT = re.compile(r"^(?:pg_restore: detail: )?Command was: ", re.MULTILINE)
_MORE = re.compile(r"^(?:pg_restore: (?:detail|hint): |[A-Z]+(?: \d+)?: )", re.MULTILINE)
_MAKES = re.compile(r"(?:ALTER|COMMENT ON|CREATE|GRANT|REFRESH|REVOKE|SET)\b.*")

_FULL = (*FULL, "temporary file size exceeds")
_GONE = (
    "connection to server",
    "could not connect",
    "could not receive data from server",
    "could not send data to server",
    "no connection to the server",
    "server closed the connection",
    "terminating connection",
    "the database system is",
)
_FULL_STATES = ("53100",)
_GONE_STATES = ("08", "57P")
_MACHINE_STATES = ("40P01", "53", "55P03", "57014", "58030")
"""PostgreSQL docs, "PostgreSQL Error Codes"."""
_OF_THE_MACHINE = (
    "Input/output error",
    "canceling statement due to",
    "could not create worker process",
    "could not fork",
    "deadlock detected",
    "out of shared memory",
    "worker process died",
)
_MORE_LOCKS = (
    "Thousands of tables in one transaction need as many locks: raise max_locks_per_transaction "
    "at the server, or load an archive, which needs few."
)
_LACKS = re.compile(
    r'(?:role|tablespace) ".*" does not exist'
    r'|extension ".*" is not available'
    r'|extension ".*" has no installation script'
    r'|could not open extension control file ".*'
    r"|could not (?:access|load) (?:file|library) .*",
    re.DOTALL,
)


@dataclass(slots=True)
class LoadErrors:
    """Errors and warnings of one run, told apart as they come."""

    unexpected: KbDrError | None = None
    """The first that is not on the list."""
    seen: int = 0
    ignored: int | None = None
    """How many pg_restore says it went on after."""
    notes: dict[str, None] = field(default_factory=dict)
    """What was passed over, for people; each once, and not all of very many."""

    def listen(self, stderr: IO[bytes]) -> None:
        """Read all of it."""
        block: list[str] | None = None
        size = 0
        while raw := stderr.readline(_LINE_BYTES):
            line = raw.decode("utf-8", "replace")
            if line.startswith("pg_restore: ") and not line.startswith("pg_restore: detail: "):
                self._judge(block)
                block, size = ([] if _ERROR.match(line) else None), 0
                self._note(line.rstrip())
            if block is not None and size < _BLOCK_CHARACTERS:
                block.append(line)
                size += len(line)
        self._judge(block)

    def _note(self, line: str) -> None:
        if ignored := _IGNORED.match(line):
            self.ignored = int(ignored[1])
        elif (warning := _WARNING.match(line)) and len(self.notes) < _NOTES:
            self.notes[f"warning: {last_words(line[warning.end() :].encode())}"] = None

    def _judge(self, block: list[str] | None) -> None:
        if block is None:
            return
        self.seen += 1
        text = "".join(block)
        text = text[_ERROR.match(text).end() :]  # type: ignore[union-attr]  # it begins so
        said, statement = _split(_STATEMENT, text, 0)
        statement = statement.strip()
        said = _split(_MORE, said, said.find("\n") + 1)[0].strip()
        server = _SERVER.fullmatch(said)
        if server is not None and not server["how"]:
            reason = why_expected(server["words"], statement)
            if reason is not None:
                if len(self.notes) < _NOTES:
                    self.notes[f"{_shown(server['words'])} ({reason})"] = None
                return
        if self.unexpected is None:
            self.unexpected = load_error(said, statement)


def _split(pattern: re.Pattern[str], text: str, start: int) -> tuple[str, str]:
    """What stands before the pattern, and after it."""
    found = pattern.search(text, start)
    return (text[: found.start()], text[found.end() :]) if found else (text, "")


def load_error(said: str, statement: str = "", *, state: str = "") -> KbDrError:
    """The error for what a program said, with the code of the server's error where it has one.

    Only what is certain to be no fault of the machines between here and there is LoadFailed.
    """
    server = _SERVER.fullmatch(said)
    words = (server["words"] if server else said).removeprefix(f"{state}: ")
    making = _MAKES.match(statement)
    message = f"load: {_shown(said)}" + (f" (in: {_shown(making[0])[:120]})" if making else "")
    if state in _FULL_STATES or any(sign in said for sign in _FULL):
        return NotEnoughSpace(message, hint="Make room at the server, then run it again.")
    if state.startswith(_GONE_STATES) or any(sign in said for sign in _GONE):
        return PostgresUnavailable(message)
    if state.startswith(_MACHINE_STATES) or any(sign in said for sign in _OF_THE_MACHINE):
        return PostgresError(message, hint=_MORE_LOCKS if "shared memory" in said else "")
    if _LACKS.fullmatch(words):
        return TargetLacks(message)
    return LoadFailed(message)


def _shown(text: str) -> str:
    return " ".join(text.split())[:600]
