"""A throw-away repository over a real one: read through, damaged and written in memory alone."""

import heapq
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from threading import Lock

from kb_dr.adapters.digests import described, require_recorded
from kb_dr.adapters.repository_keys import checked_key
from kb_dr.domain.space import Space
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import ObjectConflict, ObjectMissing
from kb_dr.ports import Repository


class OverlayRepository:
    """Implements `kb_dr.ports.Repository`.

    ``label`` says what it is for; name and URL say that it is not the real copy, so that nothing
    learned here is ever taken for something learned there. ``changes``: key to the bytes that
    stand there instead, None where the object is missing. The real repository is only ever read.
    """

    def __init__(self, real: Repository, label: str, changes: Mapping[str, bytes | None]) -> None:
        self._real = real
        self._label = label
        self._lock = Lock()
        self._layer: dict[str, bytes | None] = dict(changes)

    @property
    def name(self) -> str:
        return f"{self._label}-of-{self._real.name}"

    @property
    def url(self) -> str:
        return f"{self._label}:{self._real.url}"

    def check(self) -> None:
        self._real.check()

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        body = bytes(body)
        try:
            there: bytes | None = self.read(key)
        except ObjectMissing:
            there = None
        with self._lock:
            if there is None:
                there = self._layer.get(key)
            if there is None:
                there = self._layer[key] = body
        if there != body:
            raise ObjectConflict(f"put {self.url}/{key}: other bytes stand there already")
        return described(key, body)

    def get(self, stored: StoredObject) -> bytes:
        if checked_key(stored.key) not in self._layer:
            return self._real.get(stored)
        body = self.read(stored.key)
        require_recorded(f"{self.url}/{stored.key}", stored, body)
        return body

    def read(self, key: str) -> bytes:
        if checked_key(key) not in self._layer:
            return self._real.read(key)
        body = self._layer[key]
        if body is None:
            raise ObjectMissing(f"get {self.url}/{key}: no such object")
        return body

    def read_start(self, listed: Listed, count: int) -> bytes:
        if checked_key(listed.key) not in self._layer:
            return self._real.read_start(listed, count)
        return self.read(listed.key)[:count]

    def find(self, key: str) -> Listed | None:
        if checked_key(key) not in self._layer:
            return self._real.find(key)
        body = self._layer[key]
        return None if body is None else _listed(key, body)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        with self._lock:
            layer = dict(self._layer)
        own = sorted(
            (key, _listed(key, body))
            for key, body in layer.items()
            if body is not None and key.startswith(prefix) and key > start_after
        )
        real = (
            (listed.key, listed)
            for listed in self._real.list(prefix, start_after=start_after)
            if listed.key not in layer
        )
        for _, listed in heapq.merge(own, real, key=lambda each: each[0]):
            yield listed

    def delete(self, key: str) -> None:
        self.find(key)  # raises where there is no real repository below
        with self._lock:
            self._layer[checked_key(key)] = None

    def space(self) -> Space | None:
        return None  # what is put here stays in memory

    def retained_until(self, prefix: str) -> datetime | None:
        self._real.check()
        return None  # what is removed here stands there still


def _listed(key: str, body: bytes) -> Listed:
    # It was never stored, and so has no time; nobody may come to think that it is new.
    return Listed(key, len(body), datetime(1970, 1, 1, tzinfo=UTC))
