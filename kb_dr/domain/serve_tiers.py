"""Which backup represents which period of which tier, and what may take its place."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from kb_dr.domain.backup_chains import BackupChains
from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate
from kb_dr.domain.retention_periods import kept_since, period_end, period_start
from kb_dr.domain.retention_policy import RetentionPolicy, Tier

Periods = dict[Tier, datetime]
"""Tiers, with the anchor of the period in each."""


class Tiers:
    """The periods of all tiers the policy keeps, living and over, and what represents them.

    ``backups`` ascend by time and hold none from the future.
    """

    def __init__(
        self,
        backups: Sequence[Candidate],
        chains: BackupChains,
        policy: RetentionPolicy,
        at: datetime,
    ) -> None:
        since = {tier: kept_since(tier, policy, at) for tier in Tier}
        whole = [each for each in backups if chains.whole(each)]
        # Encrypted anew and proven: it stands for what it replaces, in each of its periods.
        taken = {each.replaces for each in whole if each.standing is Standing.PROVEN}
        good = [each for each in whole if each.id not in taken]
        bad = [each for each in backups if not chains.whole(each)]
        proven = [each for each in good if each.standing is Standing.PROVEN]
        self._newest_proven = proven[-1] if proven else None
        self._living: dict[str, Periods] = {}
        self._over: dict[str, Periods] = {}
        self._spoilt: dict[str, Periods] = {}
        self._member: dict[Tier, Candidate] = {}
        for tier, moment in since.items():
            if moment is not None:
                self._choose(tier, moment, good, bad)

    def _choose(
        self, tier: Tier, since: datetime, good: Iterable[Candidate], bad: Iterable[Candidate]
    ) -> None:
        chosen = _first_of_each(tier, good)
        for start, each in chosen.items():
            periods = self._living if period_end(tier, start) > since else self._over
            periods.setdefault(each.id, {})[tier] = start
        self._member.update(
            (tier, each)
            for each in sorted(chosen.values(), key=lambda each: each.started)
            if each.standing is Standing.PROVEN
        )
        for start, each in _first_of_each(tier, bad).items():
            if start not in chosen and period_end(tier, start) > since:
                self._spoilt.setdefault(each.id, {})[tier] = start

    def living(self, each: Candidate) -> Periods:
        """The periods it represents that are young enough."""
        return self._living.get(each.id, {})

    def over(self, each: Candidate) -> Periods:
        """The periods it represents that are too old."""
        return self._over.get(each.id, {})

    def owed(self, each: Candidate) -> Periods:
        """Those of them whose tier has nothing newer that is proven, and so may not shed it."""
        return {
            tier: start
            for tier, start in self.over(each).items()
            if not (tier in self._member and self._member[tier].started > each.started)
        }

    def spoilt(self, each: Candidate) -> Periods:
        """Living periods of which nothing good stands, and of which this is the first of all.

        It may yet be mended from another copy; nothing else of that time is left here.
        """
        return self._spoilt.get(each.id, {})

    def replaced_by_any(self, each: Candidate) -> bool:
        """Whether anything newer is proven."""
        return self._newest_proven is not None and self._newest_proven.started > each.started

    @property
    def newest_proven_id(self) -> str:
        """Of the newest backup that was proven and stands whole."""
        return self._newest_proven.id if self._newest_proven else "nothing"

    def shed_for(self, tier: Tier) -> str:
        """The newest proven backup that represents a period of this tier."""
        return self._member[tier].id if tier in self._member else "nothing"


def _first_of_each(tier: Tier, backups: Iterable[Candidate]) -> dict[datetime, Candidate]:
    """Of each period the first full backup, or else the first incremental one."""
    chosen: dict[datetime, Candidate] = {}
    for each in backups:
        start = period_start(tier, each.started)
        best = chosen.get(start)
        if best is None or (best.kind is not BackupKind.FULL and each.kind is BackupKind.FULL):
            chosen[start] = each
    return chosen
