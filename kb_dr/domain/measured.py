"""What one look gathered to be measured. None, everywhere: it could not be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.base_backup import ArchiverStatus
from kb_dr.domain.control import ControlRun
from kb_dr.domain.drill import Drill
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.proof import Proof
from kb_dr.domain.severity import Severity
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.space import Space
from kb_dr.domain.status import Status
from kb_dr.domain.watched import Watched

WINDOWS: dict[str, timedelta] = {
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}
"""Over which backups and proofs are counted, by the word in the label."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One backup as the primary repository holds it."""

    id: str
    kind: BackupKind
    started: datetime
    finished: datetime
    stored_bytes: int
    plain_bytes: int


@dataclass(frozen=True, slots=True)
class Tries:
    """What was tried of one kind, by the time in the ids."""

    succeeded: tuple[datetime, ...]
    failed: tuple[datetime, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything metrics are made of."""

    service: str
    version: str
    """Of kb_dr."""
    python: str
    looked_at: datetime
    """When the look was begun."""
    seconds: float
    """How long it took."""
    status: Status | None = None
    watched: tuple[Watched, ...] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    """What the settings allow, in seconds."""
    taken: Mapping[BackupKind, tuple[Taken, ...]] | None = None
    """The backups of late of the primary, oldest first; the newest whatever its age, and all of
    the seven days before it."""
    tries: Mapping[BackupKind, Tries] | None = None
    """Of the longest of WINDOWS."""
    last_dump: datetime | None = None
    """When the newest dump of the primary ended that nothing speaks against."""
    proofs: tuple[Proof, ...] | None = None
    """Finished within the longest of WINDOWS, of every copy."""
    report: IntegrityReport | None = None
    """The newest one of every copy that is recent enough to be believed."""
    report_wrong: int = 0
    """How much it, or a newer one, found wrong."""
    drills: tuple[Drill, ...] | None = None
    controls: tuple[ControlRun, ...] | None = None
    proofs_void: bool | None = None
    held: int | None = None
    source: SourceFacts | None = None
    source_asked_at: datetime | None = None
    """By this machine's clock, the middle of asking and answer."""
    archiver: ArchiverStatus | None = None
    spaces: Mapping[str, Space] = field(default_factory=dict)
    """Of the places that have an end and could be asked."""
    last_watch: datetime | None = None
    open_alerts: Mapping[Severity, int] | None = None
