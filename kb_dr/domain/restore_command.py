"""The shell line PostgreSQL runs for each WAL file it wants.

An exit of 1-125 would end recovery and *open the cluster*, and an interpreter that dies while it
starts exits 1, too. So the program says 12 for "certainly absent", and the shell around it
turns 12 into 1 and every other failure into 126, which aborts recovery.
Source: PostgreSQL, src/backend/access/transam/xlogarchive.c (RestoreArchivedFile).
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

ABSENT = 12
"""What `kb-dr wal fetch` exits with for a file that is certainly absent."""
ABORT = 126
"""What it exits with for everything else that is no success."""


def restore_command(fetch: Sequence[str], *, spool: Path | None = None) -> str:
    """The value of ``restore_command``; write it between quotes of postgresql.conf.

    ``fetch`` is the program and its words, without file and path, as in ``kb-dr wal fetch
    --from offsite``; ``spool`` is where a WalPrefetcher puts files that are ready.
    """
    program = " ".join(_literal(word) for word in fetch)
    ready = ""
    if spool is not None:
        file = f'{_literal(str(spool))}/"%f"'
        ready = f'if test -f {file} && mv -f {file} "%p"; then exit 0; fi; '
    return (
        f'{ready}{program} "%f" "%p"; '
        f"case $? in 0) exit 0;; {ABSENT}) exit 1;; *) exit {ABORT};; esac"
    )


def _literal(word: str) -> str:
    """One word that neither the shell nor PostgreSQL's % changes."""
    return shlex.quote(word).replace("%", "%%")
