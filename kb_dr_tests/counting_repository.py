"""A repository that counts what is asked of it."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from threading import Lock

from kb_dr.domain.space import Space
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.ports import Repository

PAGE = 1000
"""Keys of one answer of S3."""


class CountingRepository:
    """Implements `kb_dr.ports.Repository` over a real one; counts are open for tests to read."""

    def __init__(self, real: Repository) -> None:
        self.real = real
        self.calls: Counter[str] = Counter()
        """``list``, ``read``, ``find``, ``check``: how often; ``keys``: how many were listed;
        ``pages``: how many answers of S3 those are, at least one for each listing."""
        self.read_keys: list[str] = []
        self.listed: list[tuple[str, str]] = []
        """Prefix and ``start_after`` of every listing."""
        self._lock = Lock()

    @property
    def name(self) -> str:
        return self.real.name

    @property
    def url(self) -> str:
        return self.real.url

    def check(self) -> None:
        self._count("check")
        self.real.check()

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        self._count("put")
        return self.real.put(key, body, digest=digest)

    def get(self, stored: StoredObject) -> bytes:
        self._count("read")
        return self.real.get(stored)

    def read(self, key: str) -> bytes:
        self._count("read")
        with self._lock:
            self.read_keys.append(key)
        return self.real.read(key)

    def read_start(self, listed: Listed, count: int) -> bytes:
        self._count("read")
        return self.real.read_start(listed, count)

    def find(self, key: str) -> Listed | None:
        self._count("find")
        return self.real.find(key)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        self._count("list")
        self._count("pages")
        with self._lock:
            self.listed.append((prefix, start_after))
        for number, listed in enumerate(self.real.list(prefix, start_after=start_after)):
            self.calls["keys"] += 1
            if number and number % PAGE == 0:
                self._count("pages")
            yield listed

    def space(self) -> Space | None:
        self._count("space")
        return self.real.space()

    def retained_until(self, prefix: str) -> datetime | None:
        self._count("retained_until")
        return self.real.retained_until(prefix)

    def delete(self, key: str) -> None:
        self._count("delete")
        self.real.delete(key)

    def _count(self, what: str) -> None:
        with self._lock:
            self.calls[what] += 1
