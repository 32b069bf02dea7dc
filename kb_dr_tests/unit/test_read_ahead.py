"""Reading ahead of who stores: every byte in order, what goes wrong told, and no thread left."""

import threading
from collections.abc import Iterator

import pytest

from kb_dr.adapters.read_ahead import read_ahead
from kb_dr.domain.base_backup import BaseBackupEnd
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import WalPosition
from kb_dr.errors import PostgresCommandFailed, PostgresUnavailable

END = BaseBackupEnd(
    WalPosition(timeline=1, start=Lsn(1), stop=Lsn(2)),
    plain_bytes=3,
    plain_sha256="0",
    postgres_manifest_zst=b"",
)


class Source:
    """Gives pieces, then what comes last: an error, or a silence that only breaking off ends."""

    def __init__(self, pieces: list[bytes], *, error: Exception | None = None) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._error = error
        self.is_silent = False
        self.broken_off = threading.Event()
        self.asked = 0

    def read(self, size: int = -1, /) -> bytes:
        self.asked += 1
        piece = next(self._pieces, b"")
        if not piece and self.is_silent:
            self.broken_off.wait()
            raise PostgresUnavailable("broken off")
        if not piece and self._error is not None:
            raise self._error
        assert len(piece) <= size
        return piece

    def finish(self) -> BaseBackupEnd:
        return END


def test_all_bytes_come_in_order_whatever_is_asked_for() -> None:
    pieces = [bytes([number % 251]) * (1 + number * 37 % 900) for number in range(400)]
    source = Source(pieces)

    with read_ahead(source, source.broken_off.set) as stream:
        read: list[bytes] = []
        while data := stream.read(1 + len(read) % 300):
            assert len(data) <= 1 + len(read) % 300
            read.append(data)
        assert stream.read(1) == b""
        end = stream.finish()

    assert b"".join(read) == b"".join(pieces)
    assert end is END
    assert not source.broken_off.is_set(), "nothing was left to break off"
    assert not stream.thread.is_alive()


def test_what_went_wrong_is_raised_behind_what_was_read_and_again() -> None:
    source = Source([b"a", b"b"], error=PostgresUnavailable("gone"))

    with read_ahead(source, source.broken_off.set) as stream:
        assert [stream.read(9), stream.read(9)] == [b"a", b"b"]
        for _ in range(2):
            with pytest.raises(PostgresUnavailable, match="gone"):
                stream.read(9)
        with pytest.raises(PostgresCommandFailed, match="not read to the end"):
            stream.finish()

    assert not stream.thread.is_alive()


@pytest.mark.parametrize("pieces", [1, 1000], ids=["a silent server", "a full queue"])
def test_who_leaves_early_leaves_no_thread(pieces: int) -> None:
    source = Source([b"x"] * pieces)
    source.is_silent = True

    with read_ahead(source, source.broken_off.set) as stream:
        assert stream.read(9) == b"x"

    assert source.broken_off.is_set()
    assert not stream.thread.is_alive()
    assert source.asked < 200, "it read on, for nobody"


def test_a_backup_that_was_not_read_to_its_end_is_none() -> None:
    source = Source([b"a", b"b"])

    with read_ahead(source, source.broken_off.set) as stream:
        assert stream.read(9) == b"a"
        with pytest.raises(PostgresCommandFailed, match="not read to the end"):
            stream.finish()
