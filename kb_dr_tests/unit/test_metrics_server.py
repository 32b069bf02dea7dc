"""The exporter: scrapes share a look, none waits for ever, and none is told old values."""

import http.client
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

import pytest

from kb_dr.adapters.metrics_server import Looks, MetricsServer
from kb_dr.adapters.prometheus_text import push, write_textfile
from kb_dr.domain.metric import Metric
from kb_dr.domain.metrics import metrics_without_look
from kb_dr.errors import ChannelUnavailable

LONG = 30.0
"""A wait that has to be ended by what is waited for."""


class Played:
    """Looks that can be held up, counted, and spoilt."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.made = 0
        self.go_on = Event()
        self.go_on.set()
        self.error: Exception | None = None

    def __call__(self) -> Sequence[Metric]:
        self.made += 1
        number = self.made
        assert self.go_on.wait(LONG)
        if self.error is not None:
            raise self.error
        return (Metric("kb_dr_rpo_seconds", {"service": "kb", "copy": "primary"}, number),)

    def looks(self) -> Looks:
        return Looks(self, fresh_seconds=15, oldest_seconds=120, monotonic=lambda: self.now)


@pytest.fixture
def played() -> Iterator[Played]:
    played = Played()
    yield played
    played.go_on.set()


def test_scrapes_at_once_cost_one_look(played: Played) -> None:
    looks = played.looks()
    played.go_on.clear()
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(looks.get, LONG) for _ in range(4)]
        until(lambda: played.made > 0)
        played.go_on.set()
        answers = [each.result(LONG) for each in asked]

    assert played.made == 1
    assert [numbers(each) for each in answers] == [[1]] * 4


def test_a_young_look_is_handed_out_again_and_an_older_one_is_made_anew(played: Played) -> None:
    looks = played.looks()
    assert numbers(looks.get(LONG)) == [1]
    played.now += 15
    assert numbers(looks.get(LONG)) == [1]
    played.now += 0.1
    assert numbers(looks.get(LONG)) == [2]


def test_a_look_that_hangs_holds_nobody_up_and_its_values_end(played: Played) -> None:
    looks = played.looks()
    assert numbers(looks.get(LONG)) == [1]
    played.go_on.clear()

    played.now += 100
    assert numbers(looks.get(0.01)) == [1]  # of a store that is slow, and may answer yet
    played.now += 20.1
    assert looks.get(0.01) is None
    assert looks.get(0.01) is None
    assert played.made == 2

    played.go_on.set()
    until(lambda: looks.get(LONG) is not None and played.made > 1)


def test_a_look_with_a_bug_leaves_nothing_to_hand_out(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = Event()
    monkeypatch.setattr("threading.excepthook", lambda _: died.set())
    looks = played.looks()
    played.error = TypeError("a bug")

    assert looks.get(LONG) is None
    assert died.wait(LONG)

    played.error = None
    assert numbers(looks.get(LONG)) == [2]


def test_a_scrape_is_answered_within_its_timeout_without_values(played: Played) -> None:
    played.go_on.clear()
    with serving(played.looks()) as port:
        began = time.monotonic()
        status, body = get(port, "/metrics", timeout="1")

        assert status == 200
        assert time.monotonic() - began < LONG / 2
        assert b"kb_dr_build_info{" in body
        assert b"kb_dr_rpo_seconds" not in body


def test_a_scrape_is_answered_in_the_text_format(played: Played) -> None:
    with serving(played.looks()) as port:
        status, body = get(port, "/metrics")
        assert status == 200
        assert b'\nkb_dr_rpo_seconds{copy="primary",service="kb"} 1.0\n' in body
        assert get(port, "/metrics?x=1", timeout="nonsense")[0] == 200
        assert get(port, "/")[0] == 200
        assert get(port, "/else")[0] == 404


def test_a_textfile_is_replaced_whole_and_may_be_read_by_all(tmp_path: Path) -> None:
    path = write_textfile(tmp_path, "kb", Played()())
    assert path.name == "kb_dr_kb.prom"
    assert b"kb_dr_rpo_seconds" in path.read_bytes()

    write_textfile(tmp_path, "kb", metrics_without_look("kb", "1", "3", None))

    assert b"kb_dr_rpo_seconds" not in path.read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_textfile_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_textfile(tmp_path, "kb", Played()())
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_textfile(tmp_path, "kb", metrics_without_look("kb", "1", "3", None))

    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_pushgateway_that_is_none_is_said_to_be(played: Played) -> None:
    with serving(played.looks()) as port, pytest.raises(ChannelUnavailable, match="HTTP 501"):
        push(f"http://127.0.0.1:{port}", "kb", ())
    with pytest.raises(ChannelUnavailable, match="refused"):
        push(f"http://127.0.0.1:{port}", "kb", ())


@contextmanager
def serving(looks: Looks) -> Iterator[int]:
    def without(_: Sequence[Metric]) -> Sequence[Metric]:
        return metrics_without_look("kb", "1", "3", datetime(2026, 11, 20, tzinfo=UTC))

    with MetricsServer("127.0.0.1", 0, looks, without) as server:
        thread = Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def get(port: int, path: str, *, timeout: str = "10") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONG)
    try:
        headers = {"X-Prometheus-Scrape-Timeout-Seconds": timeout}
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def numbers(metrics: Sequence[Metric] | None) -> list[float]:
    assert metrics is not None
    return [each.value for each in metrics]


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
