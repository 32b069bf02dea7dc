"""What was received comes to every copy that answers, without a server; nothing is lost by it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_page import written_length
from kb_dr.errors import (
    ConfigurationError,
    ObjectConflict,
    RepositoryUnavailable,
    WalDamaged,
)
from kb_dr.operations.flush_stream import Flushed, flush_stream, require_flushed
from kb_dr.operations.stream_spool import open_spool
from kb_dr.operations.stream_wal import StreamSettings, stream_wal
from kb_dr.ports import Repository
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_stream import FACTS, FakeReceiver, FakeSource
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, WalWriter

AT = datetime(2026, 11, 20, 2, tzinfo=UTC)
FIRST = Segment(1, 1, SEGMENT_BYTES)
NEXT = FIRST.next()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A stream that was killed: one segment complete, the next one begun, neither shipped."""
    place = tmp_path / "kb_dr"
    with open_spool(place, SYSTEM_IDENTIFIER, SEGMENT_BYTES) as spool:
        writer = WalWriter(FIRST)
        writer.fill(1)
        writer.commit(AT)
        made = writer.segments()
        (spool.wal / FIRST.name).write_bytes(made[FIRST.name])
        (spool.wal / f"{NEXT.name}.partial").write_bytes(made[NEXT.name])
    return place


@pytest.fixture
def copies() -> list[MemoryRepository]:
    return [MemoryRepository("primary"), MemoryRepository("offsite")]


def partial(directory: Path) -> Path:
    return directory / "wal" / f"{NEXT.name}.partial"


def check(repository: Repository) -> None:
    repository.check()


def flush(directory: Path, copies: list[MemoryRepository]) -> tuple[Flushed, ...]:
    return flush_stream(copies, PlainCodec(), FakeClock(), directory, check=check)


def names(copy: MemoryRepository) -> set[str]:
    return {key.split("/")[3][:24] for key in copy.bodies}


def test_everything_comes_to_every_copy_and_stays_here(
    directory: Path, copies: list[MemoryRepository]
) -> None:
    flushed = flush(directory, copies)

    require_flushed(flushed)
    upto = NEXT.start.plus(written_length(partial(directory).read_bytes()))
    assert flushed == (Flushed("primary", upto, None), Flushed("offsite", upto, None))
    assert names(copies[0]) == {FIRST.name, NEXT.name}
    assert copies[0].bodies == copies[1].bodies
    assert (directory / "wal" / FIRST.name).exists()
    assert partial(directory).exists()
    require_flushed(flush(directory, copies))


@pytest.mark.parametrize("down", [0, 1])
def test_a_copy_that_is_down_holds_up_no_other_one(
    directory: Path, copies: list[MemoryRepository], down: int
) -> None:
    copies[down].failures[""] = RepositoryUnavailable("down")

    flushed = flush(directory, copies)

    require_flushed(flushed)
    assert flushed[down].error is not None
    assert names(copies[1 - down]) == {FIRST.name, NEXT.name}
    copies[1 - down].failures[""] = RepositoryUnavailable("down")
    with pytest.raises(RepositoryUnavailable):
        require_flushed(flush(directory, copies))


def test_a_copy_that_refuses_is_never_a_success(
    directory: Path, copies: list[MemoryRepository]
) -> None:
    copies[1].failures[""] = ObjectConflict("other bytes")

    with pytest.raises(ObjectConflict):
        require_flushed(flush(directory, copies))
    assert names(copies[0]) == {FIRST.name, NEXT.name}


def test_an_unfinished_segment_that_was_cut_short_is_said(
    directory: Path, copies: list[MemoryRepository]
) -> None:
    with partial(directory).open("r+b") as file:
        file.truncate(8192)

    flushed = flush(directory, copies)

    assert names(copies[0]) == names(copies[1]) == {FIRST.name}, "what is whole came there"
    with pytest.raises(WalDamaged, match="8192 bytes"):
        require_flushed(flushed)


def test_where_nothing_was_streamed_there_is_nothing_to_flush(
    tmp_path: Path, copies: list[MemoryRepository]
) -> None:
    with pytest.raises(ConfigurationError, match="nothing was ever streamed"):
        flush(tmp_path / "kb_dr", copies)
    assert not (tmp_path / "kb_dr").exists()


# --- beginning anew ----------------------------------------------------------------------


def begin_anew(directory: Path, copies: list[MemoryRepository]) -> FakeReceiver:
    receiver = FakeReceiver()
    with pytest.raises(FakeReceiver.Started):
        stream_wal(
            FakeSource(FACTS).as_server(),
            receiver,
            copies,
            PlainCodec(),
            FakeClock(),
            StreamSettings(directory, "kb_dr", every_seconds=1, accept_gap=True),
            check=check,
        )
    return receiver


def test_an_accepted_gap_removes_nothing_that_a_copy_lacks(
    directory: Path, copies: list[MemoryRepository]
) -> None:
    receiver = begin_anew(directory, copies)

    assert receiver.dropped == ["kb_dr"]
    assert names(copies[0]) == names(copies[1]) == {FIRST.name, NEXT.name}
    assert list((directory / "wal").iterdir()) == []
    assert not list(directory.glob("wal.before-*"))


def test_an_accepted_gap_keeps_aside_what_could_not_be_shipped(
    directory: Path, copies: list[MemoryRepository]
) -> None:
    copies[1].failures[""] = RepositoryUnavailable("down")
    content = partial(directory).read_bytes()

    begin_anew(directory, copies)

    (aside,) = directory.glob("wal.before-*")
    assert (aside / partial(directory).name).read_bytes() == content
    assert (aside / FIRST.name).exists()
    assert list((directory / "wal").iterdir()) == []
