"""Signs of life: a run that is silent for long is taken for dead by the reaper."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BEAT_SECONDS = 60.0


@contextmanager
def signs_of_life(say: Callable[[str], None], *, seconds: float = BEAT_SECONDS) -> Iterator[None]:
    """Say about once a minute that the step is alive, while the block runs."""
    over = threading.Event()

    def beat() -> None:
        count = 0
        while not over.wait(seconds):
            count += 1
            say(f"still at work after {count * seconds:.0f} s")

    thread = threading.Thread(target=beat, name="signs of life", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
