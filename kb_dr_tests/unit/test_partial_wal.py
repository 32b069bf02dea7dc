"""What a stream shipped of a segment is served for it only when nothing better stands."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kb_dr.domain import layout
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_page import LONG_HEADER_BYTES, PAGE_BYTES, written_length
from kb_dr.errors import (
    ChecksumMismatch,
    ObjectMissing,
    RepositoryError,
    WalDamaged,
    WalGap,
    WrongCluster,
)
from kb_dr.operations.archived_end import ArchivedEnd, find_archived_end
from kb_dr.operations.audit_wal import audit_wal, clusters_present
from kb_dr.operations.copy_partials import copy_partials
from kb_dr.operations.fetch_wal import ExpectedEnd, fetch_wal
from kb_dr.operations.listed_archive import ListedArchive
from kb_dr.operations.listed_wal import read_archive, timelines_present
from kb_dr.operations.partial_wal import (
    newest_partial,
    open_partials,
    read_partial,
    read_planned_partial,
)
from kb_dr.operations.read_plan_wal import read_plan_wal
from kb_dr.operations.recent_wal import read_recent_wal
from kb_dr.operations.sweep_partials import sweep_partials
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, WalWriter

AT = datetime(2026, 11, 20, 2, tzinfo=UTC)
FIRST = Segment(1, 1, SEGMENT_BYTES)
OPEN = Segment(1, 3, SEGMENT_BYTES)
"""The segment that is being written; 1 and 2 are complete."""


class Stream:
    """WAL as a stream sees it: two complete segments and a third that grows."""

    def __init__(self) -> None:
        self.writer = WalWriter(FIRST)
        self.writer.fill(2)
        self.clock = FakeClock()
        self.repository = MemoryRepository(clock=self.clock)
        self.repository.put(layout.MARKER, b"{}")
        for name in (FIRST.name, FIRST.next().name):
            store(self.repository, name, self.content(name))
        self.commits: list[tuple[int, datetime]] = []

    def content(self, name: str) -> bytes:
        """A segment as it is now, zeros behind."""
        return self.writer.segments()[name]

    def commit(self) -> tuple[int, datetime]:
        """One more, a second after the last; its end and its time."""
        at = AT + timedelta(seconds=len(self.commits))
        self.commits.append((self.writer.commit(at), at))
        return self.commits[-1]

    def ship(self) -> str:
        """The open segment, as far as it is written; its key."""
        return ship(self.repository, OPEN, self.content(OPEN.name))


def ship(
    repository: MemoryRepository, segment: Segment, content: bytes, upto: Lsn | None = None
) -> str:
    """Store a partial segment as a stream does; return its key."""
    length = written_length(content)
    key = layout.partial_key(SYSTEM_IDENTIFIER, segment.name, upto or segment.start.plus(length))
    repository.put(key, PlainCodec().encode(content[:length]))
    return key


def store(repository: MemoryRepository, name: str, content: bytes, digest: str = "") -> None:
    digest = digest or hashlib.sha256(content).hexdigest()
    repository.put(layout.wal_key(SYSTEM_IDENTIFIER, name, digest), PlainCodec().encode(content))


@pytest.fixture
def stream() -> Stream:
    found = Stream()
    for _ in range(3):
        found.commit()
    return found


def fetch(
    stream: Stream, tmp_path: Path, segment: Segment = OPEN, expected: ExpectedEnd | None = None
) -> bytes | None:
    """What recovery is served; None for "absent"."""
    there = fetch_wal(
        segment.name,
        tmp_path / "RECOVERYXLOG",
        repository=stream.repository,
        codec=PlainCodec(),
        system_identifier=SYSTEM_IDENTIFIER,
        expected_end=expected,
    )
    return (tmp_path / "RECOVERYXLOG").read_bytes() if there else None


# what is shipped


def test_what_is_cut_off_are_zeros_alone(stream: Stream) -> None:
    content = stream.content(OPEN.name)
    length = written_length(content)

    assert length % 8 == 0
    assert stream.commits[-1][0] - OPEN.start - length in range(8)
    assert content[:length].ljust(SEGMENT_BYTES, b"\0") == content


def test_a_header_with_nothing_behind_it_is_not_shipped(stream: Stream) -> None:
    content = stream.content(FIRST.name)

    assert written_length(bytes(SEGMENT_BYTES)) == 0
    assert written_length(content[:LONG_HEADER_BYTES].ljust(SEGMENT_BYTES, b"\0")) == 0
    torn = content[: PAGE_BYTES + 12].ljust(SEGMENT_BYTES, b"\0")
    assert written_length(torn) == PAGE_BYTES
    assert written_length(content) == SEGMENT_BYTES


def test_keys_sort_by_lsn_and_say_what_they_are() -> None:
    segment = "0000000100000001000000FE"
    keys = [
        layout.partial_key(7, segment, Lsn.parse(each))
        for each in ("1/FE000028", "1/FE0000F0", "1/FE100000")
    ]

    assert keys == sorted(keys)
    assert layout.partial_of(keys[0]) == (7, segment, Lsn.parse("1/FE000028"))
    promoted = layout.wal_key(7, f"{segment}.partial", "0" * 64)
    assert layout.partial_of(promoted) is None
    assert layout.wal_file_of(keys[0]) is None


# fetch


def test_the_newest_partial_is_served_with_zeros_behind(stream: Stream, tmp_path: Path) -> None:
    stream.ship()
    stream.commit()
    stream.ship()

    assert fetch(stream, tmp_path) == stream.content(OPEN.name)
    assert fetch(stream, tmp_path, OPEN.next()) is None


def test_a_full_segment_is_served_before_any_partial(stream: Stream, tmp_path: Path) -> None:
    stream.ship()
    stream.writer.fill(3)
    store(stream.repository, OPEN.name, stream.content(OPEN.name))

    assert fetch(stream, tmp_path) == stream.content(OPEN.name)


@pytest.mark.parametrize("later", ["full", "partial", "promoted"])
def test_no_partial_is_served_where_something_later_stands(
    stream: Stream, tmp_path: Path, later: str
) -> None:
    """It would end recovery before a gap, and call it the end."""
    stream.ship()
    stream.writer.fill(4)
    if later == "full":
        store(stream.repository, OPEN.next().name, stream.content(OPEN.next().name))
    elif later == "partial":
        ship(stream.repository, OPEN.next(), stream.content(OPEN.next().name))
    else:
        name = f"{OPEN.next().name}.partial"
        store(stream.repository, name, stream.content(OPEN.next().name))

    assert fetch(stream, tmp_path) is None
    with pytest.raises(WalGap, match="absent"):
        fetch(stream, tmp_path, expected=ExpectedEnd(1, OPEN.next().end, SEGMENT_BYTES))


def test_what_a_promotion_archived_is_no_partial_of_a_stream(
    stream: Stream, tmp_path: Path
) -> None:
    store(stream.repository, f"{OPEN.name}.partial", stream.content(OPEN.name))

    assert newest_partial(stream.repository, SYSTEM_IDENTIFIER, OPEN.name) is None
    assert fetch(stream, tmp_path) is None


@pytest.mark.parametrize(("left_at", "served"), [(-8, False), (0, True)])
def test_no_partial_is_served_behind_the_point_where_its_timeline_was_left(
    stream: Stream, tmp_path: Path, left_at: int, served: bool
) -> None:
    stream.ship()
    upto = OPEN.start.plus(written_length(stream.content(OPEN.name)) + left_at)
    store(stream.repository, "00000002.history", f"1\t{upto}\tno reason\n".encode())

    assert (fetch(stream, tmp_path) is not None) == served


def test_a_partial_that_falls_short_of_the_expected_end_is_a_gap(
    stream: Stream, tmp_path: Path
) -> None:
    stream.ship()
    end = Lsn(stream.commits[-1][0])

    assert fetch(stream, tmp_path, expected=ExpectedEnd(1, end, SEGMENT_BYTES)) is not None
    with pytest.raises(WalGap, match="streamed"):
        fetch(stream, tmp_path, expected=ExpectedEnd(1, end.plus(8), SEGMENT_BYTES))


def test_an_end_that_is_zeros_is_still_reached(stream: Stream, tmp_path: Path) -> None:
    """A record may end with zeros: then its key is a few bytes short of its end."""
    end = Lsn(stream.writer.record(b"x" + bytes(40)))
    stream.ship()
    partial = newest_partial(stream.repository, SYSTEM_IDENTIFIER, OPEN.name)

    assert partial is not None
    assert partial.upto < end
    assert fetch(stream, tmp_path, expected=ExpectedEnd(1, end, SEGMENT_BYTES)) is not None


def _flip(body: bytes) -> bytes:
    return body[:-100] + bytes([body[-100] ^ 1]) + body[-99:]


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (_flip, ChecksumMismatch),
        (lambda _: b"", ChecksumMismatch),
        (lambda body: body[: len(body) // 2], ChecksumMismatch),
        (lambda body: PlainCodec().encode(PlainCodec().decode(body)[:-8]), WalDamaged),
        (lambda _: PlainCodec().encode(b""), WalDamaged),
    ],
    ids=["flipped", "zero bytes", "truncated", "shorter than its key", "nothing in it"],
)
def test_a_damaged_partial_is_never_served(
    stream: Stream,
    tmp_path: Path,
    damage: Callable[[bytes], bytes],
    error: type[Exception],
) -> None:
    stream.ship()
    stream.commit()
    key = stream.ship()
    stream.repository.bodies[key] = damage(stream.repository.bodies[key])

    with pytest.raises(error):
        fetch(stream, tmp_path)
    assert not (tmp_path / "RECOVERYXLOG").exists()
    planned = ListedArchive.read(stream.repository, PlainCodec(), SYSTEM_IDENTIFIER, FIRST)
    (file,) = planned.usable([OPEN])
    with pytest.raises(WalDamaged) as caught:
        read_plan_wal(stream.repository, PlainCodec(), file, system_identifier=SYSTEM_IDENTIFIER)
    assert caught.value.hint


def test_the_partial_of_another_cluster_or_address_is_refused(stream: Stream) -> None:
    foreign = WalWriter(OPEN, system_identifier=SYSTEM_IDENTIFIER + 1)
    foreign.commit(AT)
    ship(stream.repository, OPEN, foreign.segments()[OPEN.name])
    partial = newest_partial(stream.repository, SYSTEM_IDENTIFIER, OPEN.name)
    assert partial is not None
    with pytest.raises(WrongCluster):
        read_partial(stream.repository, PlainCodec(), partial)

    other = WalWriter(OPEN.next().next())
    other.commit(AT)
    ship(stream.repository, OPEN.next(), other.segments()[OPEN.next().next().name])
    partial = newest_partial(stream.repository, SYSTEM_IDENTIFIER, OPEN.next().name)
    assert partial is not None
    with pytest.raises(WalDamaged):
        read_partial(stream.repository, PlainCodec(), partial)


def test_listed_and_then_gone_is_not_absent(stream: Stream, tmp_path: Path) -> None:
    key = stream.ship()
    stream.repository.failures[key] = ObjectMissing("gone")

    with pytest.raises(RepositoryError, match="was listed") as caught:
        fetch(stream, tmp_path)
    assert not isinstance(caught.value, ObjectMissing)


# the plan, the evidence, the audit


def test_the_last_segment_of_a_plan_may_be_a_partial_one(stream: Stream) -> None:
    key = stream.ship()

    found = ListedArchive.read(stream.repository, PlainCodec(), SYSTEM_IDENTIFIER, FIRST)

    (file,) = found.usable([OPEN])
    assert (file.key, file.partial, file.sha256) == (key, True, "")
    content = read_plan_wal(
        stream.repository, PlainCodec(), file, system_identifier=SYSTEM_IDENTIFIER
    )
    assert content == stream.content(OPEN.name)


def test_a_plan_has_no_partial_where_full_segments_reach_as_far(stream: Stream) -> None:
    stream.ship()
    stream.writer.fill(4)
    store(stream.repository, OPEN.next().name, stream.content(OPEN.next().name))

    found = ListedArchive.read(stream.repository, PlainCodec(), SYSTEM_IDENTIFIER, FIRST)

    assert OPEN not in found.segments
    assert not any(file.partial for file in found.segments.values())


@pytest.mark.parametrize("better", ["full", "farther"])
def test_a_planned_partial_reads_the_same_when_something_better_took_its_place(
    stream: Stream, better: str
) -> None:
    """Else replay would come farther than the plan says, or a long restore would fail."""
    key = stream.ship()
    planned = stream.content(OPEN.name)
    if better == "full":
        stream.writer.fill(3)
        store(stream.repository, OPEN.name, stream.content(OPEN.name))
    else:
        stream.commit()
        stream.ship()
    stream.repository.delete(key)

    assert read_planned_partial(stream.repository, PlainCodec(), key) == planned


def test_a_planned_partial_that_is_gone_with_all_that_followed_is_a_gap(stream: Stream) -> None:
    key = stream.ship()
    stream.commit()
    later = stream.ship()
    stream.repository.delete(later)

    with pytest.raises(WalGap, match="no longer"):
        read_planned_partial(stream.repository, PlainCodec(), later)
    assert read_planned_partial(stream.repository, PlainCodec(), key)


def test_the_end_of_a_copy_counts_what_was_streamed(stream: Stream) -> None:
    """RPO is measured from the newest commit there."""
    stream.ship()

    found = _end(stream)

    assert found.last == FIRST.next()
    assert found.partial is not None
    assert found.tip.last_commit is not None
    assert (found.tip.end, found.tip.last_commit.at) == stream.commits[-1]


def test_behind_a_gap_nothing_that_was_streamed_counts(stream: Stream) -> None:
    stream.writer.fill(4)
    ship(stream.repository, OPEN.next(), stream.content(OPEN.next().name))

    found = _end(stream)

    assert found.partial is None
    assert found.tip.end <= OPEN.start


def _end(stream: Stream) -> ArchivedEnd:
    archive = read_archive(stream.repository, PlainCodec(), SYSTEM_IDENTIFIER, SEGMENT_BYTES)
    return find_archived_end(
        stream.repository,
        PlainCodec(),
        system_identifier=SYSTEM_IDENTIFIER,
        archive=archive,
        start=FIRST,
    )


def test_an_audit_finds_nothing_wrong_with_partials(stream: Stream) -> None:
    stream.ship()

    found = audit_wal(
        stream.repository,
        system_identifier=SYSTEM_IDENTIFIER,
        segment_bytes=SEGMENT_BYTES,
        codec=PlainCodec(),
        deep=True,
    )

    assert found.passed, found.archive.problems
    assert found.archive.segments == 2


def test_a_cluster_and_timeline_of_which_only_a_partial_stands_are_known() -> None:
    repository = MemoryRepository()
    segment = Segment(2, 5, SEGMENT_BYTES)
    writer = WalWriter(segment)
    writer.commit(AT)
    ship(repository, segment, writer.segments()[segment.name])

    assert clusters_present(repository) == [SYSTEM_IDENTIFIER]
    assert timelines_present(repository, SYSTEM_IDENTIFIER) == [2]
    assert read_recent_wal(repository, PlainCodec(), SYSTEM_IDENTIFIER, FIRST).shipped == {2}


# copy and sweep


def test_the_newest_state_of_the_open_segment_is_copied_once(stream: Stream) -> None:
    offsite = MemoryRepository("offsite")
    stream.ship()
    stream.commit()
    key = stream.ship()

    def copy() -> tuple[str, ...]:
        return copy_partials(stream.repository, offsite, PlainCodec(), SYSTEM_IDENTIFIER)

    assert copy() == (key,)
    assert copy() == ()
    assert offsite.bodies == {key: stream.repository.bodies[key]}


def test_a_damaged_or_completed_partial_is_not_copied(stream: Stream) -> None:
    offsite = MemoryRepository("offsite")
    key = stream.ship()
    stream.repository.bodies[key] = _flip(stream.repository.bodies[key])
    assert copy_partials(stream.repository, offsite, PlainCodec(), SYSTEM_IDENTIFIER) == ()

    stream.writer.fill(3)
    store(stream.repository, OPEN.name, stream.content(OPEN.name))
    assert open_partials(stream.repository, SYSTEM_IDENTIFIER) == ()
    assert offsite.bodies == {}


def _sweep(stream: Stream, *, dry_run: bool = False) -> tuple[str, ...]:
    return sweep_partials(stream.repository, stream.clock, SYSTEM_IDENTIFIER, dry_run=dry_run)


def test_superseded_states_are_swept_after_an_hour_and_the_newest_never(stream: Stream) -> None:
    first = stream.ship()
    stream.commit()
    stream.clock.pass_time(timedelta(minutes=30))
    second = stream.ship()
    stream.commit()
    stream.clock.pass_time(timedelta(minutes=31))
    newest = stream.ship()

    assert _sweep(stream, dry_run=True) == (first,)
    assert first in stream.repository.bodies
    assert _sweep(stream) == (first,)
    stream.clock.pass_time(timedelta(days=400))
    store(stream.repository, f"{FIRST.name}.00000028.backup", b"label")
    assert _sweep(stream) == (second,)
    assert newest in stream.repository.bodies


def test_a_state_that_is_retained_stays_and_older_ones_go(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    oldest, retained, younger, newest = (_shipped_after_an_hour(stream) for _ in range(4))
    stream.clock.pass_time(timedelta(hours=2))
    store(stream.repository, f"{FIRST.name}.00000028.backup", b"label")
    until = stream.clock.now() + timedelta(days=1)
    stream.repository.retained = {retained: until, younger: until}

    asked: list[str] = []
    delete = stream.repository.delete

    def noting(key: str) -> None:
        asked.append(key)
        delete(key)

    monkeypatch.setattr(stream.repository, "delete", noting)

    assert _sweep(stream) == (oldest,)
    assert asked == [oldest, retained], "not every one of a day's thousands"
    assert {retained, younger, newest} <= set(stream.repository.bodies)
    stream.clock.set(until)
    assert _sweep(stream) == (retained, younger)


def _shipped_after_an_hour(stream: Stream) -> str:
    stream.commit()
    stream.clock.pass_time(timedelta(hours=1))
    return stream.ship()


def test_states_of_a_segment_that_stands_in_full_are_swept(stream: Stream) -> None:
    old = stream.ship()
    stream.clock.pass_time(timedelta(minutes=11))
    stream.commit()
    young = stream.ship()
    stream.writer.fill(4)
    store(stream.repository, OPEN.name, stream.content(OPEN.name))
    following = ship(stream.repository, OPEN.next(), stream.content(OPEN.next().name))

    assert _sweep(stream) == (old,)
    assert {young, following} <= set(stream.repository.bodies)


def test_our_clock_ahead_of_the_stores_sweeps_nothing(stream: Stream) -> None:
    stream.ship()
    stream.commit()
    stream.ship()

    ahead = FakeClock(stream.clock.now() + timedelta(days=2))
    swept = sweep_partials(stream.repository, ahead, SYSTEM_IDENTIFIER, dry_run=False)

    assert swept == ()
