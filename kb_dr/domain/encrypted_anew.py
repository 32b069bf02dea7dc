"""Of backups that are the same bytes, encrypted to different keys, one counts."""

from collections.abc import Mapping, Sequence

from kb_dr.domain.backup_chains import BackupChains
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate


def encrypted_anew(backups: Sequence[Candidate], chains: BackupChains) -> Mapping[str, Candidate]:
    """Ids of backups that do not count, each with the one that counts in its place.

    It is the latest that is proven; while none is, the first. ``backups`` ascend by time and id,
    and so by when they were encrypted. One whose proof failed is none of them.
    """
    families: dict[object, list[Candidate]] = {}
    for each in backups:
        if chains.whole(each):
            families.setdefault(_bytes_of(each), []).append(each)
    found: dict[str, Candidate] = {}
    for family in families.values():
        if sum(each.replaces is None for each in family) > 1:
            continue  # two that were taken at once, and not of each other
        proven = [each for each in family if each.standing is Standing.PROVEN]
        counts = proven[-1] if proven else family[0]
        found.update((each.id, counts) for each in family if each.id != counts.id)
    return found


def _bytes_of(backup: Candidate) -> object:
    """What stays the same when a backup is encrypted anew.

    Not what it replaces: of three in a row the one between may be gone.
    """
    return (
        backup.kind,
        backup.system_identifier,
        backup.timeline,
        backup.started,
        backup.finished,
        backup.wal,
    )
