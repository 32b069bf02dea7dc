"""What a watch may see, made up: a server's words, backups, and a copy that follows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from kb_dr.domain.base_backup import ArchiverStatus
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.replication_slot import ReplicationSlot
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.watch.backups import MEAN_DAYS_OF_DUMPS, SeenBackup, SeenBackups, Series
from kb_dr.domain.watch.conclude import Unknown
from kb_dr_tests.stored_backups import SEGMENT_BYTES, SYSTEM, segment

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SILENT = Unknown("it does not answer", "Start it.")

FACTS = SourceFacts(
    server_version=160014,
    system_identifier=SYSTEM,
    segment_bytes=SEGMENT_BYTES,
    is_standby=False,
    written_lsn=Lsn(10 * SEGMENT_BYTES + 0x100),
    timeline=1,
    now=NOW,
    wal_level="replica",
    max_wal_senders=10,
    archive_timeout_seconds=300,
    waiting_segments=0,
    may_replicate=True,
)
"""A server that writes segment 10; all before it is archived."""

SLOT = ReplicationSlot("kb_dr", active=True, restart_lsn=Lsn(9 * SEGMENT_BYTES),
                       lag_bytes=SEGMENT_BYTES, wal_status="reserved")  # fmt: skip
STREAMED = replace(FACTS, slot=SLOT)

ARCHIVER = ArchiverStatus(
    mode="on",
    command="kb-dr wal push %p",
    archived_count=9,
    failed_count=0,
    last_archived_wal=segment(9).name,
    last_archived_at=NOW - timedelta(seconds=30),
    last_failed_wal=None,
    last_failed_at=None,
)
OFF = replace(ARCHIVER, mode="off", command="(disabled)", last_archived_wal=None)


def full(hours: float, *, minutes: float = 1, size: int = 1000, good: bool = True,
         system: int = SYSTEM, starts_in: int = 2) -> SeenBackup:  # fmt: skip
    """A full backup that ended so many hours ago, and took so many minutes."""
    finished = NOW - timedelta(hours=hours)
    started = finished - timedelta(minutes=minutes)
    return SeenBackup(
        id=f"kb-full-{started:%Y%m%d-%H%M%S}",
        started=started,
        finished=finished,
        system_identifier=system,
        plain_bytes=size,
        stored_bytes=size // 2,
        starts_in=segment(starts_in),
        good=good,
    )


def increment(hours: float) -> SeenBackup:
    """The same of an incremental one."""
    made = full(hours)
    return replace(made, id=made.id.replace("full", "incr"))


def dump(hours: float, **more: Any) -> SeenBackup:
    """The same of a logical dump."""
    made = full(hours, **more)
    return replace(made, id=made.id.replace("full", "dump"), starts_in=None)


def dumped(*dumps: SeenBackup, older: int = 0, unreadable: tuple[str, ...] = ()) -> Series:
    """A primary that holds these dumps."""
    return Series("dump_", MEAN_DAYS_OF_DUMPS, dumps, older, unreadable)


NO_DUMPS = dumped()


def holds(*fulls: SeenBackup, newest: SeenBackup | None = None, older: int = 0) -> SeenBackups:
    """A copy that holds these."""
    return SeenBackups(fulls=fulls, newest_increment=newest, older=older)
