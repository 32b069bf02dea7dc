"""Where an installation keeps things, and what it reaches them with."""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from kb_dr import wiring
from kb_dr.errors import (
    BucketMissing,
    RepositoryError,
    RepositoryRefused,
    RepositoryUnavailable,
    WrongRepository,
)
from kb_dr.operations.known_entries import KnownEntries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    from kb_dr.operations.catalog import CatalogEntry
    from kb_dr.ports import (
        Bucket,
        Clock,
        Codec,
        HeartbeatTable,
        PostgresHost,
        Repository,
        ScratchSpace,
        SourceServer,
    )
    from kb_dr.settings import Settings

logger = logging.getLogger(__name__)

T = TypeVar("T")

CLOSED = (RepositoryUnavailable, RepositoryRefused, BucketMissing, WrongRepository)
"""Nothing can be learned there. Records are kept in each copy, so that the other one knows."""


class Places:
    """The repositories, the source and this machine, as the settings name them."""

    known_manifests: KnownEntries[CatalogEntry] = KnownEntries()
    """Of the whole process: a daemon opens an installation at each look, every few seconds."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or wiring.clock()
        self._closed: dict[str, RepositoryError] = {}
        self._repositories: dict[str, Repository] = {}
        self._buckets: dict[str, Bucket | None] = {}

    @property
    def copies(self) -> tuple[str, ...]:
        """The repositories configured, in the order of COPY_NAMES."""
        return self.settings.copies

    @property
    def primary(self) -> Repository:
        """Where backups and WAL go first."""
        return self.repository("primary")

    def repository(self, copy: str) -> Repository:
        """The repository of that name; ConfigurationError when none is configured."""
        if copy not in self._repositories:
            self._repositories[copy] = wiring.repository(self.settings, copy)
        return self._repositories[copy]

    def checked(self, copy: str) -> Repository:
        """The repository of that name, its marker read: never another service's, never empty."""
        from kb_dr.operations.initialise import check_marker

        found = self.repository(copy)
        check_marker(found, service=self.settings.service, org=self.settings.org)
        return found

    def _opened(self, copy: str) -> Repository:
        """As checked(), for records that are kept in each copy.

        A copy that could not be opened is not asked again: each try may take minutes, and there
        would be one for every backup, on the day when time is short.
        """
        if copy in self._closed:
            raise self._closed[copy]
        try:
            return self.checked(copy)
        except CLOSED as error:
            self._closed[copy] = error
            raise

    def _from_each(self, look: Callable[[Repository], Iterable[T]]) -> list[T]:
        """What every copy that can be opened holds; the error of the last one when none can.

        What is read in one and cannot be read (UnreadableRecord) is raised.
        """
        found: list[T] = []
        failure: RepositoryError | None = None
        answered = False
        for copy in self.copies:
            try:
                found += look(self._opened(copy))
                answered = True
            except CLOSED as error:
                self._closed[copy] = failure = error
        if failure is not None and not answered:
            raise failure
        return found

    def _to_be_looked_at(self) -> list[Repository]:
        """Every repository; one that does not answer says so at once, however often it is asked."""
        from kb_dr.operations.closed_repository import ClosedRepository

        found: list[Repository] = []
        for copy in self.copies:
            try:
                found.append(self._opened(copy))
            except RepositoryUnavailable as error:
                found.append(ClosedRepository(self.repository(copy), error))
            except RepositoryError:
                found.append(self.repository(copy))  # it answers: who looks says what is wrong
        return found

    def _every_place(self) -> list[Repository]:
        """Every repository; one that cannot be opened, for whatever reason, raises that whenever
        it is asked: an empty directory where a mount is missing says nothing of what is held.
        """
        from kb_dr.operations.closed_repository import ClosedRepository

        found: list[Repository] = []
        for copy in self.copies:
            try:
                found.append(self._opened(copy))
            except RepositoryError as error:
                found.append(ClosedRepository(self.repository(copy), error))
        return found

    def _check(self, repository: Repository) -> None:
        from kb_dr.operations.initialise import check_marker

        check_marker(repository, service=self.settings.service, org=self.settings.org)

    @cached_property
    def codec(self) -> Codec:
        """Compression and encryption."""
        return wiring.codec(self.settings)

    @cached_property
    def source(self) -> SourceServer:
        """The PostgreSQL under protection."""
        return wiring.source(self.settings)

    @cached_property
    def host(self) -> PostgresHost:
        """PostgreSQL's programs on this machine."""
        return wiring.host(self.settings)

    @cached_property
    def scratch(self) -> ScratchSpace:
        """Where proofs restore to."""
        return wiring.scratch(self.settings)

    @cached_property
    def heartbeat(self) -> HeartbeatTable:
        """The heartbeat's table in the source."""
        return wiring.heartbeat(self.settings)

    def _other_than(self, copy: str) -> Repository | None:
        """Another repository, to keep a proof of this one in as well: a red one above all.

        The nearest that can be opened; None while none can: that is when a proof of this copy is
        wanted most.
        """
        for other in self.copies:
            if other == copy:
                continue
            try:
                return self._opened(other)
            except RepositoryError as error:
                logger.warning("proofs of %s are not kept in %s: %s", copy, other, error)
        return None

    def _patient(self, repository: Repository) -> AbstractContextManager[Repository]:
        """A repository that may go away for a while once work on it has begun."""
        from kb_dr.operations.patient_reads import patient_reads

        return patient_reads(
            repository, self.clock, patience_seconds=self.settings.restore_patience_seconds
        )
