"""A server and a receiver of a stream that the tests invent."""

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.replication_slot import ReplicationSlot
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.ports import RunningWalReceiver, SourceServer
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER

FACTS = SourceFacts(
    server_version=160004,
    system_identifier=SYSTEM_IDENTIFIER,
    segment_bytes=SEGMENT_BYTES,
    is_standby=False,
    written_lsn=Lsn(100 * SEGMENT_BYTES),
    timeline=1,
    now=datetime(2026, 11, 20, 2, tzinfo=UTC),
    wal_level="replica",
    max_wal_senders=10,
    archive_timeout_seconds=0,
    waiting_segments=None,
    may_replicate=True,
    slot=ReplicationSlot("kb_dr", False, Lsn(SEGMENT_BYTES), 0, "reserved"),
)


class FakeSource:
    """Answers with ``facts``, or fails with ``failure``."""

    def __init__(self, facts: SourceFacts = FACTS) -> None:
        self.answer = facts
        self.failure: Exception | None = None

    def facts(self) -> SourceFacts:
        if self.failure is not None:
            raise self.failure
        return self.answer

    def as_server(self) -> SourceServer:
        """What a stream asks of a server is only this."""
        return cast("SourceServer", self)


class FakeReceiver:
    """A `kb_dr.ports.WalReceiver` that is interrupted when it is to receive."""

    class Started(BaseException):
        """It was to receive."""

    def __init__(self) -> None:
        self.created: list[str] = []
        self.dropped: list[str] = []

    def create_slot(self, slot: str) -> None:
        self.created.append(slot)

    def drop_slot(self, slot: str) -> None:
        self.dropped.append(slot)

    def receiving(self, directory: Path, slot: str) -> AbstractContextManager[RunningWalReceiver]:
        raise FakeReceiver.Started
