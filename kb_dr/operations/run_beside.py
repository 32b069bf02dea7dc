"""Do one thing beside another."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from kb_dr.logs import with_these_ids

T = TypeVar("T")


class Beside(Generic[T]):
    """Work that a thread began to do when this was made.

    Nobody waits for it but whoever takes its result: who is interrupted in between goes on at
    once, and has to see to it that the work comes to nothing (a server that ends, ends its
    sessions).
    """

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._work = work
        self._failure: BaseException | None = None
        self._done: list[T] = []
        self._thread = threading.Thread(target=with_these_ids(self._run), name=name, daemon=True)
        self._thread.start()

    def result(self) -> T:
        """Wait for its end; what the work returned, or raised."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._done[0]

    def _run(self) -> None:
        try:
            self._done.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            self._failure = error
