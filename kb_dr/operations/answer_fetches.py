"""Answers fetch-wal.sh for a fetch that is asked for while a process runs ahead of replay.

What is asked is a file in one directory, named by who asks and the WAL file; what is answered, one
of the same name in another. It is the program that answers, by fetch_wal(), for that one fetch and
after it was asked: whatever is in doubt is answered with TROUBLE, and the program is started anew.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kb_dr.domain.wal_names import is_wal_file
from kb_dr.errors import KbDrError

logger = logging.getLogger(__name__)

ASKS = "asks"
ANSWERS = "answers"

READY = "ready"
"""It lies whole and checked where what was read ahead lies."""
ABSENT = "absent"
"""Certainly, as fetch_wal() says it."""
TROUBLE = "trouble"


class FetchAnswers:
    """``fetch`` puts a file at a path, or says False for one that is certainly absent; ``may`` is
    asked before: whether such an answer is of use.
    """

    def __init__(self, ahead: Path, fetch: Callable[[str, Path], bool]) -> None:
        self._asks = ahead / ASKS
        self._answers = ahead / ANSWERS
        self._fetch = fetch

    def answer(self, spool: Path, may: Callable[[str, bool], bool]) -> None:
        """Begin to answer what was asked since the last call.

        ``may(name, there)`` says whether it may be answered that a file is there, or absent. Each
        is answered by a thread of its own, which nobody waits for: a store that does not answer
        holds nobody up.
        """
        with suppress(OSError):
            for asked in list(self._asks.iterdir()):
                asked.unlink()
                threading.Thread(
                    target=self._answer, args=(asked.name, spool, may), daemon=True
                ).start()

    def _answer(self, asked: str, spool: Path, may: Callable[[str, bool], bool]) -> None:
        name = asked.partition(".")[2]
        said = TROUBLE
        try:
            if is_wal_file(name):
                said = self._said(name, spool, may)
        except (KbDrError, OSError) as error:
            # The program that is started for it meets the same, and says so.
            logger.info("answer for %s: %s", name, error)
        finally:
            with suppress(OSError):
                unfinished = self._answers / f".{asked}"
                unfinished.write_text(f"{said} {name}\n")
                unfinished.replace(self._answers / asked)

    def _said(self, name: str, spool: Path, may: Callable[[str, bool], bool]) -> str:
        if not (may(name, True) or may(name, False)):
            return TROUBLE
        unfinished = spool / f".{name}.{threading.get_ident()}.asked"
        try:
            there = self._fetch(name, unfinished)
            if not may(name, there):
                return TROUBLE
            if there:
                unfinished.replace(spool / name)
        finally:
            unfinished.unlink(missing_ok=True)
        return READY if there else ABSENT
