"""pg_combinebackup: a full backup and its increments made into one data directory."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from kb_dr.adapters.postgres_programs import FULL, PostgresPrograms, command_failed, last_words
from kb_dr.errors import BrokenChain, NotEnoughSpace

COMBINES = "pg_combinebackup"
_LINKS_SINCE = 18
"""The major version from which it can link files that no increment changed, not copy them."""
_NO_CHAIN = (
    "but expected",
    "full backup",
    "incremental backup",
    "incremental magic",
    "system identifier",
)
"""What it says of directories that do not follow one another (pg_combinebackup.c,
check_backup_label_files and check_control_files); all else may be the fault of this host."""
_CUT_SHORT = re.compile(r"wrote \d+ of \d+")
"""How pg_combinebackup says that a disk filled within one write."""
_DAY_SECONDS = 86400.0


def combine_chain(programs: PostgresPrograms, links: Sequence[Path], directory: Path) -> None:
    """Combine the links, in their order, into ``directory``, and remove them."""
    # What is not yet safe on disk is made so when the server first starts there.
    how = ["--no-sync", *(["--link"] if programs.major >= _LINKS_SINCE else [])]
    done = programs.run_raw(
        COMBINES, *how, "--output", directory, *links, timeout_seconds=_DAY_SECONDS
    )
    if done.returncode != 0:
        raise _combine_failed(directory, done.returncode, done.stderr)
    for each in links:
        shutil.rmtree(each)


def _combine_failed(directory: Path, status: int, stderr: bytes) -> Exception:
    said = stderr.decode("utf-8", "replace")
    if any(sign in said for sign in FULL) or _CUT_SHORT.search(said):
        return NotEnoughSpace(
            f"combine a chain into {directory}: {last_words(stderr)}",
            hint="Make room there, or restore to another file system.",
        )
    if status == 1 and any(sign in said for sign in _NO_CHAIN):
        return BrokenChain(f"combine a chain into {directory}: {last_words(stderr)}")
    return command_failed(COMBINES, status, stderr)
