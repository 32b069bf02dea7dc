"""What monitoring systems are told, made anew from the copies and the source at each look."""

from __future__ import annotations

import logging
import platform
import shutil
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from kb_dr import __version__
from kb_dr.errors import KbDrError
from kb_dr.installation.alerting import Alerting
from kb_dr.installation.deadman import Deadman
from kb_dr.installation.watching import Watching
from kb_dr.operations.known_entries import KnownEntries

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from kb_dr.domain.measured import Measured
    from kb_dr.domain.metric import Metric
    from kb_dr.domain.proof import Proof
    from kb_dr.domain.source_facts import SourceFacts
    from kb_dr.domain.space import Space
    from kb_dr.domain.status import Status

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Measuring(Watching, Alerting, Deadman):
    """Measures the service: no database of ours and no Dagster is needed for it."""

    known_proofs: KnownEntries[Proof] = KnownEntries()
    """Of the whole process: an exporter opens an installation at each look."""

    if TYPE_CHECKING:  # of the installation this is mixed into

        def status(self, *, everything: bool = False) -> Status: ...

    def measure(self) -> tuple[Metric, ...]:
        """Every metric that can be told now; one that cannot is absent, never 0, never old.

        Raises nothing of ours. An installation measures once: what it found closed stays closed.
        """
        from kb_dr.domain.metrics import metrics_of

        return metrics_of(self._measured())

    def _measured(self) -> Measured:
        from kb_dr.domain.control import ALL
        from kb_dr.domain.judge_integrity import RECENT_DAYS
        from kb_dr.domain.measured import WINDOWS, Measured
        from kb_dr.operations.listed_backups import ALL_KINDS
        from kb_dr.operations.recent_proofs import recent_proofs
        from kb_dr.operations.taken_backups import recent_backups, recent_tries

        began, clock_began = self.clock.now(), self.clock.monotonic()
        service, objectives = self.settings.service, self.settings.objectives
        since = began - max(WINDOWS.values())
        source, asked_at = self._measured_source()
        status = _told(self.status, said_at=logging.WARNING)
        report = _told(lambda: self.reports_judged(days=RECENT_DAYS))
        return Measured(
            service=service,
            version=__version__,
            python=platform.python_version(),
            looked_at=began,
            status=status,
            limits={
                "rpo": objectives.rpo_seconds,
                "rto": objectives.rto_seconds,
                "backup_age": objectives.backup_age_seconds,
                "proof_age": objectives.proof_age_seconds,
                "control_age": objectives.control_age_seconds,
                "drill_age": objectives.drill_age_seconds,
            },
            taken=_told(
                lambda: {
                    kind: recent_backups(
                        self._opened("primary"), service, kind, began, self.known_manifests
                    )
                    for kind in ALL_KINDS
                }
            ),
            tries=_told(
                lambda: {
                    kind: recent_tries(self._opened("primary"), service, kind, since)
                    for kind in ALL_KINDS
                }
            ),
            last_dump=_told(self._measured_dump),
            proofs=_told(lambda: recent_proofs(self._every_place(), since, self.known_proofs)),
            report=report.report if report else None,
            report_wrong=len(report.wrong) if report else 0,
            drills=_told(self.drills),
            controls=_told(self.controls),
            proofs_void=self.void_through() == ALL,
            held=self._measured_holds(),
            source=source,
            source_asked_at=asked_at,
            archiver=_told(self.source.archiver) if source else None,
            spaces=self._measured_spaces(),
            last_watch=_told(self.last_watch),
            open_alerts=_told(lambda: Counter(each.severity for each in self.alerts())),
            watched=_told(self.watch) or (),
            seconds=self.clock.monotonic() - clock_began,
        )

    def _measured_source(self) -> tuple[SourceFacts | None, datetime | None]:
        asked = self.clock.now()
        facts = _told(self._measured_facts)
        return facts, asked + (self.clock.now() - asked) / 2

    def _measured_facts(self) -> SourceFacts:
        return self.source.facts()

    def _measured_dump(self) -> datetime | None:
        from kb_dr.domain.proof import Standing
        from kb_dr.operations.recent_backups import list_dumps, look_at_dumps

        primary = self._opened("primary")
        seen = look_at_dumps(
            primary,
            list_dumps(primary),
            lambda stored: self.standings(stored, ["primary"])["primary"] is Standing.FAILED,
            self.known_manifests,
            service=self.settings.service,
        )
        return None if seen.newest_good is None else seen.newest_good.finished

    def _measured_holds(self) -> int | None:
        """None also when one hold may not have been read."""
        gathered = self.gathered_holds()
        if gathered.problems:
            return None
        return sum(1 for name in gathered.events if gathered.in_force(name))

    def _measured_spaces(self) -> dict[str, Space]:
        """Of each copy that has an end, and of what this machine works in."""
        found: dict[str, Space] = {}
        for copy in self.copies:
            space = _told(partial(self._measured_space, copy))
            if space is not None:
                found[copy] = space
        own = {
            "scratch": self.settings.scratch_dir,
            "state": self.settings.state_dir,
            "source": self.settings.source.data_directory,
        }
        for name, path in own.items():
            space = None if path is None else _space_of(path)
            if space is not None:
                found[name] = space
        return found

    def _measured_space(self, copy: str) -> Space | None:
        return self._opened(copy).space()


def _told(look: Callable[[], T], *, said_at: int = logging.DEBUG) -> T | None:
    """What it says; None when it cannot be told."""
    try:
        return look()
    except KbDrError as error:
        logger.log(said_at, "not measured: %s", error)
        return None


def _space_of(path: Path) -> Space | None:
    """The file system a directory lies on, or will; None when that cannot be told."""
    from kb_dr.domain.space import Space

    while not path.exists() and path != path.parent:
        path = path.parent
    try:
        usage = shutil.disk_usage(path)
    except OSError as error:
        logger.debug("not measured: %s: %s", path, error)
        return None
    return Space(usage.total, usage.free)
