"""Which backup represents which period of which tier, and what may take its place."""

from collections.abc import Container, Iterable, Sequence
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

    ``backups`` ascend by time and hold none from the future. ``not_counting`` are ids of such that
    another one of the same bytes stands for.
    """

    def __init__(
        self,
        backups: Sequence[Candidate],
        chains: BackupChains,
        policy: RetentionPolicy,
        at: datetime,
        *,
        not_counting: Container[str] = (),
    ) -> None:
        since = {tier: kept_since(tier, policy, at) for tier in Tier}
        good = [each for each in backups if chains.whole(each)]
        bad = [each for each in backups if not chains.whole(each)]
        proven = [each for each in good if each.standing is Standing.PROVEN]
        self._newest_proven = proven[-1] if proven else None
        self._proven = {each.id for each in proven}
        if self._newest_proven is not None:
            # Its restore has read all of its chain, and it stays: others that are proven may go,
            # and then nothing says any more that what they were built upon is good.
            self._proven |= {each.id for each in chains.ancestors(self._newest_proven)}
        self._living: dict[str, Periods] = {}
        self._over: dict[str, Periods] = {}
        self._spoilt: dict[str, Periods] = {}
        self._shed_for: dict[Tier, Candidate] = {}
        self._newest: dict[Tier, Candidate] = {}
        counting = [each for each in good if each.id not in not_counting]
        for tier, moment in since.items():
            if moment is not None:
                self._choose(tier, moment, counting, bad)

    def _choose(
        self, tier: Tier, since: datetime, good: Iterable[Candidate], bad: Iterable[Candidate]
    ) -> None:
        chosen = _first_of_each(tier, good)
        for start, each in chosen.items():
            periods = self._living if period_end(tier, start) > since else self._over
            periods.setdefault(each.id, {})[tier] = start
        members = sorted(chosen.values(), key=lambda each: each.started)
        self._newest.update((tier, each) for each in members)
        self._shed_for.update((tier, each) for each in members if each.id in self._proven)
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
            if not (tier in self._shed_for and self._shed_for[tier].started > each.started)
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
        """The newest proven backup that represents a period of this tier, and by whose proof."""
        found = self._shed_for[tier]
        by = "" if found.standing is Standing.PROVEN else f" with {self.newest_proven_id}"
        return f"{found.id}{by}"

    def newest_of(self, tier: Tier) -> Candidate:
        """What represents the newest period of a tier that anything represents."""
        return self._newest[tier]


def _first_of_each(tier: Tier, backups: Iterable[Candidate]) -> dict[datetime, Candidate]:
    """Of each period the first full backup, or else the first incremental one."""
    chosen: dict[datetime, Candidate] = {}
    for each in backups:
        start = period_start(tier, each.started)
        best = chosen.get(start)
        if best is None or (best.kind is not BackupKind.FULL and each.kind is BackupKind.FULL):
            chosen[start] = each
    return chosen
