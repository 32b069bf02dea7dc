"""`kb-dr`: the door for a person in a shell, and for PostgreSQL.

`wal push` and `wal fetch` are told apart before anything heavy is imported: PostgreSQL starts
one process for each WAL segment.
"""

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_WAL_PATH = {"push", "fetch"}


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code (see kb_dr.errors)."""
    words = list(sys.argv[1:] if argv is None else argv)
    words = _take_env_file(words)
    if words[:1] == ["wal"] and len(words) > 1 and words[1] in _WAL_PATH:
        from kb_dr.cli.wal_fast import main as wal_main

        return wal_main(words)
    from kb_dr.cli.app import INTERRUPTED, run

    # A service manager's stop must undo as much as Ctrl-C does.
    signal.signal(signal.SIGTERM, _interrupt)
    status = run(words)
    if status == INTERRUPTED:
        _leave(status)
    return status


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _leave(status: int) -> NoReturn:
    """End without waiting for threads that read from a store that does not answer.

    All that had to be undone has been: this is after every ``finally``.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _take_env_file(words: list[str]) -> list[str]:
    """Put ``--env-file F`` where settings look for it, so that children inherit it too."""
    if len(words) >= 2 and words[0] == "--env-file":
        os.environ["KB_DR_ENV_FILE"] = os.path.abspath(words[1])
        return words[2:]
    if words and words[0].startswith("--env-file="):
        os.environ["KB_DR_ENV_FILE"] = os.path.abspath(words[0].split("=", 1)[1])
        return words[1:]
    return words


if __name__ == "__main__":
    sys.exit(main())
