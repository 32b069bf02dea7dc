"""A restore in a process of its own, to be killed or starved: prints the error it ends with.

restore_child.py BIN_DIR REPOSITORY TARGET [stall]: the identity comes on standard input; with
``stall`` the last WAL segment is never answered, and a line says when it was asked for.
"""

import sys
import threading
from pathlib import Path

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.postgres_host import LocalPostgresHost
from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.errors import KbDrError
from kb_dr.operations.plan_target import Wanted, plan_target
from kb_dr.operations.restore_postgres import plan_restore, restore_postgres


class _Stalling(DirectoryRepository):
    """Never answers for WAL that a plan ends with, once the plan is made."""

    stalls_on: str | None = None

    def read(self, key: str) -> bytes:
        if key == self.stalls_on:
            print("stalled", flush=True)
            threading.Event().wait()
        return super().read(key)


class _Optimist(LocalPostgresHost):
    """Believes that there is room, as a host does on which somebody else fills the disk."""

    def free_bytes(self, directory: Path) -> int:
        del directory
        return 1 << 60


def main() -> None:
    """Restore, or say what the error was."""
    bin_dir, place, target, *stall = sys.argv[1:]
    repository = _Stalling(Path(place), "primary")
    codec = AgeCodec([], [sys.stdin.read().strip()])
    host, clock = _Optimist([Path(bin_dir)]), SystemClock()
    scratch = LocalScratchSpace(Path(target).parent / "scratch")
    try:
        planned = plan_target(repository, codec, clock, Wanted())
        plan = plan_restore(planned, host, Path(target))
        if stall:
            repository.stalls_on = plan.recovery.segments[-1].key
        restore_postgres(plan, repository, codec, host, scratch, clock, SilentProgress())
    except KbDrError as error:
        # The scratch directory holds a note of the restore, for as long as that goes on.
        left = sorted(
            path.name
            for path in Path(target).parent.iterdir()
            if path.name != "scratch" or any(path.iterdir())
        )
        print(type(error).__name__, left, str(error), flush=True)
    else:
        print("restored", flush=True)


if __name__ == "__main__":
    main()
