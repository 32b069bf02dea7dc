"""Read through an outage: a repository that goes away for minutes is waited for.

The adapters retry each call for as long as a request may take. That is right for a backup, which
can be taken again, and too short for a restore of hours that only lacks its last chunks. So here
the one call that met the outage is asked again, and all that was read before is kept.
"""

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TypeVar

from kb_dr.domain.space import Space
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import RepositoryUnavailable
from kb_dr.ports import Clock, Repository

logger = logging.getLogger(__name__)

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0
_WORTH_SAYING_SECONDS = 1.0
_HEARD_SECONDS = 0.2
"""A wait hears within this time that nobody wants its answer any more."""


@contextmanager
def patient_reads(
    repository: Repository,
    clock: Clock,
    *,
    patience_seconds: float,
    say: Callable[[str], None] = logger.warning,
) -> Iterator[Repository]:
    """``repository``, patient while the block runs.

    When it is left, however it is left, whoever still waits in another thread gives up at once.
    """
    patient = PatientRepository(repository, clock, patience_seconds=patience_seconds, say=say)
    try:
        yield patient
    finally:
        patient.give_up()


class PatientRepository:
    """Implements `kb_dr.ports.Repository`: passes everything on, and waits out an outage.

    Only RepositoryUnavailable is waited for, ``patience_seconds`` from the first call that met it
    (beyond the adapter's own deadline), together for all threads. Every other error passes at
    once. Once an outage has outlasted the patience nothing is waited for until a call succeeds.
    ``say`` is told once that an outage is waited for, and once that it is over.
    """

    def __init__(
        self,
        inner: Repository,
        clock: Clock,
        *,
        patience_seconds: float,
        say: Callable[[str], None] = logger.warning,
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._patience_seconds = patience_seconds
        self._say = say
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._over = threading.Event()

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def url(self) -> str:
        return self._inner.url

    def give_up(self) -> None:
        """Wait for nothing from now on; whoever waits gets the error there was."""
        self._over.set()

    def check(self) -> None:
        self._asked(self._inner.check)

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        return self._asked(lambda: self._inner.put(key, body, digest=digest))

    def get(self, stored: StoredObject) -> bytes:
        return self._asked(lambda: self._inner.get(stored))

    def read(self, key: str) -> bytes:
        return self._asked(lambda: self._inner.read(key))

    def read_start(self, listed: Listed, count: int) -> bytes:
        return self._asked(lambda: self._inner.read_start(listed, count))

    def find(self, key: str) -> Listed | None:
        return self._asked(lambda: self._inner.find(key))

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        # One key at a time, so that a listing which breaks off goes on where it was.
        last, listing = start_after, self._inner.list(prefix, start_after=start_after)

        def advance() -> Listed | None:
            nonlocal listing
            try:
                return next(listing, None)
            except RepositoryUnavailable:
                listing = self._inner.list(prefix, start_after=last)
                raise

        while (found := self._asked(advance)) is not None:
            last = found.key
            yield found

    def delete(self, key: str) -> None:
        self._asked(lambda: self._inner.delete(key))

    def space(self) -> Space | None:
        return self._asked(self._inner.space)

    def retained_until(self, prefix: str) -> datetime | None:
        return self._asked(lambda: self._inner.retained_until(prefix))

    def _asked(self, ask: Callable[[], T]) -> T:
        """What ``ask`` returns, asked again until it does or the patience ends."""
        began: float | None = None
        longest = _FIRST_PAUSE_SECONDS
        while True:
            try:
                answer = ask()
            except RepositoryUnavailable as error:
                now = self._clock.monotonic()
                began = now if began is None else began
                left = self._left(now, began, error)
                if left <= 0 or self._over.is_set():
                    if now - began < _WORTH_SAYING_SECONDS:
                        raise
                    raise _not_back(error, now - began) from error
            else:
                self._answered()
                return answer
            pause = random.uniform(longest / 2, longest)  # noqa: S311 - no secret hangs on it
            self._pause(min(pause, left))
            longest = min(longest * 2, _LONGEST_PAUSE_SECONDS)

    def _left(self, now: float, began: float, error: RepositoryUnavailable) -> float:
        """Seconds that may still be waited, of the outage and of this call, whichever is less."""
        with self._lock:
            is_new = self._away_since is None
            if self._away_since is None:
                self._away_since = now
            left = self._patience_seconds - (now - min(began, self._away_since))
        if is_new and left > 0 and not self._over.is_set():
            self._say(
                f"{self.name} does not answer; waiting up to {self._patience_seconds:g} s for it, "
                f"what was read is kept: {error}"
            )
        return left

    def _answered(self) -> None:
        if self._away_since is None:
            return
        with self._lock:
            since, self._away_since = self._away_since, None
        if since is not None and self._patience_seconds > 0:
            away = self._clock.monotonic() - since
            self._say(f"{self.name} answers again after {away:.0f} s; going on")

    def _pause(self, seconds: float) -> None:
        """Sleep so long, or until give_up()."""
        while seconds > 0 and not self._over.is_set():
            part = min(seconds, _HEARD_SECONDS)
            self._clock.sleep(part)
            seconds -= part


def _not_back(error: RepositoryUnavailable, waited: float) -> RepositoryUnavailable:
    return RepositoryUnavailable(
        f"{error}, and it did not come back within {waited:.0f} s",
        hint="Check network and store, then run the same command again; or use the other copy "
        "with --from. KB_DR_RESTORE_PATIENCE_SECONDS says how long an outage is waited for.",
    )
