"""Timelines: which one a position of the WAL belongs to.

Source: PostgreSQL, src/backend/access/transam/timeline.c (readTimeLineHistory).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kb_dr.domain.lsn import Lsn
from kb_dr.errors import WalDamaged

_LINE = re.compile(r"\s*(\d+)\s+([0-9A-Fa-f]+/[0-9A-Fa-f]+)(?:\s+(.*))?")


@dataclass(frozen=True, slots=True)
class Branch:
    """One step of a history: ``timeline`` was followed up to ``end``, and left there."""

    timeline: int
    end: Lsn
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Lineage:
    """One timeline and the ancestors it descends from, oldest first."""

    timeline: int
    branches: tuple[Branch, ...] = ()

    @property
    def parent(self) -> int | None:
        """The timeline this one left; None for one without history."""
        return self.branches[-1].timeline if self.branches else None

    @property
    def timelines(self) -> tuple[int, ...]:
        """All of them, oldest first, this one last."""
        return (*(branch.timeline for branch in self.branches), self.timeline)

    def timeline_at(self, lsn: Lsn) -> int:
        """The timeline that the byte at ``lsn`` belongs to on this line."""
        return next((each.timeline for each in self.branches if lsn < each.end), self.timeline)

    def contains(self, timeline: int, lsn: Lsn) -> bool:
        """Whether recovery along this line passes ``lsn`` of ``timeline``.

        ``lsn`` is the end of what was written there, so the very point where a timeline was left
        still is on the line.
        """
        if timeline == self.timeline:
            return not self.branches or lsn >= self.branches[-1].end
        begin = Lsn(0)
        for branch in self.branches:
            if branch.timeline == timeline:
                return begin <= lsn <= branch.end
            begin = branch.end
        return False

    def begin_of(self, timeline: int) -> Lsn:
        """Where a timeline of this line begins; raise ValueError for one that is not on it."""
        begin = Lsn(0)
        for branch in self.branches:
            if branch.timeline == timeline:
                return begin
            begin = branch.end
        if timeline != self.timeline:
            raise ValueError(f"timeline {timeline} is no ancestor of {self.timeline}")
        return begin

    def end_of(self, timeline: int) -> Lsn | None:
        """Where a timeline of this line was left; None for the last; ValueError for a stranger."""
        if timeline == self.timeline:
            return None
        for branch in self.branches:
            if branch.timeline == timeline:
                return branch.end
        raise ValueError(f"timeline {timeline} is no ancestor of {self.timeline}")


def parse_history(timeline: int, text: str) -> Lineage:
    """Read a ``.history`` file; raise WalDamaged where PostgreSQL would refuse it."""
    branches: list[Branch] = []
    name = f"{timeline:08X}.history"
    for line in text.splitlines():
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise WalDamaged(f"read {name}: cannot make sense of the line {content!r}")
        branch = Branch(int(match[1]), Lsn.parse(match[2]), (match[3] or "").strip())
        if branches and branch.timeline <= branches[-1].timeline:
            raise WalDamaged(f"read {name}: timelines must increase, {content!r}")
        if branches and branch.end < branches[-1].end:
            raise WalDamaged(f"read {name}: positions must not go back, {content!r}")
        branches.append(branch)
    if not branches:
        raise WalDamaged(f"read {name}: it names no parent timeline")
    if branches[-1].timeline >= timeline:
        raise WalDamaged(f"read {name}: its parent is timeline {branches[-1].timeline}")
    return Lineage(timeline, tuple(branches))


def newest_timeline(start: int, lineages: Mapping[int, Lineage]) -> Lineage:
    """The line that ``recovery_target_timeline = latest`` follows from timeline ``start``.

    PostgreSQL asks for one history after the other and stops at the first that is absent
    (timeline.c, findNewestTimeLine). Raises WalDamaged when the history of ``start`` is absent.
    """
    if start not in lineages:
        raise WalDamaged(f"follow timeline {start}: its history file is not stored")
    newest = start
    while newest + 1 in lineages:
        newest += 1
    return lineages[newest]
