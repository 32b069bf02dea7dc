"""A repository that could not be opened, and is not asked again.

Each try may sit out every retry there is; a look at the whole takes dozens of them.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import NoReturn

from kb_dr.domain.space import Space
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import RepositoryError
from kb_dr.ports import Repository


class ClosedRepository:
    """Implements `kb_dr.ports.Repository`: each call raises what the first one met."""

    def __init__(self, inner: Repository, error: RepositoryError) -> None:
        self.name = inner.name
        self.url = inner.url
        self._error = error

    def check(self) -> None:
        self._raise()

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        self._raise()

    def get(self, stored: StoredObject) -> bytes:
        self._raise()

    def read(self, key: str) -> bytes:
        self._raise()

    def read_start(self, listed: Listed, count: int) -> bytes:
        self._raise()

    def find(self, key: str) -> Listed | None:
        self._raise()

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        self._raise()

    def delete(self, key: str) -> None:
        self._raise()

    def space(self) -> Space | None:
        self._raise()

    def retained_until(self, prefix: str) -> datetime | None:
        self._raise()

    def _raise(self) -> NoReturn:
        raise type(self._error)(str(self._error), hint=self._error.hint) from self._error
