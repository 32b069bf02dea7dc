"""The shell line PostgreSQL runs for each WAL file it wants archived."""

from collections.abc import Sequence

from kb_dr.domain.restore_command import literal


def archive_command(push: Sequence[str], script: Sequence[str]) -> str:
    """The value of ``archive_command``; write it between quotes of postgresql.conf.

    ``push`` is the program and its words, without the file; ``script`` are the shell's words for
    push-wal.sh, the directory of notes and the file of settings.
    """
    before, program = (" ".join(literal(word) for word in words) for words in (script, push))
    return f'{before} "%p" {program}'
