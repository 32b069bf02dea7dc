"""Refuse a second installation in one repository, whose marker is that of the first."""

from itertools import islice

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import WrongRepository
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr.operations.newest_first import newest_first
from kb_dr.ports import Repository

_LOOKS_BACK = 500
"""Backups looked at when the newest is another cluster's: a week of another's hourly ones."""
_TURNS = 5
"""The other, this one, the other, this one, the other."""


def refuse_newcomer(repository: Repository, backup: BackupId, system_identifier: int) -> None:
    """Raise WrongRepository when this cluster came into another's repository, which lives on.

    The other one was backed up before the first backup of this one that is seen, and has come back
    twice since. An upgrade is not that, nor one that was taken back, nor an old server that was
    started once more by mistake. Reads one manifest as long as the newest is of this cluster.
    """
    newest: int | None = None
    turns: list[StoredManifest] = []
    for _, found in islice(newest_first(repository, backup, ALL_KINDS), _LOOKS_BACK):
        if not isinstance(found, StoredManifest):
            continue
        system = found.manifest.source.system_identifier
        if newest is None and system == system_identifier:
            return
        newest = newest or system
        if system not in (newest, system_identifier):
            continue
        if turns and turns[-1].manifest.source.system_identifier == system:
            turns[-1] = found
        else:
            turns.append(found)
    if len(turns) < _TURNS or turns[-1].manifest.source.system_identifier != newest:
        return
    ours = turns[-2]
    raise WrongRepository(
        f"back up {backup}: {repository.url} is the repository of cluster {newest}, which was "
        f"backed up before {ours.manifest.id} of this cluster, and since",
        hint="Two installations share it: give this one a repository of its own (KB_DR_ORG, or "
        "another bucket or prefix), and `kb-dr init` it.",
    )
