"""What a recovery is to do, worked out before anything is changed, and what it came to."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.proof import Reach
from kb_dr.domain.recovery_target import Latest, RecoveryTarget
from kb_dr.domain.stored import StoredObject

SPOOLED_SEGMENTS = 8
"""WAL segments held ready ahead of replay."""


@dataclass(frozen=True, slots=True)
class WalFile:
    """One WAL file that a recovery is served."""

    name: str
    key: str
    sha256: str
    """Of the plain bytes; empty for a partial one: its encryption and page headers vouch for it."""
    stored_bytes: int
    partial: bool = False
    """A segment that was still being written when a stream shipped it: zeros follow its WAL."""


@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """One recovery from one copy. Frozen: WAL that arrives later is not part of it."""

    stored: StoredManifest
    target: RecoveryTarget
    copy: str
    url: str
    system_identifier: int
    timeline: int
    """The timeline replay follows."""
    segments: tuple[WalFile, ...]
    """In the order of replay, from the segment of the backup's start; never empty."""
    histories: tuple[WalFile, ...]
    """Every history file of the archive: PostgreSQL reads them to choose its next timeline."""
    expected_end: Lsn
    """Where replay has to come to: the end of the last complete WAL record, or, for a target,
    that of the last record before it."""
    expected_timeline: int
    """The timeline of that record."""
    newest_commit: datetime | None
    """The last commit up to there, in the WAL looked at; None when there was none in it."""
    bytes_needed: int
    """Room the data directory and the spool take."""
    notes: tuple[str, ...] = field(default=())
    """What an operator should know before saying yes."""
    chain: tuple[StoredManifest, ...] = field(default=())
    """All that is restored: the full first, ``stored`` last; empty says that it is alone."""

    @property
    def fetched(self) -> tuple[Manifest, ...]:
        """The backups whose files are fetched, oldest first; more than one are combined.

        A recovery point has no files: it is those of its parent, replayed farther.
        """
        members = tuple(each.manifest for each in self.chain or (self.stored,))
        return tuple(each for each in members if each.has_files)

    @property
    def combines(self) -> bool:
        """Whether files of several backups make up the cluster."""
        return len(self.fetched) > 1

    @property
    def configuration(self) -> StoredObject | None:
        """The source's configuration from outside the data directory, as it was last backed up."""
        return self.stored.manifest.configuration or self.fetched[-1].configuration

    @property
    def first_segment(self) -> str:
        """Where replay begins."""
        return self.segments[0].name

    @property
    def last_segment(self) -> str:
        """Where replay ends."""
        return self.segments[-1].name

    def reach(self, replay: "Replay") -> Reach:
        """What was reached, against what this plan expects."""
        return Reach(
            expected_timeline=self.expected_timeline,
            expected_lsn=self.expected_end,
            reached_timeline=replay.timeline,
            reached_lsn=replay.lsn,
            newest_commit=replay.newest_commit,
            asked=str(self.target),
            exact=self.target != Latest(),
            expected_commit=self.newest_commit,
        )


@dataclass(frozen=True, slots=True)
class Replay:
    """How far a restored server has replayed."""

    lsn: Lsn | None
    """The end of the last record replayed; None when the server cannot say."""
    timeline: int | None
    """Of that record. In recovery it is that of the last restart point, which may be behind."""
    paused: bool
    in_recovery: bool
    newest_commit: datetime | None
    """Commit time of the last transaction replayed since the server was started."""


@dataclass(frozen=True, slots=True)
class ControlFile:
    """What ``pg_control`` of a data directory says."""

    system_identifier: int
    state: str
    """As pg_controldata says it, e.g. ``shut down``."""
    timeline: int
    checkpoint: Lsn


@dataclass(frozen=True, slots=True)
class ServerConfiguration:
    """How a restored server is started. Nothing of the source's own configuration is read."""

    settings: dict[str, str]
    recover: bool
    """Whether it starts in archive recovery (``recovery.signal``)."""


@dataclass(frozen=True, slots=True)
class WorkArea:
    """The directories of one restore, private to it, all below ``root`` but the sockets."""

    root: Path
    sockets: Path
    """Short, so that the path of a socket fits into 107 bytes."""

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.root / "data"

    def link(self, number: int) -> Path:
        """The files of one backup of a chain, before they are combined; 0 is the full."""
        return self.root / f"chain-{number:04}"

    @property
    def spool(self) -> Path:
        """Where WAL is laid ready for the server."""
        return self.root / "spool"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.root / "server.log"
