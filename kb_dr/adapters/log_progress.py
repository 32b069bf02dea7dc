"""Progress as plain lines: phase, bytes, rate and time left, about every 10 seconds."""

import logging
import threading
import time
from collections.abc import Callable

from kb_dr.logs import with_these_ids

_logger = logging.getLogger("kb_dr.progress")


class SilentProgress:
    """Implements `kb_dr.ports.Progress` by saying nothing."""

    def begin(self, phase: str, total_bytes: int | None = None) -> None:
        """Nothing is said."""

    def advance(self, count: int) -> None:
        """Nothing is said."""

    def end(self) -> None:
        """Nothing is said."""


class LogProgress:
    """Implements `kb_dr.ports.Progress`; one phase at a time.

    A thread of its own says the lines, so that work which stands still is seen to stand still.
    """

    def __init__(
        self, say: Callable[[str], None] = _logger.info, *, interval_seconds: float = 10.0
    ) -> None:
        self._say = say
        self._interval_seconds = interval_seconds
        self._lock = threading.Lock()
        self._phase: str | None = None
        self._total: int | None = None
        self._done = 0
        self._began = 0.0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, phase: str, total_bytes: int | None = None) -> None:
        self.end()
        over = threading.Event()
        with self._lock:
            self._phase, self._total, self._done = phase, total_bytes, 0
            self._began = time.monotonic()
            self._over = over
            self._thread = threading.Thread(
                target=with_these_ids(self._speak),
                args=(over,),
                name=f"progress of {phase}",
                daemon=True,
            )
            self._thread.start()

    def advance(self, count: int) -> None:
        with self._lock:
            self._done += count

    def end(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            self._over.set()
        if thread is not None:
            thread.join()
            self._say(self._line(ended=True))

    def _speak(self, over: threading.Event) -> None:
        while not over.wait(self._interval_seconds):
            self._say(self._line(ended=False))

    def _line(self, *, ended: bool) -> str:
        with self._lock:
            phase, total, done = self._phase, self._total, self._done
            seconds = max(time.monotonic() - self._began, 1e-9)
        if not total and not done:  # nothing of it is counted in bytes
            ending = "done in" if ended else "at work for"
            return f"{phase}: {ending} {_duration(seconds)}"
        rate = done / seconds
        text = f"{phase}: {_size(done)}"
        if total:
            text += f" of {_size(total)} ({min(done / total, 1):.0%})"
        text += f", {_size(int(rate))}/s"
        if ended:
            whole = not total or done >= total  # an estimate may have been too high
            return f"{text}, {'done in' if whole else 'ended after'} {_duration(seconds)}"
        if total and rate > 0:
            return f"{text}, about {_duration(max(total - done, 0) / rate)} left"
        return f"{text}, time left not known"


def _size(count: int) -> str:
    if count < 1 << 20:
        return f"{count / 1024:.1f} KiB"
    if count < 1 << 30:
        return f"{count / (1 << 20):.1f} MiB"
    return f"{count / (1 << 30):.2f} GiB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
