"""Work spread over processes is all done, once; a death among them loses nothing but its own."""

import os
import signal
import threading

import pyrage
import pytest

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.operations.spread_out import MOST, may_spread, spread_out


def test_each_piece_is_done_once_and_said() -> None:
    said = spread_out(MOST, lambda number: f"{number} {'x' * 300}", processes=3)

    assert sorted(int(line.split()[0]) for line in said) == list(range(MOST))


def test_nothing_to_say_is_no_line() -> None:
    assert spread_out(5, lambda number: "3" if number == 3 else "", processes=2) == ["3"]


def test_a_process_that_dies_takes_nothing_but_its_own_along() -> None:
    parent = os.getpid()
    begun, begin = os.pipe()

    def work(number: int) -> str:
        if os.getpid() != parent:
            os.write(begin, b"!")
            os.kill(os.getpid(), signal.SIGKILL)
        if number:
            os.read(begun, 1)  # until the other one has taken its piece
            os.write(begin, b"!")
        return str(number)

    said = spread_out(8, work, processes=2)

    os.close(begun)
    os.close(begin)
    assert len(said) == len(set(said)) == 7
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_no_two_processes_encrypt_with_the_same_random_bytes() -> None:
    """Not even when the library has drawn some before: the same file key twice tells both files."""
    identity = pyrage.x25519.Identity.generate()
    codec = AgeCodec([str(identity.to_public())], [str(identity)])
    codec.encode(b"before")
    parent = os.getpid()

    said = spread_out(
        40, lambda _: f"{os.getpid() == parent} {codec.encode(bytes(1 << 20))[:300].hex()}",
        processes=3,
    )  # fmt: skip

    headers = [line.split()[1] for line in said]
    assert len(set(headers)) == 40
    # The ephemeral key stands in the line of the recipient, the file key is sealed with it.
    assert len({header[len(b"age-encryption.org/v1\n") * 2 :][:120] for header in headers}) == 40


def test_a_process_with_threads_is_not_doubled() -> None:
    over = threading.Event()
    other = threading.Thread(target=over.wait)
    other.start()
    try:
        assert not may_spread()
    finally:
        over.set()
        other.join()


def test_where_no_further_process_is_to_be_had_those_there_are_do_it_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fork, forks = os.fork, iter([True, False])

    def refused() -> int:
        if not next(forks):
            raise BlockingIOError("no process to be had")
        return fork()

    monkeypatch.setattr(os, "fork", refused)

    assert sorted(spread_out(9, str, processes=4)) == [str(each) for each in range(9)]
