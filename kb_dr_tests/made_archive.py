"""An archive made up: a backup, then a commit a segment, and timelines that leave it."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kb_dr.domain.layout import wal_key
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import StoredManifest, WalPosition
from kb_dr.domain.recovery import RecoveryPlan
from kb_dr.domain.recovery_target import PointTarget
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_records import WalReader
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.plan_point_recovery import plan_point_recovery
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, WalWriter
from kb_dr_tests.stored_backups import store_objects

CODEC = PlainCodec()
BEGIN = datetime(2026, 11, 20, 2, tzinfo=UTC)


def minute(count: float) -> datetime:
    """So many minutes after the first transaction."""
    return BEGIN + timedelta(minutes=count)


class Archive:
    """A backup in segment 2, then a commit a segment: 3, 4, 5 ... on timeline 1, one a minute.

    None is a segment in which nothing was committed.
    """

    def __init__(self, moments: Sequence[float | None] = range(6)) -> None:
        self.clock = FakeClock()
        self.clock.set(minute(600))
        self.repository = MemoryRepository(clock=self.clock)
        self.keys: dict[str, str] = {}
        self.ends: list[Lsn] = []
        self.stored: list[StoredManifest] = []
        writer = WalWriter(Segment(1, 2, SEGMENT_BYTES))
        self.back_up(writer, minute(-5))
        writer.switch()
        for number, moment in enumerate(moments):
            end = writer.record() if moment is None else writer.commit(minute(moment))
            self.ends.append(Lsn(end))
            if number == 2:
                self.point = Lsn(writer.restore_point("before the migration", minute(2.5)))
            writer.switch()
        self.store(writer)

    def back_up(self, writer: WalWriter, started: datetime) -> None:
        start, stop = Lsn(writer.lsn), Lsn(writer.record())
        made = store_objects(self.repository, started=started, attempt=f"a{len(self.stored)}")
        manifest = replace(
            made,
            wal=WalPosition(writer.first.timeline, start, stop),
            source=replace(
                made.source, system_identifier=SYSTEM_IDENTIFIER, segment_bytes=SEGMENT_BYTES
            ),
            fingerprint=replace(made.fingerprint, lsn=stop),
        )
        self.stored.append(store_manifest(self.repository, manifest))

    def store(self, writer: WalWriter) -> None:
        for name, plain in writer.segments().items():
            self.put(name, plain)

    def put(self, name: str, plain: bytes) -> None:
        key = wal_key(SYSTEM_IDENTIFIER, name, hashlib.sha256(plain).hexdigest())
        self.repository.put(key, CODEC.encode(plain))
        self.keys[name] = key

    def remove(self, number: int, timeline: int = 1) -> None:
        self.repository.delete(self.keys[Segment(timeline, number, SEGMENT_BYTES).name])

    def fork(
        self, timeline: int, at: Lsn, commits: list[datetime], history: str | None = None
    ) -> WalWriter:
        """A timeline that left the first one at the start of a segment, with these commits."""
        self.put(f"{timeline:08X}.history", (history or f"1\t{at}\tno reason\n").encode())
        writer = self.writer(timeline, at // SEGMENT_BYTES)
        writer.record()
        for moment in commits:
            writer.commit(moment)
            writer.switch()
        self.store(writer)
        return writer

    def writer(self, timeline: int, number: int) -> WalWriter:
        """A writer of this segment that goes on from what timeline 1 holds before it."""
        reader = WalReader()
        for each in range(2, number):
            name = Segment(1, each, SEGMENT_BYTES).name
            reader.feed(name, CODEC.decode(self.repository.read(self.keys[name])))
        writer = WalWriter(Segment(timeline, number, SEGMENT_BYTES))
        writer.previous = reader.last_record or 0
        return writer

    def start_of(self, number: int) -> Lsn:
        return Segment(1, number, SEGMENT_BYTES).start

    def plan(self, target: PointTarget, timeline: int | None = None) -> RecoveryPlan:
        return plan_point_recovery(
            self.repository, CODEC, self.stored, target, self.clock, timeline=timeline
        )
