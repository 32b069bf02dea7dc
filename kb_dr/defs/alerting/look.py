"""One look at all Dagster knows of: part by part, so that one that fails stops no other."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import dagster as dg

from kb_dr.defs.alerting.automation import automata, look_at_automation, missed_while_down
from kb_dr.defs.alerting.check_notices import look_at_checks
from kb_dr.defs.alerting.conditions import Condition, Open, not_watched
from kb_dr.defs.alerting.finished_runs import Ended
from kb_dr.defs.alerting.place import Broken, Place
from kb_dr.defs.alerting.run_notices import (
    BACKUP_JOB,
    BY_PARTITION,
    VERIFY_JOB,
    begin_with_the_present,
    notices_of,
    read_runs,
    unreadable,
    went_well,
)
from kb_dr.defs.alerting.stuck_runs import is_stuck_key, look_for_stuck_runs
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.domain.alert_kinds import KINDS
from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.notice import Notice, State
from kb_dr.settings import COPY_NAMES

DOWN_FOR = timedelta(minutes=10)
"""So long a pause between two looks is told."""

FAULTS = "sensor/alerts_go_out/reading "
"""Keys of parts that could not be read begin so."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look found, and where the next one begins once that was taken."""

    notices: tuple[Notice, ...]
    place: Place
    faults: tuple[str, ...]
    """Parts that could not be read."""
    more: bool
    """Whether more runs have ended than there was time to read."""


class Look:
    """Reads, and collects."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        repository: dg.RepositoryDefinition,
        location: str | None,
        now: datetime,
    ) -> None:
        self._instance, self._repository, self._location = instance, repository, location
        self._now = now
        self._notices: list[Notice] = []
        self._faults: dict[str, str] = {}

    def take(
        self,
        place: Place | None,
        outbox: dict[str, Broken] | None,
        time_left: Callable[[], bool],
    ) -> Looked:
        """Everything since ``place``, and how things stand now. None: a first start."""
        now = self._now
        down = place is not None and now - place.at > DOWN_FOR
        up_since = now if place is None or down else place.up_since
        opened = Open({} if place is None else place.broken, outbox)
        read, seen, more = {}, {}, False
        if place is not None:
            read, seen = dict(place.read), dict(place.seen)

        def runs() -> None:
            nonlocal read, seen, more
            if place is not None and place.read:
                found = read_runs(self._instance, place, now, time_left, self._of_run)
            else:
                found = begin_with_the_present(self._instance, now, self._of_run)
                self._notices += self._mended_meanwhile(opened)
            self._notices += found.notices
            read, seen, more = dict(found.read), dict(found.seen), found.more

        def checks() -> None:
            self._level(opened, look_at_checks(self._instance, self._repository), _is_check)

        def stuck() -> None:
            self._level(opened, look_for_stuck_runs(self._instance, now), is_stuck_key)

        def automation() -> None:
            found = automata(self._instance, self._repository, self._location)
            if place is not None and down:
                lost = missed_while_down(self._instance, found, place.at, now)
                self._notices += [] if lost is None else [lost]
            self._level(opened, look_at_automation(found, now, up_since), _is_automation)

        def gone() -> None:
            self._notices += self._runs_that_are_gone(opened)

        for part in (runs, checks, stuck, automation, gone):
            self._guarded(part)
        faults = [
            Condition(f"{FAULTS}{part}", self._fault(part, said), lasting=True)
            for part, said in self._faults.items()
        ]
        self._level(opened, faults, lambda key: key.startswith(FAULTS))
        unique: dict[tuple[str, State], Notice] = {}
        for notice in self._notices:
            # A result read with its run says more than the same one read by itself.
            unique.setdefault((notice.id, notice.state), notice)
        new = tuple(opened.what_is_new(unique.values()))
        return Looked(
            notices=new,
            place=Place(now, up_since, read, seen, opened.handed_in),
            faults=tuple(f"{part}: {said}" for part, said in self._faults.items()),
            more=more,
        )

    def _of_run(self, ended: Ended) -> list[Notice]:
        try:
            return list(notices_of(self._instance, ended))
        except Exception as error:  # noqa: BLE001 - one run must not keep all later ones from us
            # Raises as well when it is the database that does not answer: then all of it waits.
            self._instance.get_run_by_id(ended.run.run_id)
            failed = ended.run.status is dg.DagsterRunStatus.FAILURE
            said = f"{type(error).__name__}: {error}"
            # Of others nothing is lost: what checks say is looked at by itself.
            return [unreadable(ended, said)] if failed else []

    def _level(
        self, opened: Open, conditions: Iterable[Condition], is_ours: Callable[[str], bool]
    ) -> None:
        # All of it before any of it: half a look would call the other half mended.
        self._notices += opened.level(list(conditions), self._now, is_ours)

    def _guarded(self, part: Callable[[], None]) -> None:
        before = len(self._notices)
        try:
            part()
        except Exception as error:  # noqa: BLE001 - a fault of ours must not silence the others
            del self._notices[before:]
            self._faults[part.__name__] = f"{type(error).__name__}: {error}"

    def _fault(self, part: str, said: str) -> Notice:
        kind = KINDS["automation_failed"]
        key = f"{FAULTS}{part}"
        return Notice(
            id=f"{key}/{self._now.isoformat(timespec='minutes')}",
            key=key,
            kind=kind.name,
            state=State.BROKEN,
            severity=kind.severity,
            at=self._now,
            seen=f"alerts_go_out cannot read {part}: {' '.join(said.split())[:600]}",
            do="Alerts of this part do not go out meanwhile: look at Dagster's pages themselves.",
        )

    def _mended_meanwhile(self, opened: Open) -> list[Notice]:
        """At a first start: jobs that are taken for broken, and have gone well since."""
        keys = {key for key in opened.keys if key.startswith("run/") and not is_stuck_key(key)}
        if opened.outbox is None:
            keys |= {f"run/{job}" for job in self._repository.job_names}
            keys |= {f"run/{BACKUP_JOB}/{kind}" for kind in BackupKind}
            keys |= {f"run/{VERIFY_JOB}/{copy}" for copy in COPY_NAMES}
        found = (went_well(self._instance, key) for key in sorted(keys))
        return [each for each in found if each is not None]

    def _runs_that_are_gone(self, opened: Open) -> list[Notice]:
        """Conditions of jobs that no longer exist, and of backups that were purged."""
        jobs = set(self._repository.job_names)
        backups = set(self._instance.get_dynamic_partitions(POSTGRES_BACKUPS))
        over: list[Notice] = []
        for key in sorted(opened.keys):
            if not key.startswith("run/") or is_stuck_key(key):
                continue
            _, job, *rest = key.split("/", 2)
            purged = job in BY_PARTITION and rest and rest[0] not in backups
            if job not in jobs or purged:
                over.append(not_watched(key, self._now))
        return over


def _is_check(key: str) -> bool:
    return key.startswith("check/")


def _is_automation(key: str) -> bool:
    return key.startswith(("schedule/", "sensor/")) and not key.startswith(FAULTS)
