"""Dumps and local files into databases of running servers."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.errors import ConfigurationError, KbDrError, PostgresError
from kb_dr.installation.recovery import Recovery
from kb_dr.settings import Settings, SourceSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kb_dr.domain.backup_id import BackupId
    from kb_dr.domain.database_url import DatabaseUrl
    from kb_dr.domain.load_plan import LoadPlan, Part, What
    from kb_dr.operations.load_dump import Loaded
    from kb_dr.operations.plan_load import Asked, Known
    from kb_dr.operations.swap_database import RollBackPlan, RolledBack
    from kb_dr.ports import Progress, Repository

_MAINTENANCE = "postgres"


@dataclass(frozen=True, slots=True)
class LoadWords:
    """What is to be loaded, and where to."""

    file: Path | None
    """A local file or directory; None: a dump of the repository."""
    backup: BackupId | None
    """That dump; None: the newest."""
    copy: str | None
    """The copy to read; None: the first that has it."""
    into: str | None
    """The address of a database, as typed; None: beside that under protection."""
    replace: bool = False
    checksum: bool = True
    """Whether a local file must have its checksum file beside it."""


class Loading(Recovery):
    """Plans and carries out restores of dumps; nothing is changed before a plan holds."""

    def plan_load(self, words: LoadWords, part: Part, progress: Progress) -> LoadPlan:
        """What load() would do; refuses what it would refuse, and changes nothing.

        A local file is read whole. Raises what plan_load(), choose_dump() and read_local_dump()
        raise, and PostgresUnavailable when the server does not answer.
        """
        from kb_dr.operations.plan_load import plan_load

        address, asked = self._target(words.into, in_place=words.replace)
        look = wiring.database_server(self.settings, address).look()
        marks = wiring.load_target(address).marks()
        what = self._what(words, address, progress)
        return plan_load(
            what,
            part,
            asked,
            self._known(),
            look,
            marks,
            wiring.disk_space(self.settings.scratch_dir),
        )

    def load(self, plan: LoadPlan, words: LoadWords, progress: Progress) -> Loaded:
        """Carry out a plan: a database beside, or in the place of another one."""
        from kb_dr.domain.load_plan import StoredDump

        if isinstance(plan.what, StoredDump):
            with (
                self._load_told(plan),
                self._patient(self.repository(plan.what.copy)) as repository,
            ):
                return self._load(plan, words, repository, progress)
        with self._load_told(plan):
            return self._load(plan, words, None, progress)

    def plan_roll_back(self, into: str | None) -> RollBackPlan:
        """What roll_back_load() would do to the database at ``into``, or that under protection."""
        from kb_dr.operations.plan_load import is_own_server
        from kb_dr.operations.swap_database import plan_roll_back

        address, asked = self._target(into, in_place=True)
        known = self._known()
        look = wiring.database_server(self.settings, address).look()
        name = asked.name or known.database
        return plan_roll_back(
            name,
            wiring.load_target(address).marks(),
            look,
            server=asked.server,
            stamp=known.stamp,
            production=name == known.database and is_own_server(asked, known, look),
            service=known.service,
        )

    def roll_back_load(self, plan: RollBackPlan, into: str | None) -> RolledBack:
        """Bring the old database back."""
        from kb_dr.operations.swap_database import roll_back

        address, _ = self._target(into, in_place=True)
        return roll_back(
            plan,
            wiring.database_server(self.settings, address),
            wiring.service_control(self.settings),
            self.clock,
        )

    def _load(
        self,
        plan: LoadPlan,
        words: LoadWords,
        repository: Repository | None,
        progress: Progress,
    ) -> Loaded:
        from kb_dr.operations.load_dump import LoadSurroundings, load_dump

        address, _ = self._target(words.into, in_place=words.replace)
        here = LoadSurroundings(
            repository=repository,
            codec=None if repository is None else self.codec,
            server=wiring.database_server(self.settings, address),
            target=wiring.load_target(address),
            loader=wiring.dump_loader(self.settings, address),
            scratch=self.scratch,
            control=wiring.service_control(self.settings),
            clock=self.clock,
            connection={
                "KB_DB_HOST": address.host,
                "KB_DB_PORT": str(address.port),
                "KB_DB_USER": address.user,
            },
        )
        return load_dump(plan, here, progress)

    def _known(self) -> Known:
        from kb_dr.operations.plan_load import Known

        source = self.settings.source
        try:
            own = wiring.database_server(self.settings, source).look().system_identifier
        except PostgresError:
            own = None  # a disaster: told by address, and by what the backup says
        return Known(
            service=self.settings.service,
            database=source.database,
            system_identifier=own,
            expected_schema=self.settings.expected_schema_version,
            migrates=self.settings.service_commands.migrations is not None,
            stamp=f"{self.clock.now():%Y%m%d-%H%M%S}",
        )

    def _what(self, words: LoadWords, address: SourceSettings, progress: Progress) -> What:
        from kb_dr.domain.load_plan import StoredDump
        from kb_dr.operations.choose_dump import choose_dump
        from kb_dr.operations.read_local_dump import read_local_dump

        if words.file is not None:
            loader = wiring.dump_loader(self.settings, address)
            progress.begin(f"read {words.file.name}")
            try:
                return read_local_dump(words.file, loader, progress, checksum=words.checksum)
            finally:
                progress.end()
        failures: list[tuple[str, KbDrError]] = []
        for name in self.copies if words.copy is None else (words.copy,):
            try:
                repository = self.checked(name)
                chosen = choose_dump(repository, service=self.settings.service, wanted=words.backup)
            except KbDrError as error:
                failures.append((name, error))
                continue
            passed = tuple(f"{copy}: {error}" for copy, error in failures)
            return StoredDump(chosen.stored, name, repository.url, (*passed, *chosen.passed_over))
        first = failures[0][1]
        if len(failures) == 1:
            raise first
        others = "; ".join(f"{name}: {error}" for name, error in failures[1:])
        raise type(first)(f"{first}; {others}", hint=first.hint) from first

    def _target(self, into: str | None, *, in_place: bool) -> tuple[SourceSettings, Asked]:
        """How the server is reached, and what is asked of it."""
        from kb_dr.domain.database_url import database_url
        from kb_dr.operations.plan_load import Asked

        source = self.settings.source
        typed = None if into is None else _parsed(into)
        address = source if typed is None else address_of(self.settings, typed)
        name = None if typed is None else typed.database
        place = f"[{address.host}]" if ":" in address.host else address.host
        return replace(address, database=_MAINTENANCE), Asked(
            server=f"{place}:{address.port} as {address.user}",
            url=partial(database_url, address.host, address.port, address.user),
            name=name,
            replace=in_place,
            is_own_server=_is_same_server(address, source),
        )

    @contextmanager
    def _load_told(self, plan: LoadPlan) -> Iterator[None]:
        """CloudWatch is told what it comes to, when that is on."""
        if not self.settings.cloudwatch.on:
            yield
            return

        from kb_dr.domain.cloudwatch_alarms import RESTORE_LOG

        event = {
            "backup_id": plan.named,
            "into": plan.url,
            "database": plan.replaces or plan.made,
            "in_place": plan.replaces is not None,
        }
        try:
            yield
        except BaseException as error:
            self._tell_failure("restore", RESTORE_LOG, event, error)
            raise
        self._tell("restore", RESTORE_LOG, event)


def address_of(settings: Settings, typed: DatabaseUrl) -> SourceSettings:
    """How the server of an address is reached; what it leaves out is as at the service's own.

    The password of the settings goes to the server and the user it is of, and to no other: libpq
    looks for those in its own places. Raises ConfigurationError for plain text to another machine.
    """
    from kb_dr.settings.hosts import is_local

    source = settings.source
    host = typed.host or source.host
    port = typed.port or (source.port if host == source.host else 5432)
    user = typed.user or source.user
    own = (host, port) == (source.host, source.port)
    usual = "prefer" if is_local(host) else "verify-full"
    sslmode = typed.sslmode or (source.sslmode if own else usual)
    if not is_local(host) and sslmode in ("disable", "allow", "prefer"):
        raise ConfigurationError(
            f"restore into {host}: an sslmode that lets it be reached in plain text",
            hint="Leave it out, or give sslmode=verify-full.",
        )
    return SourceSettings(
        host=host,
        port=port,
        database=typed.database,
        user=user,
        password=source.password if own and user == source.user else None,
        sslmode=sslmode,
        data_directory=None,
    )


def _parsed(into: str) -> DatabaseUrl:
    from kb_dr.domain.database_url import FORM, parse_database_url

    try:
        return parse_database_url(into)
    except ValueError as error:
        raise ConfigurationError(
            f"restore --into: {error}, expected {FORM}",
            hint="A password belongs into ~/.pgpass or PGPASSWORD; that of KB_DB_PASSWORD is used "
            "for the service's own server and user.",
        ) from None


def _is_same_server(one: SourceSettings, other: SourceSettings) -> bool:
    """As far as addresses tell; the system identifier says the rest."""
    from kb_dr.settings.hosts import is_local

    if one.port != other.port:
        return False
    return one.host == other.host or (is_local(one.host) and is_local(other.host))
