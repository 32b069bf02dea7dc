"""Signals to stop, of which only the first one counts."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

logger = logging.getLogger("kb_dr.replace")

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a service manager's stop, and a terminal that is closed or an ssh that breaks."""


class HeldSignals:
    """The first signal raises KeyboardInterrupt in the main thread; later ones do nothing."""

    def __init__(self) -> None:
        self._held = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Act so inside the block; elsewhere than in the main thread nothing is changed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._held = False
        before = {each: signal.getsignal(each) for each in _STOPPING}
        # What nohup, or a shell's `&`, lets us ignore is ignored here, too.
        before = {each: how for each, how in before.items() if how not in (signal.SIG_IGN, None)}
        for each in before:
            signal.signal(each, self._act)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def hold(self) -> None:
        """From now on none does anything."""
        self._held = True

    def _act(self, number: int, _frame: FrameType | None) -> None:
        if self._held:
            logger.warning(
                "%s is put off: the old service is being brought back", signal.Signals(number).name
            )
            return
        self._held = True
        raise KeyboardInterrupt
