"""What retention decides, backup by backup, and why. Values alone; see plan_retention.py."""

from dataclasses import dataclass, field
from datetime import datetime

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.hold import HoldEvent
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention_policy import Tier
from kb_dr.domain.wal_names import Segment


@dataclass(frozen=True, slots=True)
class Candidate:
    """One backup of one copy, as far as retention looks at it."""

    id: str
    kind: BackupKind
    digest: str
    started: datetime
    finished: datetime
    system_identifier: int
    timeline: int
    wal: tuple[Segment, Segment] | None
    """The first and the last segment it needs to become consistent; None of a dump, which needs
    none."""
    parent: str | None
    """The backup it cannot be restored without; None of a full one."""
    standing: Standing
    """In this copy."""
    holds: tuple[HoldEvent, ...] = ()
    locked_until: datetime | None = None
    """The store refuses to delete it before; None when nothing of it is locked."""
    parent_digest: str | None = None
    """Of the parent's manifest; None when it was not recorded."""
    replaces: str | None = None
    """The backup whose very bytes these are, encrypted to other keys."""

    @property
    def segments(self) -> tuple[Segment, Segment]:
        """``wal`` of a backup that needs any; ValueError of one that does not."""
        if self.wal is None:
            raise ValueError(f"{self.id} needs no WAL")
        return self.wal


@dataclass(frozen=True, slots=True)
class ExpiredBackup:
    """A backup that retention let go of, and whose objects still stand."""

    backup: Candidate
    """As its tombstone's manifest tells; with the holds and the lock of today."""
    at: datetime
    """When it expired."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one backup."""

    id: str
    started: datetime
    digest: str
    keep: bool
    tiers: tuple[Tier, ...]
    """The tiers it serves now; empty of one that is kept for another reason, or not at all."""
    reasons: tuple[str, ...]
    """For people, the strongest first; never empty."""
    owed: tuple[Tier, ...] = ()
    """The tiers it is too old for, and that may not shed it: nothing newer in them is proven."""


@dataclass(frozen=True, slots=True)
class WalRange:
    """WAL files of one timeline of one cluster, both ends included."""

    system_identifier: int
    timeline: int
    first: str
    """A file's name: a segment, or what is named after one."""
    last: str
    files: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What retention would do to one copy at one moment."""

    copy: str
    url: str
    at: datetime
    """What was taken for now: never far ahead of what the store itself was last written."""
    decisions: tuple[Decision, ...]
    """Every backup of the copy, oldest first."""
    purge_now: tuple[str, ...] = ()
    """Backups expired earlier whose time to be brought back is over: their objects go."""
    wal: tuple[WalRange, ...] = ()
    """WAL that goes."""
    notes: tuple[str, ...] = field(default=())
    """Why something was left alone that would otherwise go."""
    fingerprint: str = ""
    """Digest of everything that goes (not of the moment): apply refuses when it has changed."""
    prove_next: tuple[str, ...] = ()
    """Backups whose proof would let a tier shed what it is owed, the shortest tier first."""
    stopped: bool = False
    """Whether no base backup may go, and so no WAL, for the reasons that the notes begin with."""

    @property
    def expire(self) -> tuple[Decision, ...]:
        """What goes, oldest first. Parents come before what was built upon them."""
        return tuple(each for each in self.decisions if not each.keep)
