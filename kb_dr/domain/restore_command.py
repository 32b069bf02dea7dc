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

_MAPPING = f"case $? in 0) exit 0;; {ABSENT}) exit 1;; *) exit {ABORT};; esac"


def restore_command(
    fetch: Sequence[str], *, spool: Path | None = None, script: Sequence[str] = ()
) -> str:
    """The value of ``restore_command``; write it between quotes of postgresql.conf.

    ``fetch`` is the program and its words, without file and path, as in ``kb-dr wal fetch
    --from offsite``; ``spool`` is where a WalPrefetcher puts files that are ready. ``script`` are
    the shell's words for fetch-wal.sh and the place it takes them from, which start the program
    only where none is.
    """
    program = " ".join(literal(word) for word in fetch)
    if script:
        before = " ".join(literal(word) for word in script)
        return f'{before} "%f" "%p" {program}; {_MAPPING}'
    ready = ""
    if spool is not None:
        file = f'{literal(str(spool))}/"%f"'
        ready = f'if test -f {file} && mv -f {file} "%p"; then exit 0; fi; '
    return f'{ready}{program} "%f" "%p"; {_MAPPING}'


def literal(word: str) -> str:
    """One word that neither the shell nor PostgreSQL's % changes."""
    return shlex.quote(word).replace("%", "%%")
