"""A look at an installation whose backups were all taken, copied and proven, counted."""

from collections.abc import Callable
from pathlib import Path

from kb_dr.domain.proof import Verdict
from kb_dr_tests.counting_repository import CountingRepository
from kb_dr_tests.made_installation import MadeInstallation


def counted_look(
    directory: Path, backups: int, look: Callable[[MadeInstallation], object]
) -> dict[str, CountingRepository]:
    """What it asks of each copy, where there are so many backups."""
    made = MadeInstallation(directory)
    for day in range(backups):
        stored = made.has_backup(days=day)
        made.has_offsite_copy(stored)
        made.has_proof(stored, Verdict.PROVEN)
    counted = {copy: CountingRepository(memory) for copy, memory in made.memory.items()}
    made._repositories.update(counted)
    look(made)
    return counted
