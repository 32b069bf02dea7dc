"""A new, empty cluster in a work area, for dumps to be loaded into."""

from pathlib import Path

from kb_dr.adapters.postgres_programs import FULL, PostgresPrograms, command_failed, last_words
from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.domain.recovery import WorkArea
from kb_dr.errors import NotEnoughSpace

_INITDB_SECONDS = 3600.0

_WORDS = (
    # Whoever enters the private directory of the socket is let in; nobody else gets there.
    *("--auth=trust", "--data-checksums", "--no-sync", "--encoding=UTF8"),
    # Every host has it. The database that is loaded gets its own.
    "--locale=C",
)


def make_empty_cluster(
    programs: PostgresPrograms, unprivileged: Unprivileged, area: WorkArea, superuser: str
) -> None:
    """Run initdb in ``area.data``; what it wrote is not safe on disk, and need not be.

    Raises PostgresProgramMissing without initdb, NotEnoughSpace, PostgresCommandFailed.
    """
    _make(area.data, unprivileged)
    done = programs.run_raw(
        "initdb",
        *_WORDS,
        f"--username={superuser}",
        f"--pgdata={area.data}",
        timeout_seconds=_INITDB_SECONDS,
    )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        if any(sign in said for sign in FULL):
            raise NotEnoughSpace(
                f"make a cluster in {area.data}: {last_words(done.stderr)}",
                hint="Make room, or point KB_DR_SCRATCH_DIR at another file system.",
            )
        raise command_failed("initdb", done.returncode, done.stderr)


def _make(directory: Path, unprivileged: Unprivileged) -> None:
    directory.mkdir(mode=0o700)
    unprivileged.give(directory)
