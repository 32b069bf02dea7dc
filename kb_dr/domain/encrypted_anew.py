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
    by_id = {each.id: each for each in backups}
    families: dict[str, list[Candidate]] = {}
    for each in backups:
        if chains.whole(each):
            families.setdefault(_origin(each, by_id), []).append(each)
    found: dict[str, Candidate] = {}
    for family in families.values():
        proven = [each for each in family if each.standing is Standing.PROVEN]
        counts = proven[-1] if proven else family[0]
        found.update((each.id, counts) for each in family if each.id != counts.id)
    return found


def _origin(backup: Candidate, by_id: Mapping[str, Candidate]) -> str:
    """The id of the backup it all began with; it may be gone."""
    seen = {backup.id}
    name = backup.id
    current: Candidate | None = backup
    while current is not None and current.replaces is not None and current.replaces not in seen:
        name = current.replaces
        seen.add(name)
        current = by_id.get(name)
    return name
