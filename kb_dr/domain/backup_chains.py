"""Which backups of a copy stand whole: nothing known against them or what they are built upon."""

from collections.abc import Iterable, Iterator, Mapping

from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate


class BackupChains:
    """The backups of one copy by id, with their parents."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._by_id: Mapping[str, Candidate] = {each.id: each for each in candidates}
        self._whole: dict[str, bool] = {}

    def ancestors(self, candidate: Candidate) -> Iterator[Candidate]:
        """What it is built upon, the nearest first, as far as it is here."""
        seen = {candidate.id}
        parent = candidate.parent
        while parent is not None and parent not in seen and parent in self._by_id:
            seen.add(parent)
            found = self._by_id[parent]
            yield found
            parent = found.parent

    def whole(self, candidate: Candidate) -> bool:
        """Whether every backup of its chain is here, is the one it was built upon, and no proof
        of any of them failed. A proof of its own says nothing of a parent damaged since.
        """
        below: list[Candidate] = []
        names: set[str] = set()
        current = candidate
        while True:
            known = self._whole.get(current.id)
            if known is not None:
                break
            below.append(current)
            names.add(current.id)
            parent = self._parent(current)
            if current.standing is Standing.FAILED or current.parent is None or parent is None:
                known = current.standing is not Standing.FAILED and current.parent is None
                self._whole[current.id] = known
                below.pop()
                break
            if parent.id in names:
                known = False
                break
            current = parent
        for each in reversed(below):
            known = known and each.standing is not Standing.FAILED
            self._whole[each.id] = known
        return self._whole[candidate.id]

    def _parent(self, candidate: Candidate) -> Candidate | None:
        """Its parent, if that is the very backup it was built upon."""
        if candidate.parent is None:
            return None
        found = self._by_id.get(candidate.parent)
        if found is None or candidate.parent_digest not in (None, found.digest):
            return None
        return found
