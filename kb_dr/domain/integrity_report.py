"""The daily integrity report: what is kept in each copy, why, and what has been shown of it."""

from dataclasses import dataclass, field
from datetime import datetime

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.coverage import Stretch
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention_policy import Tier


@dataclass(frozen=True, slots=True)
class BackupLine:
    """One backup of one copy."""

    id: str
    kind: BackupKind
    digest: str | None
    """None when its manifest cannot be read."""
    finished: datetime | None
    stored_bytes: int
    tiers: tuple[Tier, ...]
    keep: bool
    """Whether retention keeps it as things stand."""
    standing: Standing
    proof_id: str | None
    """The proof its standing rests on."""
    proven_at: datetime | None
    """When that ended; None unless it is PROVEN."""
    holds: tuple[str, ...]
    """The reasons it is held for."""
    problem: str = ""
    """Why it cannot be relied on, whatever its proofs say."""


@dataclass(frozen=True, slots=True)
class Reread:
    """What was read again of one copy, byte by byte."""

    slices: tuple[int, ...]
    """Of kb_dr.domain.reread, those whose turn it was, read to their end."""
    objects: int
    size_bytes: int
    unchecked: int
    """WAL files whose plain digest could not be checked for want of an identity."""
    damaged: tuple[str, ...]
    """What was found, for people; the first thousand."""
    more_damaged: int = 0
    damaged_slices: tuple[int, ...] = ()
    """Where it was found: each is read by every report until nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """One copy."""

    copy: str
    url: str
    problem: str
    """Why it could not be looked at, or not to the end; empty when it could."""
    backups: tuple[BackupLine, ...]
    """Oldest first."""
    wal_files: int
    wal_bytes: int
    stretches: tuple[Stretch, ...]
    """From the oldest recoverable moment to now."""
    reread: Reread | None
    """None when nothing could be read."""
    read_since: datetime | None
    """Every byte that is kept has been read since; None while some part never was."""

    @property
    def stored_bytes(self) -> int:
        """Backups and WAL."""
        return self.wal_bytes + sum(each.stored_bytes for each in self.backups)

    def tier_bytes(self) -> dict[str, int]:
        """Stored bytes by the longest tier a backup serves; ``other`` for those that serve none,
        ``wal`` for WAL. They add up to stored_bytes.
        """
        found: dict[str, int] = {}
        longest_first = tuple(reversed(Tier))
        for each in self.backups:
            tier = next((str(tier) for tier in longest_first if tier in each.tiers), "other")
            found[tier] = found.get(tier, 0) + each.stored_bytes
        found["wal"] = self.wal_bytes
        return found


@dataclass(frozen=True, slots=True)
class Coverage:
    """Verified coverage (F11), each a share from 0 to 1; None where there is nothing to count."""

    backups: float | None
    """Base backups of all copies that retention keeps, with a green proof younger than the
    limit."""
    window: float | None
    """The worst copy's window from its oldest recoverable moment to now that is proven."""
    copies: float | None
    """Copies with at least one green proof, of a base backup, younger than the limit."""
    dumps: float | None = None
    """Logical dumps of all copies that retention keeps, with a green proof younger than that."""


@dataclass(frozen=True, slots=True)
class IntegrityReport:
    """One look at everything. Appended to each copy, never rewritten."""

    schema_version: int
    id: str
    """Begins with the time it started, ``YYYYMMDD-HHMMSS-…``."""
    service: str
    at: datetime
    finished: datetime
    host: str
    proof_age_seconds: float
    """How old a proof may be to count as fresh."""
    copies: tuple[CopyReport, ...]
    coverage: Coverage
    shortfalls: tuple[str, ...] = field(default=())
    """What is wrong, the worst first; a report without is good."""

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.shortfalls
