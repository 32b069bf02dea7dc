"""Progress says phase, bytes, rate and time left, and says it while work stands still."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kb_dr.adapters.log_progress import LogProgress


class Lines:
    """What was said."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.more = threading.Semaphore(0)

    def __call__(self, line: str) -> None:
        self.said.append(line)
        self.more.release()


def test_lines_come_while_nothing_moves() -> None:
    lines = Lines()
    progress = LogProgress(lines, interval_seconds=0.01)
    progress.begin("upload", 4 << 20)
    progress.advance(1 << 20)

    assert lines.more.acquire(timeout=60)
    assert lines.more.acquire(timeout=60)
    progress.end()

    assert lines.said[0].startswith("upload: 1.0 MiB of 4.0 MiB (25%), ")
    assert "left" in lines.said[0]
    assert "ended after" in lines.said[-1], "not done: a part of it was"


def test_bytes_of_many_threads_add_up() -> None:
    lines = Lines()
    progress = LogProgress(lines, interval_seconds=3600)
    progress.begin("fetch")

    def advance(count: int) -> None:
        for _ in range(count):
            progress.advance(1024)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(advance, [1000] * 8))
    progress.end()

    assert lines.said == [lines.said[0]]
    assert lines.said[0].startswith("fetch: 7.8 MiB, ")


def test_work_that_is_not_counted_in_bytes_says_how_long_it_has_taken() -> None:
    lines = Lines()
    progress = LogProgress(lines, interval_seconds=0.01)
    progress.begin("verify files")

    assert lines.more.acquire(timeout=60)
    progress.end()

    assert lines.said[0].startswith("verify files: at work for ")
    assert lines.said[-1].startswith("verify files: done in ")


def test_a_new_phase_ends_the_one_before() -> None:
    lines = Lines()
    progress = LogProgress(lines, interval_seconds=3600)

    progress.begin("first")
    progress.begin("second")
    progress.end()
    progress.end()

    assert [line.split(":")[0] for line in lines.said] == ["first", "second"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("progress")]


def test_without_a_total_no_time_is_promised(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lines = Lines()
    progress = LogProgress(lines, interval_seconds=0.01)
    progress.begin("stream")
    progress.advance(1024)
    assert lines.more.acquire(timeout=60)
    assert lines.more.acquire(timeout=60)
    progress.end()

    assert "time left not known" in lines.said[1]


def test_lines_go_to_the_log_unless_told_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    progress = LogProgress()

    progress.begin("upload")
    progress.end()

    assert "upload: done in" in caplog.text
