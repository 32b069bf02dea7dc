"""psql, fed with statements: all in one transaction, and none of its own commands."""

import os
import re
import secrets
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

from kb_dr.adapters.load_errors import load_error
from kb_dr.adapters.postgres_programs import PostgresPrograms, last_words
from kb_dr.domain.plain_dump import PlainDump
from kb_dr.errors import KbDrError, LoadFailed, RecoveryError
from kb_dr.ports import Readable

_PIECE_BYTES = 1 << 20
_LINE_BYTES = 16 * 1024
_LINES = 20
_TRANSACTION_TIMEOUT_SINCE = 17

_RESTRICTS_SINCE = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}
"""Minor versions from which on psql knows ``\\restrict``; all of later majors do."""

_ERROR = re.compile(rb"psql:.*?:\d+: (?P<said>[^\s:]+:  (?P<state>[0-9A-Z]{5}): .*)")
_PROGRAM_ERROR = re.compile(rb"psql: error: (?P<said>.*)|psql:.*?:\d+: error: (?P<why>.*)")


def run_psql(
    programs: PostgresPrograms,
    conninfo: str,
    sql: Readable,
    *,
    env: Mapping[str, str],
    server_major: int,
    of_roles: bool = False,
) -> None:
    """As `kb_dr.ports.DumpLoader.run_sql`.

    Whatever breaks while statements are read ends psql before it sees an end, and so before it
    commits.
    """
    command = [
        str(programs.path("psql")),
        f"--dbname={conninfo}",
        "--no-password",
        "--no-psqlrc",
        "--quiet",
        "--single-transaction",
        "--set=ON_ERROR_STOP=1",
        # With the error's code, which is the same in every language.
        "--set=VERBOSITY=verbose",
        "--file=-",
    ]
    passing = PlainDump(
        has_transaction_timeout=server_major >= _TRANSACTION_TIMEOUT_SINCE, of_roles=of_roles
    )
    with programs.unprivileged.running(
        command,
        env=programs.environment(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        if process.stdin is None or process.stderr is None:
            raise RecoveryError("run psql: it was started without pipes")
        said = _Said(process.stderr)
        listener = threading.Thread(target=said.listen, name="psql", daemon=True)
        listener.start()
        with suppress(BrokenPipeError):  # it ended before: what it said tells why
            _feed(process.stdin.fileno(), sql, passing, restricts=_restricts(programs))
        process.stdin.close()
        status = process.wait()
        listener.join()
    if status != 0 and said.error is not None:
        raise said.error
    if status != 0:
        words = last_words(b"\n".join(said.lines))
        raise LoadFailed(f"load: psql ended with status {status}{': ' + words if words else ''}")


def _feed(stdin: int, sql: Readable, passing: PlainDump, *, restricts: bool) -> None:
    # Its own reading of statements is the last word on what is a command and what is not.
    key = secrets.token_hex(16).encode()
    if restricts:
        _write(stdin, b"\\restrict " + key + b"\n")
    while piece := sql.read(_PIECE_BYTES):
        _write(stdin, passing.feed(piece))
    _write(stdin, passing.finish())
    if restricts:
        _write(stdin, b"\n\\unrestrict " + key + b"\n")


def _write(stdin: int, data: bytes) -> None:
    """All of it; nothing is held back, which would be written when psql is to end."""
    with memoryview(data) as rest:
        done = 0
        while done < len(rest):
            done += os.write(stdin, rest[done:])


def _restricts(programs: PostgresPrograms) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", programs.version)
    minor = int(numbers[2]) if numbers else 0
    since = _RESTRICTS_SINCE.get(programs.major)
    return programs.major > max(_RESTRICTS_SINCE) if since is None else minor >= since


class _Said:
    """The last message of the server, which is the error that ended psql if one did."""

    def __init__(self, stderr: IO[bytes]) -> None:
        self._stderr = stderr
        self.error: KbDrError | None = None
        self.lines: list[bytes] = []

    def listen(self) -> None:
        try:
            while line := self._stderr.readline(_LINE_BYTES):
                self._note(line.rstrip())
        except ValueError:
            return  # closed while it was read: the program is being ended

    def _note(self, line: bytes) -> None:
        if found := _ERROR.fullmatch(line):
            self.error = load_error(_text(found["said"]), state=_text(found["state"]))
        elif found := _PROGRAM_ERROR.fullmatch(line):
            self.error = load_error(_text(found["said"] or found["why"]))
        elif len(self.lines) < _LINES and line.startswith(b"psql:"):
            self.lines.append(line)


def _text(words: bytes) -> str:
    return words.decode("utf-8", "replace")
