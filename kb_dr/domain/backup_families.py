"""Which kinds of backups stand in for each other, and which never do.

A full or an increment is a base of recovery to a point in time. A logical dump is none: it gives
back the rows of one moment, needs no WAL and keeps none. So neither is ever worth one of the other
kind, in retention, in proofs that lift or stop it, or in what is called the newest.
"""

from kb_dr.domain.backup_id import BackupId, BackupKind

Family = tuple[BackupKind, ...]

PHYSICAL: Family = (BackupKind.FULL, BackupKind.INCR)
"""Files of a cluster, made whole by WAL."""

DUMPS: Family = (BackupKind.DUMP,)

FAMILIES: tuple[Family, ...] = (PHYSICAL, DUMPS)
"""Every family this version keeps, the one that recovery rests on first."""


def family_of(kind: BackupKind) -> Family:
    """The kinds that may stand in for one of this kind; itself alone where nothing else does."""
    return next((each for each in FAMILIES if kind in each), (kind,))


def family_of_id(backup_id: str) -> Family:
    """The same by a backup's id; of what is no id, the one that recovery rests on."""
    try:
        return family_of(BackupId.parse(backup_id).kind)
    except ValueError:
        return PHYSICAL
