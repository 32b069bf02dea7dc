"""What a proof says, check by check, and that nothing is left of it."""

from contextlib import suppress
from pathlib import Path

import psutil

from kb_dr.domain.proof import Outcome, Proof


def outcomes(proof: Proof) -> dict[str, Outcome]:
    """Of each check, by its name."""
    return {check.name: check.outcome for check in proof.checks}


def seen(proof: Proof, name: str) -> str:
    """What the one check of that name saw."""
    (check,) = [check for check in proof.checks if check.name == name]
    return check.seen


def require_nothing_left(scratch: Path) -> None:
    """No file of a proof is left in its directory, and no server of it runs."""
    assert not scratch.exists() or list(scratch.iterdir()) == [], "scratch outlived its proof"
    assert servers_in(scratch) == []


def servers_in(directory: Path) -> list[str]:
    """The command lines of servers whose files lie below ``directory``."""
    lines = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            lines.append(" ".join(process.cmdline()))
    return [line for line in lines if "postgres" in line and f"{directory}/" in line]
