"""The watch: is it true now, each sentence that has to be?"""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.errors import ConfigurationError, KbDrError, PostgresError, RepositoryError
from kb_dr.installation.keys import Keys
from kb_dr.installation.reports import Reports
from kb_dr.settings import S3Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from pathlib import Path

    from kb_dr.domain.source_facts import SourceFacts
    from kb_dr.domain.space import Space
    from kb_dr.domain.status import Status
    from kb_dr.domain.watch.conclude import Unknown
    from kb_dr.domain.watch.copies import Probed
    from kb_dr.domain.watched import Watched
    from kb_dr.ports import Repository

_PATIENCE_SECONDS = 5.0
"""A bucket that does not answer a small request by then, tried again and again for four times as
long, is called unreachable: a look each minute must not take as long as a backup may wait."""


class Watching(Keys, Reports):
    """Looks once, and judges every check by it."""

    def watch(self, names: Collection[str] | None = None) -> tuple[Watched, ...]:
        """The checks of these names, in the order of domain/watch_checks.py; None: those that are
        cheap enough for every minute.

        Raises nothing of ours but ConfigurationError for a name that is none: what cannot be told
        is COULD_NOT_RUN. A copy that was away at the last look is asked anew.
        """
        from kb_dr.domain.watch_checks import HOURLY_CHECKS, MINUTE_CHECKS
        from kb_dr.operations.take_watch import Watch

        every = (*MINUTE_CHECKS, *HOURLY_CHECKS)
        wanted = tuple(MINUTE_CHECKS if names is None else names)
        unknown = [name for name in wanted if name not in every]
        if unknown:
            raise ConfigurationError(
                f"watch {unknown[0]!r}: no such check",
                hint=f"There are: {', '.join(every)}.",
            )
        self._closed.clear()
        look = Watch(self)
        return tuple(look.judge(name) for name in every if name in wanted)

    def answer(self, copy: str) -> tuple[Probed | Unknown, datetime | None]:
        """Whether one copy can be read and written, asked with little patience, and when it was
        made. One that cannot be read is not asked again at this look.
        """
        from kb_dr.domain.watch.conclude import Unknown
        from kb_dr.operations.initialise import check_marker
        from kb_dr.operations.probe_repository import probe_repository

        settings = self.settings
        try:
            at = self._impatient(copy)
            made_at = check_marker(at, service=settings.service, org=settings.org).created
        except KbDrError as error:
            met = (
                error
                if isinstance(error, RepositoryError)
                else RepositoryError(str(error), hint=error.hint)
            )
            self._closed[copy] = met
            return Unknown(str(met), met.hint), None
        try:
            return probe_repository(at, self.clock, socket.gethostname()), made_at
        except RepositoryError as error:
            return Unknown(str(error), error.hint), made_at

    def answered(self, copy: str) -> Repository:
        """A copy whose answer() was heard, its marker with it; what it met then, if it failed."""
        if copy in self._closed:
            raise self._closed[copy]
        return self.repository(copy)

    def _impatient(self, copy: str) -> Repository:
        if not isinstance(self.settings.location(copy), S3Settings):
            return self.repository(copy)
        seconds = min(self.settings.s3_timeout_seconds, _PATIENCE_SECONDS)
        return wiring.repository(replace(self.settings, s3_timeout_seconds=seconds), copy)

    def status_with(self, facts: SourceFacts | Unknown) -> Status:
        """As status() of the copies, by what the source has just said; it is not asked again."""
        return self._take_status(self._to_be_looked_at(), source=_Said(facts))

    def places_on_disk(self) -> Mapping[str, Path]:
        """What of ours lies on file systems of this machine, besides the copies."""
        settings = self.settings
        found = {"scratch": settings.scratch_dir, "state": settings.state_dir}
        if settings.source.data_directory is not None:
            found["source"] = settings.source.data_directory
        return found

    def disk_space(self, directory: Path) -> Space:
        """The room of the file system it lies on; KbDrError where nobody may look."""
        return wiring.disk_space(directory)


@dataclass(frozen=True, slots=True)
class _Said:
    """A source that was asked already."""

    seen: SourceFacts | Unknown

    def facts(self) -> SourceFacts:
        """What it said then."""
        from kb_dr.domain.watch.conclude import Unknown

        if isinstance(self.seen, Unknown):
            raise PostgresError(self.seen.why, hint=self.seen.hint)
        return self.seen
