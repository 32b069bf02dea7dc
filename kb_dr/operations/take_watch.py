"""Look once, and judge all that is watched by it.

It runs each minute: everything is asked for once, when the first check needs it, and no more is
read than the checks that were named need. The server is asked before any repository is listed.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, TypeVar

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.base_backup import ArchiverStatus
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.judge_integrity import RECENT_DAYS
from kb_dr.domain.key_check import KeyCheck
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS
from kb_dr.domain.proof import Standing
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.space import Space
from kb_dr.domain.status import BackupStatus, CopyStatus, Status
from kb_dr.domain.watch.arrived import ArrivedWal, judge_arrival
from kb_dr.domain.watch.backup_sizes import judge_backup_duration, judge_backup_size
from kb_dr.domain.watch.backups import (
    SeenBackups,
    Series,
    judge_backup_age,
    judge_increment_age,
)
from kb_dr.domain.watch.conclude import Unknown
from kb_dr.domain.watch.copies import Lag, Probed, judge_answers, judge_lag
from kb_dr.domain.watch.coverage import OpenedKeys, judge_coverage, judge_keys
from kb_dr.domain.watch.disks import judge_disks
from kb_dr.domain.watch.dumps import judge_dump_age
from kb_dr.domain.watch.objectives import judge_clocks, judge_proof_age, judge_rpo
from kb_dr.domain.watch.wal import judge_archiver, judge_stream, judge_waiting
from kb_dr.domain.watched import Watched
from kb_dr.errors import KbDrError, UnreadableRecord
from kb_dr.operations.arrived_wal import find_arrived
from kb_dr.operations.catalog import CatalogEntry
from kb_dr.operations.copy_lag import measure_lag
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.recent_backups import Names, list_names, look_at_backups, look_at_dumps
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Clock, Codec, Repository, SourceServer
from kb_dr.settings import DirectoryLocation, Settings

T = TypeVar("T")


class Surroundings(Protocol):
    """What an installation is made of; each part may fail when it is first used."""

    known_manifests: KnownEntries[CatalogEntry]

    @property
    def settings(self) -> Settings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def copies(self) -> tuple[str, ...]: ...
    @property
    def codec(self) -> Codec: ...
    @property
    def source(self) -> SourceServer: ...
    def answer(self, copy: str) -> tuple[Probed | Unknown, datetime | None]: ...
    def answered(self, copy: str) -> Repository: ...
    def status_with(self, facts: SourceFacts | Unknown) -> Status: ...
    def standings(self, stored: StoredManifest, copies: Sequence[str]) -> dict[str, Standing]: ...
    def let_go(self, copy: str) -> dict[str, str]: ...
    def places_on_disk(self) -> Mapping[str, Path]: ...
    def disk_space(self, directory: Path) -> Space: ...
    def check_keys(self, copies: Sequence[str], *, every_file: bool = False) -> KeyCheck: ...
    def reports(self, *, days: float = 90) -> tuple[IntegrityReport, ...]: ...


class Watch:
    """One look. Raises nothing of ours: what cannot be seen is Unknown, and judged as that."""

    def __init__(self, here: Surroundings) -> None:
        self._here = here
        self._limits = here.settings.objectives
        self._thresholds = here.settings.thresholds
        self._now = here.clock.now()

    def judge(self, name: str) -> Watched:
        """One check of domain/watch_checks.py; KeyError for any other name."""
        return self._judges[name]()

    @property
    def _judges(self) -> Mapping[str, Callable[[], Watched]]:
        return {
            "newest_backup_is_young": lambda: judge_backup_age(
                self._backups, self._now, self._limits.backup_age_seconds, self._cluster
            ),
            "newest_increment_is_young": lambda: judge_increment_age(
                self._backups["primary"],
                self._now,
                self._thresholds.increment_age_seconds,
                wanted=self._here.settings.incremental_schedule is not None,
            ),
            "newest_dump_is_young": self._dump_age,
            "backup_size_is_plausible": lambda: judge_backup_size(
                self._backups["primary"], self._thresholds.backup_size_percent, self._dumps
            ),
            "backups_are_quick": lambda: judge_backup_duration(
                self._backups["primary"], self._now, self._thresholds.backup_seconds, self._dumps
            ),
            "rpo_holds": lambda: judge_rpo(self._status, self._limits),
            "newest_proof_is_young": lambda: judge_proof_age(self._status, self._limits),
            "clocks_agree": lambda: judge_clocks(self._status, self._facts),
            "wal_leaves_the_server": lambda: judge_waiting(
                self._facts, self._archiver, self._thresholds.waiting_segments
            ),
            "archiver_succeeds": lambda: judge_archiver(self._facts, self._archiver),
            "archived_wal_has_arrived": lambda: judge_arrival(
                self._facts, self._archiver, self._arrived
            ),
            "slot_keeps_up": lambda: judge_stream(self._facts, self._archiver),
            "repositories_answer": lambda: judge_answers(
                {copy: answer for copy, (answer, _) in self._answers.items()}
            ),
            "copies_follow": lambda: judge_lag(self._lags, self._thresholds.copy_lag_seconds),
            "disks_have_room": lambda: judge_disks(
                self._disks,
                self._here.settings.space_warning_percent,
                self._thresholds.space_critical_percent,
            ),
            "keys_open": self._keys,
            "coverage_is_whole": self._coverage,
        }

    @cached_property
    def _facts(self) -> SourceFacts | Unknown:
        return _seen(self._here.source.facts)

    @property
    def _cluster(self) -> int | None:
        """The source's; None while it does not answer."""
        facts = self._facts
        return None if isinstance(facts, Unknown) else facts.system_identifier

    @cached_property
    def _archiver(self) -> ArchiverStatus | Unknown:
        # A server that has just not answered is not waited for again.
        facts = self._facts
        return facts if isinstance(facts, Unknown) else _seen(self._here.source.archiver)

    @cached_property
    def _answers(self) -> Mapping[str, tuple[Probed | Unknown, datetime | None]]:
        """Each copy's answer, and when it was made; all at once: one that is away takes long."""
        copies = self._here.copies
        answers = run_parallel(copies, self._here.answer, at_once=len(copies))
        return dict(zip(copies, answers, strict=True))

    def _at(self, copy: str) -> Repository:
        _ = self._answers
        return self._here.answered(copy)

    @cached_property
    def _status(self) -> Status | Unknown:
        # Only those that answered are asked again.
        _ = self._archiver, self._answers
        return _seen(lambda: self._here.status_with(self._facts))

    @property
    def _copy_status(self) -> Mapping[str, CopyStatus]:
        status = self._status
        return {} if isinstance(status, Unknown) else {each.copy: each for each in status.copies}

    @cached_property
    def _names(self) -> Mapping[str, Names | Unknown]:
        return {copy: self._list(copy) for copy in self._here.copies}

    def _list(self, copy: str) -> Names | Unknown:
        return _seen(lambda: list_names(self._at(copy)))

    @cached_property
    def _backups(self) -> Mapping[str, SeenBackups | Unknown]:
        return {
            copy: names if isinstance(names, Unknown) else self._look_at(copy, names)
            for copy, names in self._names.items()
        }

    def _look_at(self, copy: str, names: Names) -> SeenBackups | Unknown:
        seen = self._copy_status.get(copy)
        if seen is None or seen.problem:
            # Of none of them it can be told whether anything speaks against it.
            why = "it was not looked at" if seen is None else seen.problem
            status = self._status
            if isinstance(status, Unknown):
                why = status.why
            return Unknown(why, "" if seen is None else seen.hint)
        known: Mapping[str, BackupStatus] = {each.id: each for each in seen.backups}
        return _seen(
            lambda: look_at_backups(
                self._at(copy),
                names,
                known,
                partial(self._speaks_against, copy),
                self._here.known_manifests,
                service=self._here.settings.service,
                history=copy == "primary",
            )
        )

    def _speaks_against(self, copy: str, stored: StoredManifest) -> bool:
        return self._here.standings(stored, [copy])[copy] is Standing.FAILED

    @cached_property
    def _dumps(self) -> Series | Unknown:
        names = self._names["primary"]
        if isinstance(names, Unknown):
            return names
        return _seen(
            lambda: look_at_dumps(
                self._at("primary"),
                names[BackupKind.DUMP],
                partial(self._speaks_against, "primary"),
                self._here.known_manifests,
                service=self._here.settings.service,
            )
        )

    def _dump_age(self) -> Watched:
        wanted = self._here.settings.dump_schedule is not None
        return judge_dump_age(
            self._dumps if wanted else Unknown("it was not looked at"),
            self._now,
            self._thresholds.dump_age_seconds,
            wanted=wanted,
            made_at=self._answers["primary"][1] if wanted else None,
        )

    @cached_property
    def _arrived(self) -> ArrivedWal | Unknown:
        facts, archiver, backups = self._facts, self._archiver, self._backups["primary"]
        for each in (facts, archiver, backups):
            if isinstance(each, Unknown):
                return each
        assert not isinstance(facts, Unknown)
        assert not isinstance(archiver, Unknown)
        assert not isinstance(backups, Unknown)
        newest = backups.newest_full_of(facts.system_identifier)
        since = None if newest is None else newest.starts_in
        return _seen(
            lambda: find_arrived(self._at("primary"), self._here.codec, facts, archiver, since)
        )

    @cached_property
    def _lags(self) -> Mapping[str, Lag | Unknown]:
        return {copy: self._lag(copy) for copy in self._here.copies if copy != "primary"}

    def _lag(self, copy: str) -> Lag | Unknown:
        names: dict[str, Names] = {}
        for each in ("primary", copy):
            found = self._names[each]
            if isinstance(found, Unknown):
                return found
            names[each] = found
        made_at = self._answers[copy][1]
        if made_at is None:
            return Unknown(f"when {copy} was made cannot be told")
        if (made_at - self._now).total_seconds() > CLOCK_SLACK_SECONDS:
            # By a clock that ran ahead: it would excuse all that is not there for as long.
            made_at = datetime.min.replace(tzinfo=UTC)
        return _seen(
            lambda: measure_lag(
                self._at("primary"),
                self._at(copy),
                names,
                self._copy_status,
                self._here.let_go,
                self._here.known_manifests,
                self._now,
                service=self._here.settings.service,
                made_at=made_at,
            )
        )

    @property
    def _disks(self) -> Mapping[str, tuple[str, Space | Unknown]]:
        found: dict[str, tuple[str, Space | Unknown]] = {
            what: (str(path), self._room(path))
            for what, path in self._here.places_on_disk().items()
        }
        for copy in self._here.copies:
            location = self._here.settings.location(copy)
            space = self._room_of(copy)
            if isinstance(location, DirectoryLocation) and space is not None:
                found[copy] = (str(location.path), space)
        return found

    def _room(self, path: Path) -> Space | Unknown:
        return _seen(lambda: self._here.disk_space(path))

    def _room_of(self, copy: str) -> Space | Unknown | None:
        return _seen(lambda: self._at(copy).space())

    def _keys(self) -> Watched:
        codec = _seen(lambda: self._here.codec)
        if isinstance(codec, Unknown):
            return judge_keys(dict.fromkeys(self._here.copies, codec), identities=1)
        if not codec.identities:
            return judge_keys({}, identities=0)
        _ = self._answers
        return judge_keys(
            {copy: self._opened_keys(copy) for copy in self._here.copies},
            identities=len(codec.identities),
        )

    def _opened_keys(self, copy: str) -> OpenedKeys | Unknown:
        check = _seen(lambda: self._here.check_keys([copy]))
        if isinstance(check, Unknown):
            return check
        named = tuple(f"{each.subject} ({each.problem or each.key})" for each in check.bad)
        return OpenedKeys(check.objects, check.closed, named)

    def _coverage(self) -> Watched:
        return judge_coverage(
            self._status,
            _seen(self._newest_report),
            self._limits.proof_age_seconds,
            copies_percent=self._thresholds.coverage_copies_percent,
            backups_percent=self._thresholds.coverage_percent,
        )

    def _newest_report(self) -> IntegrityReport:
        reports = self._here.reports(days=RECENT_DAYS)
        if not reports:
            raise UnreadableRecord(
                f"read the newest integrity report: none of the last {RECENT_DAYS:g} days",
                hint="`kb-dr report` makes one.",
            )
        return reports[-1]


def _seen(look: Callable[[], T]) -> T | Unknown:
    try:
        return look()
    except KbDrError as error:
        return Unknown(str(error), error.hint)
