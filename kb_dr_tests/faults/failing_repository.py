"""A repository whose call number k fails, for sweeps over every k.

Several repositories may share one Fault, so that k counts the calls of all of them in their order.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from enum import StrEnum
from threading import Lock
from typing import TypeVar

from kb_dr.domain.space import Space
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import RepositoryUnavailable
from kb_dr.ports import Repository

T = TypeVar("T")


class Killed(BaseException):
    """The process ended here, as by SIGKILL: no error handling runs that catches our errors."""


class When(StrEnum):
    """How a call fails."""

    BEFORE = "before"
    """Nothing was done."""
    AFTER = "after"
    """It was done, and the answer was lost. A listing breaks off in its middle."""
    KILLED_BEFORE = "killed before"
    """The process ended, and nothing it does later has any effect."""
    KILLED_AFTER = "killed after"

    @property
    def done(self) -> bool:
        """Whether the call has had its effect."""
        return self in (When.AFTER, When.KILLED_AFTER)

    @property
    def killed(self) -> bool:
        """Whether the process ends here."""
        return self in (When.KILLED_BEFORE, When.KILLED_AFTER)


class Fault:
    """Call number ``at`` (from 0) fails; None: none does, and ``calls`` tells how many there are.

    ``lasting``: every later call fails as well, as when a store stays away.
    """

    def __init__(
        self, at: int | None = None, when: When = When.BEFORE, *, lasting: bool = False
    ) -> None:
        self._at = at
        self._when = when
        self._lasting = lasting
        self._lock = Lock()
        self.calls: list[str] = []
        """What was asked, in order: ``delete full/…``."""

    @property
    def happened(self) -> bool:
        """Whether the call that was to fail was made."""
        return self._at is not None and len(self.calls) > self._at

    def due(self, call: str) -> When | None:
        """Count one call; how it is to fail, None when it is not."""
        with self._lock:
            number = len(self.calls)
            self.calls.append(call)
        if self._at is None or number < self._at:
            return None
        if number == self._at:
            return self._when
        if self._when.killed:
            # Whatever still runs here, in a handler or in a thread, is of a process that is gone.
            return When.KILLED_BEFORE
        return self._when if self._lasting else None

    def around(self, call: str, work: Callable[[], T]) -> T:
        """Do one call, or fail."""
        when = self.due(call)
        if when is None:
            return work()
        if when.done:
            work()
        raise self.error(call, when)

    def error(self, call: str, when: When) -> BaseException:
        """What is raised."""
        if when.killed:
            return Killed(call)
        return RepositoryUnavailable(f"{call}: made to fail")


class Meanwhile(Fault):
    """Nothing fails: something else is done, once, right before the first call that says this, or
    that has this number.
    """

    def __init__(self, which: str | int, work: Callable[[], object]) -> None:
        super().__init__()
        self._which = which
        self._work: Callable[[], object] | None = work

    def _is_it(self, call: str) -> bool:
        if isinstance(self._which, int):
            return len(self.calls) == self._which
        return self._which in call

    def due(self, call: str) -> When | None:
        if self._work is not None and self._is_it(call):
            work, self._work = self._work, None
            work()
        return super().due(call)


class FailingRepository:
    """Implements `kb_dr.ports.Repository` over another one, and fails where its Fault says."""

    def __init__(self, inner: Repository, fault: Fault) -> None:
        self._inner = inner
        self._fault = fault

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def url(self) -> str:
        return self._inner.url

    def check(self) -> None:
        self._around("check", "", self._inner.check)

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        return self._around("put", key, lambda: self._inner.put(key, body, digest=digest))

    def get(self, stored: StoredObject) -> bytes:
        return self._around("get", stored.key, lambda: self._inner.get(stored))

    def read(self, key: str) -> bytes:
        return self._around("read", key, lambda: self._inner.read(key))

    def read_start(self, listed: Listed, count: int) -> bytes:
        return self._around(
            "read start of", listed.key, lambda: self._inner.read_start(listed, count)
        )

    def find(self, key: str) -> Listed | None:
        return self._around("find", key, lambda: self._inner.find(key))

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        call = f"{self.name} list {prefix}"
        when = self._fault.due(call)
        if when is None:
            yield from self._inner.list(prefix, start_after=start_after)
            return
        if when.done:
            found = [*self._inner.list(prefix, start_after=start_after)]
            yield from found[: len(found) // 2]
        raise self._fault.error(call, when)

    def space(self) -> Space | None:
        return self._around("space", "", self._inner.space)

    def delete(self, key: str) -> None:
        self._around("delete", key, lambda: self._inner.delete(key))

    def retained_until(self, prefix: str) -> datetime | None:
        return self._around("retained", prefix, lambda: self._inner.retained_until(prefix))

    def _around(self, verb: str, key: str, work: Callable[[], T]) -> T:
        return self._fault.around(f"{self.name} {verb} {key}", work)
