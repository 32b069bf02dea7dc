"""Can we recover now? What each copy allows, and what that comes to."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kb_dr.domain.finding import Finding
from kb_dr.domain.forecast import Forecast, RestoreWork
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Phase, Standing


@dataclass(frozen=True, slots=True)
class Evidence:
    """A moment that the archive provably covers: what was committed by then is in it."""

    at: datetime
    lsn: Lsn
    """The end of the last complete record: how far recovery comes."""
    timeline: int
    what: str
    """Where the moment comes from: a commit, a restore point, the start of a backup."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time to any moment of which one copy can recover, as far as can be told
    without doing it.
    """

    system_identifier: int
    timeline: int
    begins_at: datetime
    """When the oldest of its backups was consistent: its end."""
    begins_lsn: Lsn
    end: Evidence | None
    """None when it could not be told; ``problem`` says why."""
    last_segment: str
    """The last archived segment without a gap before it."""
    backups: tuple[str, ...]
    """Oldest first."""
    problem: str = ""

    @property
    def line(self) -> tuple[int, int]:
        """The cluster and the timeline it ends on."""
        return self.system_identifier, self.timeline


@dataclass(frozen=True, slots=True)
class BackupStatus:
    """One backup of one copy."""

    id: str
    digest: str
    finished: datetime
    standing: Standing
    wal_complete: bool
    """Whether all WAL it needs stands in this copy."""
    work: RestoreWork | None = None
    """What a restore to the newest moves; None when its WAL is not complete."""
    broken: str = ""
    """Why an increment has failed with its parents: one is lost, or is known to be bad."""

    @property
    def usable(self) -> bool:
        """Whether anything speaks against restoring it. Only a proof speaks for it."""
        return self.wal_complete and self.standing is not Standing.FAILED


@dataclass(frozen=True, slots=True)
class ProvenBackup:
    """A backup whose newest conclusive proof, of this digest and copy, is PROVEN."""

    id: str
    digest: str
    finished: datetime
    """When the backup was."""
    proof_id: str
    proven_at: datetime
    rto_seconds: float
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class CopyStatus:
    """What one repository allows."""

    copy: str
    url: str
    problem: str
    """Why it could not be looked at, or not to the end; empty when it could."""
    hint: str
    backups: tuple[BackupStatus, ...]
    """Oldest first."""
    unreadable: tuple[str, ...]
    """Manifests and proofs that stand there and cannot be read."""
    proven: tuple[ProvenBackup, ...]
    windows: tuple[Window, ...]
    """Oldest first; more than one where the archive has gaps."""
    looked_since: datetime | None = None
    """When the oldest backup looked at was begun: of what is older nothing is said here, and a
    window may begin earlier than it shows. None when everything was looked at."""

    @property
    def newest_backup(self) -> BackupStatus | None:
        """By the end of the backup."""
        return max(self.backups, key=lambda each: each.finished, default=None)

    @property
    def newest_proven(self) -> ProvenBackup | None:
        """The newest backup that is proven."""
        return max(self.proven, key=lambda each: each.finished, default=None)

    @property
    def newest_proof(self) -> ProvenBackup | None:
        """The proven backup whose proof is the newest."""
        return max(self.proven, key=lambda each: each.proven_at, default=None)

    @property
    def tip_window(self) -> Window | None:
        """The window of the newest usable backup: where a recovery to "latest" ends."""
        newest = self.newest_usable
        if newest is None:
            return None
        return next((each for each in self.windows if newest.id in each.backups), None)

    @property
    def newest_usable(self) -> BackupStatus | None:
        """The backup that a recovery to "latest" begins with."""
        usable = [each for each in self.backups if each.usable]
        return max(usable, key=lambda each: each.finished, default=None)

    @property
    def proven_share(self) -> float | None:
        """Proven backups of all there are; None without backups, or when not all were looked at:
        the newest are proven more often.
        """
        if self.looked_since is not None or not self.backups:
            return None
        return len(self.proven) / len(self.backups)


class RpoSource(StrEnum):
    """Where the moments come from that an RPO is measured by."""

    HEARTBEAT = "heartbeat"
    """Commits flow every few seconds: an old newest commit means a stalled archive."""
    COMMITS = "commit times in archived WAL"
    """Of whatever was committed: a quiet source and a stalled archive look alike."""


@dataclass(frozen=True, slots=True)
class ProvenBase:
    """A backup that was restored and looked at."""

    id: str
    digest: str
    proven_in: str
    """The copy it was restored from: the one in question, or another with the same manifest."""
    proof_id: str


@dataclass(frozen=True, slots=True)
class CopyRpo:
    """What a disaster now would cost if this copy were all that was left."""

    copy: str
    seconds: float | None
    """None: could not tell."""
    seen: str
    source: RpoSource
    base: ProvenBase | None = None
    """What the newest moment stands on; None when nothing it stands on is proven."""
    live_seconds: float | None = None
    """The source's own last beat against the newest archived commit: both by the source's clock.
    None without a heartbeat, or a source that answers.
    """


@dataclass(frozen=True, slots=True)
class WindowStatus:
    """A window of one copy, as people ask for it."""

    copy: str
    begins_at: datetime
    ends_at: datetime | None
    """None when it could not be told; ``problem`` says why."""
    timeline: int
    backups: int
    base: ProvenBase | None
    """The newest of its backups that is proven; None when recovering into it is only a hope."""
    problem: str
    or_earlier: bool = False
    """Whether it may begin earlier: older backups were not looked at."""


@dataclass(frozen=True, slots=True)
class CopyForecast:
    """How long a restore of the newest usable backup of one copy would take now."""

    copy: str
    backup_id: str | None
    """None when the copy has none."""
    forecast: Forecast


@dataclass(frozen=True, slots=True)
class Rto:
    """How long a restore took when one was last proven."""

    seconds: float
    backup_id: str
    copy: str
    proof_id: str
    phases: tuple[Phase, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """The answer, and what it rests on."""

    now: datetime
    recoverable: bool
    """Whether any copy holds a usable backup, and WAL whose end is known."""
    holds: bool
    """Whether every objective holds; what could not be told does not."""
    rpo_seconds: float | None
    """Of the worst copy; None when any could not tell."""
    rto: Rto | None
    rpo: tuple[CopyRpo, ...]
    forecasts: tuple[CopyForecast, ...]
    """Disaster now: one for each copy."""
    windows: tuple[WindowStatus, ...]
    copies: tuple[CopyStatus, ...]
    objectives: tuple[Finding, ...]
    notes: tuple[str, ...]
