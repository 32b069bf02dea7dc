"""Who awaits a body from S3 waits for a loop that runs."""

import threading

import pytest

from kb_dr.adapters import s3_bodies


def test_a_loop_that_could_not_start_is_tried_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_bodies, "_loop", None)
    start = threading.Thread.start

    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError):
        s3_bodies._running_loop()
    monkeypatch.setattr(threading.Thread, "start", start)

    loop = s3_bodies._running_loop()
    ran = threading.Event()
    loop.call_soon_threadsafe(ran.set)

    assert ran.wait(10)
    loop.call_soon_threadsafe(loop.stop)
