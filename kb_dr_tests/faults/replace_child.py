"""Replaces a cluster and kills itself at a rename: ENV_FILE DIR TIME RENAMES."""

import os
import signal
import sys
from pathlib import Path

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.standing_clusters import LocalStandingClusters
from kb_dr.domain.recovery_target import parse_time
from kb_dr.installation import Installation
from kb_dr.operations.plan_target import Wanted
from kb_dr.settings import load_settings

_rename = LocalStandingClusters.rename


def main(env_file: str, target: str, at: str, renames: str) -> None:
    """Die after so many renames."""
    left = int(renames)

    def rename(self: LocalStandingClusters, old: Path, new: Path) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        _rename(self, old, new)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    LocalStandingClusters.rename = rename  # type: ignore[method-assign]  # only in this process
    opened = Installation(load_settings(env_file=Path(env_file)))
    plan = opened.plan_replacement(Wanted(parse_time(at)), None, Path(target))
    opened.replace(plan, SilentProgress())


if __name__ == "__main__":
    main(*sys.argv[1:])
