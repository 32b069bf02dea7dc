"""How to start this very installation from anywhere: for commands PostgreSQL runs."""

import sys
from pathlib import Path


def program() -> list[str]:
    """The words that start `kb-dr`."""
    beside = Path(sys.executable).with_name("kb-dr")
    if beside.is_file():
        return [str(beside)]
    # -P: PostgreSQL runs it in the data directory, where nothing is to be imported from.
    return [sys.executable, "-P", "-m", "kb_dr.cli"]
