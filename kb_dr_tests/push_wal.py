"""An archive_command for the tests: push_wal.py DIRECTORY RECIPIENT PATH.

The product's own push, without the settings a whole installation needs.
"""

import os
import sys
from pathlib import Path

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.operations.archive_wal import archive_wal


def archive_command(repository: Path, recipient: str) -> str:
    """The line for postgresql.conf."""
    return f"{sys.executable} {Path(__file__).resolve()} {repository} {recipient} %p"


if __name__ == "__main__":
    directory, public_key, segment = sys.argv[1:]
    # The archiver's working directory is the data directory; pg_control begins with the number.
    identifier = int.from_bytes(Path("global/pg_control").read_bytes()[:8], sys.byteorder)
    archive_wal(
        Path(os.path.abspath(segment)),
        repository=DirectoryRepository(Path(directory), "primary"),
        codec=AgeCodec([public_key]),
        system_identifier=identifier,
    )
