"""A spool gives away what is complete, never what the next start goes on from."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import ConfigurationError, WalDamaged, WrongCluster
from kb_dr.operations.shared_codec import SharedCodec
from kb_dr.operations.stream_spool import StreamSpool, open_spool
from kb_dr_tests.fakes import PlainCodec
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, WalWriter

AT = datetime(2026, 11, 20, 2, tzinfo=UTC)


def segment(number: int, timeline: int = 1) -> Segment:
    return Segment(timeline, number, SEGMENT_BYTES)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[StreamSpool]:
    with open_spool(tmp_path / "kb_dr", SYSTEM_IDENTIFIER, SEGMENT_BYTES) as opened:
        yield opened


def receive(spool: StreamSpool, name: str, content: bytes = b"") -> Path:
    path = spool.wal / name
    path.write_bytes(content)
    return path


def test_the_newest_complete_segment_stays_until_its_successor_has_appeared(
    spool: StreamSpool,
) -> None:
    """Before PostgreSQL 15 a receiver that finds nothing begins at the present position."""
    first = receive(spool, segment(1).name)
    second = receive(spool, segment(2).name)

    assert spool.drop(first)
    assert not spool.drop(second)
    assert second.exists()
    receive(spool, f"{segment(3).name}.partial")
    assert spool.drop(second)
    assert not spool.empty


def test_segments_come_in_order_of_the_wal_whatever_their_timeline(spool: StreamSpool) -> None:
    for each in (segment(9), segment(10, 2), segment(11, 2)):
        receive(spool, each.name)
    receive(spool, "00000002.history", b"1\t0/A00000\tno\n")
    left = receive(spool, f"{segment(10).name}.partial")
    current = receive(spool, f"{segment(12, 2).name}.partial")

    assert [path.name for path in spool.complete()] == [
        segment(9).name, segment(10, 2).name, segment(11, 2).name,
    ]  # fmt: skip
    assert [path.name for path in spool.histories()] == ["00000002.history"]
    assert spool.unfinished() == current
    spool.drop_left()
    assert not left.exists()
    assert current.exists()


def test_only_growth_is_told_and_only_as_far_as_wal_goes(spool: StreamSpool) -> None:
    writer = WalWriter(segment(3))
    writer.commit(AT)
    name = segment(3).name
    receive(spool, f"{name}.partial", writer.segments()[name])

    written = spool.grown()

    assert written is not None
    assert written.segment == segment(3)
    assert written.upto - written.segment.start == len(written.content)
    assert written.content.ljust(SEGMENT_BYTES, b"\0") == writer.segments()[name]
    assert spool.grown() is None
    writer.commit(AT)
    receive(spool, f"{name}.partial", writer.segments()[name])
    again = spool.grown()
    assert again is not None
    assert again.upto > written.upto


def test_two_writes_of_one_moment_are_both_seen(spool: StreamSpool) -> None:
    """A file system's clock is coarse: the time of a file may stand still while it grows."""
    writer = WalWriter(segment(3))
    writer.commit(AT)
    name = segment(3).name
    path = receive(spool, f"{name}.partial", writer.segments()[name])
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    assert spool.grown() is not None
    writer.commit(AT)
    receive(spool, f"{name}.partial", writer.segments()[name])
    os.utime(path, ns=times)

    assert spool.grown() is not None


def test_a_hole_or_a_stranger_is_never_shipped(spool: StreamSpool) -> None:
    writer = WalWriter(segment(3))
    writer.fill(1)
    name = segment(3).name
    holed = bytearray(writer.segments()[name])
    holed[8192 * 3 : 8192 * 4] = bytes(8192)
    receive(spool, f"{name}.partial", bytes(holed))
    with pytest.raises(WalDamaged, match="hole"):
        spool.grown()

    foreign = WalWriter(segment(3), system_identifier=SYSTEM_IDENTIFIER + 1)
    foreign.commit(AT)
    receive(spool, f"{name}.partial", foreign.segments()[name])
    with pytest.raises(WrongCluster):
        spool.grown()


def test_a_file_that_is_being_made_is_passed_over_and_one_cut_short_is_mended(
    spool: StreamSpool,
) -> None:
    path = receive(spool, f"{segment(3).name}.partial", bytes(8192))

    assert spool.grown() is None
    spool.mend()
    assert path.stat().st_size == 0
    assert not spool.empty, "the next start receives this segment from its start"


@pytest.mark.parametrize("how", ["symbolic link", "hard link", "pipe"])
def test_nothing_but_files_of_its_own_is_read_or_cut(
    spool: StreamSpool, tmp_path: Path, how: str
) -> None:
    """Who runs PostgreSQL's programs may write there, and the stream may be root's."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"of root")
    planted = spool.wal / f"{segment(3).name}.partial"
    match how:
        case "symbolic link":
            planted.symlink_to(precious)
        case "hard link":
            planted.hardlink_to(precious)
        case _:
            os.mkfifo(planted)

    for act in (spool.mend, spool.complete, spool.grown, spool.received, spool.state):
        with pytest.raises(ConfigurationError, match="a link or no file"):
            act()
    with pytest.raises(ConfigurationError, match="a link or no file"):
        spool.written(planted)
    assert precious.read_bytes() == b"of root"


def test_what_a_link_leads_to_is_never_given_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[bool] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda *_, follow_symlinks=True: given.append(follow_symlinks))

    Unprivileged("nobody").give(tmp_path)

    assert given == [False]


def test_a_spool_is_of_one_cluster_and_one_process(tmp_path: Path) -> None:
    place = tmp_path / "kb_dr"
    with (
        open_spool(place, 7, SEGMENT_BYTES),
        pytest.raises(ConfigurationError, match="already"),
        open_spool(place, 7, SEGMENT_BYTES),
    ):
        pass
    with pytest.raises(WrongCluster, match="expected 7"), open_spool(place, 8, SEGMENT_BYTES):
        pass


def test_every_copy_is_given_the_same_bytes_also_after_a_new_start(tmp_path: Path) -> None:
    class Differing(PlainCodec):
        calls = 0

        def encode(self, plain: bytes) -> bytes:
            Differing.calls += 1
            return super().encode(plain) + b"%d" % Differing.calls

    first = SharedCodec(Differing(), tmp_path / "coded").encode(b"segment")
    again = SharedCodec(Differing(), tmp_path / "coded")

    assert again.encode(b"segment") == first
    (kept,) = (tmp_path / "coded").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert again.encode(b"segment") != first, "what a crash cut short is not given to anybody"
    again.forget_all()
    assert list((tmp_path / "coded").iterdir()) == []
