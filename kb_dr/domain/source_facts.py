"""What the running source says of itself: asked in a moment, unlike a description of it."""

from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.heartbeat import Beat
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.replication_slot import ReplicationSlot


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """The source at one moment."""

    server_version: int
    """``server_version_num``."""
    system_identifier: int
    segment_bytes: int
    is_standby: bool
    written_lsn: Lsn
    """The end of the WAL it has flushed; of a standby, of what it has replayed."""
    timeline: int
    """The one it writes; of a standby, of its last checkpoint."""
    now: datetime
    """Its clock."""
    wal_level: str
    max_wal_senders: int
    archive_timeout_seconds: int
    """After so long a segment with something in it is archived, full or not; 0: never."""
    waiting_segments: int | None
    """Segments ready and not archived yet; None when the role may not look."""
    may_replicate: bool
    """Whether this role may take a base backup."""
    summarizes_wal: bool | None = None
    """``summarize_wal``; None before PostgreSQL 17, which has none."""
    beat: Beat | None = None
    """The heartbeat's row; None when it was never installed, or the role may not read it."""
    slot: ReplicationSlot | None = None
    """The physical slot of the configured name; None when there is none."""

    @property
    def streamed(self) -> bool:
        """Whether WAL is being received through the slot at this moment."""
        return self.slot is not None and self.slot.active

    @property
    def major(self) -> int:
        """The major version, e.g. 16."""
        return self.server_version // 10000
