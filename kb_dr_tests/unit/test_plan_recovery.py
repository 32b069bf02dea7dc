"""The plan knows how far a recovery comes, or says why it cannot be complete."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kb_dr import records
from kb_dr.domain.layout import wal_key
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import StoredManifest, WalPosition
from kb_dr.domain.recovery import RecoveryPlan
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import ObjectConflict, RepositoryUnavailable, WalDamaged, WalGap
from kb_dr.operations.plan_recovery import plan_recovery
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, WalWriter
from kb_dr_tests.stored_backups import store_objects

CODEC = PlainCodec()
COMMIT = datetime(2026, 11, 20, 3, tzinfo=UTC)
FIRST = Segment(1, 2, SEGMENT_BYTES)


def _put(repository: MemoryRepository, name: str, plain: bytes) -> str:
    key = wal_key(SYSTEM_IDENTIFIER, name, hashlib.sha256(plain).hexdigest())
    repository.put(key, CODEC.encode(plain))
    return key


class Archive:
    """A backup that starts and stops in segment 2, and WAL through segment 5."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.repository = MemoryRepository(clock=self.clock)
        writer = WalWriter(FIRST)
        start = Lsn(writer.lsn)
        stop = Lsn(writer.record())
        point = Lsn(writer.record())
        writer.fill(3)
        self.commit = Lsn(writer.commit(COMMIT))
        self.end = Lsn(writer.switch())
        self.keys = {
            name: _put(self.repository, name, plain) for name, plain in writer.segments().items()
        }
        made = store_objects(self.repository)
        source = replace(made.source, system_identifier=SYSTEM_IDENTIFIER)
        manifest = replace(
            made,
            wal=WalPosition(1, start, stop),
            source=replace(source, segment_bytes=SEGMENT_BYTES),
            fingerprint=replace(made.fingerprint, lsn=point),
        )
        self.stored = StoredManifest(manifest, "0" * 64, "primary")

    def segment(self, number: int, timeline: int = 1) -> str:
        return Segment(timeline, number, SEGMENT_BYTES).name

    def remove(self, number: int) -> bytes:
        key = self.keys[self.segment(number)]
        body = self.repository.read(key)
        self.repository.delete(key)
        return body

    def add_timeline(self, fork: Lsn, *, segments: bool = True) -> WalWriter:
        """Timeline 2 left timeline 1 at ``fork``, the start of a segment."""
        _put(self.repository, "00000002.history", f"1\t{fork}\tno reason\n".encode())
        writer = WalWriter(Segment.holding(2, fork, SEGMENT_BYTES))
        writer.commit(COMMIT)
        writer.switch()
        if segments:
            for name, plain in writer.segments().items():
                _put(self.repository, name, plain)
        return writer


@pytest.fixture
def archive() -> Archive:
    return Archive()


def _plan(archive: Archive) -> RecoveryPlan:
    return plan_recovery(archive.repository, CODEC, archive.stored, archive.clock)


def test_the_end_is_that_of_the_last_complete_record(archive: Archive) -> None:
    plan = _plan(archive)

    assert plan.expected_end == archive.end
    assert plan.expected_timeline == 1
    assert plan.newest_commit == COMMIT
    assert [file.name for file in plan.segments] == [archive.segment(n) for n in range(2, 6)]
    assert records.as_builtins(plan)["expected_end"] == str(archive.end)


@pytest.mark.parametrize("number", [2, 3, 4])
def test_a_hole_is_never_taken_for_the_end(archive: Archive, number: int) -> None:
    archive.remove(number)

    with pytest.raises(WalGap, match=archive.segment(number)):
        _plan(archive)


def test_a_hole_at_the_tip_is_waited_for(archive: Archive) -> None:
    body = archive.remove(4)
    key = archive.keys[archive.segment(4)]
    sleep = archive.clock.sleep

    def arrives(seconds: float) -> None:
        sleep(seconds)
        archive.repository.put(key, body)

    archive.clock.sleep = arrives  # type: ignore[method-assign]  # the upload comes to its end

    assert _plan(archive).expected_end == archive.end


def test_no_segment_behind_the_last_is_the_end_and_no_hole(archive: Archive) -> None:
    archive.remove(5)

    plan = _plan(archive)

    assert plan.last_segment == archive.segment(4)
    assert plan.expected_end <= Segment(1, 4, SEGMENT_BYTES).end
    assert archive.clock.monotonic() == 0, "there is nothing to wait for"


def test_an_archive_that_ends_before_the_backup_stops_is_a_gap(archive: Archive) -> None:
    for number in range(2, 6):
        archive.remove(number)

    with pytest.raises(WalGap, match="which the backup itself needs"):
        _plan(archive)


def test_a_store_that_does_not_answer_is_no_gap(archive: Archive) -> None:
    archive.repository.failures[""] = RepositoryUnavailable("list: no answer")

    with pytest.raises(RepositoryUnavailable):
        _plan(archive)


def test_an_empty_segment_is_damage(archive: Archive) -> None:
    archive.repository.bodies[archive.keys[archive.segment(3)]] = b""

    with pytest.raises(WalDamaged, match="zero bytes"):
        _plan(archive)


def test_a_truncated_last_segment_is_damage(archive: Archive) -> None:
    key = archive.keys[archive.segment(5)]
    archive.repository.bodies[key] = archive.repository.bodies[key][:-1]

    with pytest.raises(WalDamaged, match=archive.segment(5)):
        _plan(archive)


def test_two_digests_of_one_segment_are_refused(archive: Archive) -> None:
    _put(archive.repository, archive.segment(4), b"other")

    with pytest.raises(ObjectConflict):
        _plan(archive)


def _fork(archive: Archive) -> Lsn:
    return Segment(1, 5, SEGMENT_BYTES).start


def test_the_newest_timeline_that_descends_from_the_backup_is_followed(archive: Archive) -> None:
    archive.add_timeline(_fork(archive))

    plan = _plan(archive)

    assert plan.timeline == 2
    assert [file.name for file in plan.segments][-2:] == [
        archive.segment(4),
        archive.segment(5, timeline=2),
    ]
    assert [file.name for file in plan.histories] == ["00000002.history"]


def test_a_timeline_that_left_before_the_backup_is_not_followed(archive: Archive) -> None:
    archive.add_timeline(Segment(1, 2, SEGMENT_BYTES).start)

    plan = _plan(archive)

    assert plan.timeline == 1
    assert plan.expected_end == archive.end
    assert any("timeline 2" in note for note in plan.notes)


def test_a_timeline_without_wal_of_its_own_does_not_hide_that_of_its_parent(
    archive: Archive,
) -> None:
    archive.add_timeline(_fork(archive), segments=False)

    assert _plan(archive).expected_end == archive.end


def test_a_missing_history_is_a_gap(archive: Archive) -> None:
    manifest = archive.stored.manifest
    archive.stored = replace(
        archive.stored, manifest=replace(manifest, wal=replace(manifest.wal, timeline=2))
    )

    with pytest.raises(WalGap, match=r"00000002\.history"):
        _plan(archive)


def _lose_history(archive: Archive) -> tuple[str, bytes]:
    archive.add_timeline(_fork(archive))
    (key,) = [key for key in archive.repository.bodies if "00000002.history" in key]
    return key, archive.repository.bodies.pop(key)


def test_without_the_history_of_a_younger_timeline_nobody_can_tell_the_newest_end(
    archive: Archive,
) -> None:
    _lose_history(archive)

    with pytest.raises(WalGap, match=r"00000002\.history is missing"):
        _plan(archive)

    asked = plan_recovery(archive.repository, CODEC, archive.stored, archive.clock, timeline=1)
    assert asked.expected_end == archive.end


def test_a_history_that_is_on_its_way_is_waited_for(archive: Archive) -> None:
    key, body = _lose_history(archive)
    sleep = archive.clock.sleep

    def arrives(seconds: float) -> None:
        archive.repository.bodies[key] = body
        sleep(seconds)

    archive.clock.sleep = arrives  # type: ignore[method-assign]  # it comes while we wait

    assert _plan(archive).timeline == 2
