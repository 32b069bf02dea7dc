"""Work out how a cluster is replaced in place, and refuse what must not be done."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kb_dr.domain.recovery import RecoveryPlan
from kb_dr.domain.recovery_target import Latest
from kb_dr.domain.replacement import Places, ServerState, ServiceLook, StandingCluster
from kb_dr.domain.service_commands import Command, ServiceCommands
from kb_dr.errors import (
    ConfigurationError,
    DataDirectoryInUse,
    PostgresError,
    RecoveryError,
    TargetIsProduction,
    WrongCluster,
)
from kb_dr.operations.check_target import check_space, identifier_in, refuse_inside_a_cluster
from kb_dr.operations.plan_target import Planned
from kb_dr.operations.restore_postgres import RestorePlan
from kb_dr.ports import Clock, PostgresHost, ServiceControl, ServiceDatabase, StandingClusters


@dataclass(frozen=True, slots=True)
class ReplacePlan:
    """Everything a replacement is going to do; nothing has been changed yet."""

    restore: RestorePlan
    service: str
    standing: StandingCluster
    places: Places
    commands: ServiceCommands
    answered: bool
    """The server that is replaced answers us."""
    ends_sessions: bool
    notes: tuple[str, ...]

    @property
    def was_running(self) -> bool:
        """A server runs on the directory."""
        return not self.standing.is_stopped

    @property
    def steps(self) -> tuple[tuple[str, str], ...]:
        """Each step in order, and what is run for it."""
        return tuple(_steps(self))


def plan_replacement(
    planned: Planned,
    host: PostgresHost,
    clusters: StandingClusters,
    control: ServiceControl,
    database: ServiceDatabase,
    clock: Clock,
    target: Path,
    *,
    service: str,
    production: Path | None = None,
) -> ReplacePlan:
    """Look at what stands in ``target``, and refuse what must not be replaced.

    Raises RecoveryError (no cluster, a link, a mount point, closed to us, a standby),
    WrongCluster (of another service, or not the server the settings name), DataDirectoryInUse (a
    server that nothing here can stop, or that may run unseen), and what PostgresHost.check()
    and check_space() raise.
    """
    target, recovery = target.absolute(), planned.recovery
    source = recovery.stored.manifest.source
    _check_cluster(target, recovery)
    clusters.check_replaceable(target)
    standing = clusters.look_at(target)
    if standing.is_standby:
        raise RecoveryError(
            f"replace {target}: it is a standby",
            hint="Replace its primary; then make the standby anew from that.",
        )
    look, unanswered = _ask(database)
    if look is not None:
        _check_server(look, standing, database, host, recovery, target)
    else:
        _require_no_hidden_server(standing, database, target, unanswered)
    if not standing.is_stopped and not control.commands.drives_server:
        raise DataDirectoryInUse(
            f"replace {target}: its server is {standing.server}",
            hint=f"Stop it; or set {Command.POSTGRES_STOP} and {Command.POSTGRES_START}, and "
            "kb-dr does it.",
        )
    host.check(source, combines=recovery.combines)
    free = check_space(target.parent, recovery.bytes_needed, host)
    plan = RestorePlan(recovery, target, free, production, planned.passed_over)
    ends = look is not None and look.may_end_sessions
    return ReplacePlan(
        plan,
        service,
        standing,
        Places.beside(target, f"{clock.now():%Y%m%d-%H%M%S}"),
        control.commands,
        look is not None,
        ends,
        tuple(_notes(recovery, standing, control.commands, unanswered, ends=ends)),
    )


def require_consent(plan: ReplacePlan, *, force_production: bool, typed: str | None) -> None:
    """Return when production may be replaced.

    Raises TargetIsProduction unless it was forced, ConfigurationError unless the name of the
    service was typed.
    """
    target, service = plan.restore.target, plan.service
    if not force_production:
        where = plan.restore.production
        settings = where is not None and where.resolve() == target.resolve()
        raise TargetIsProduction(
            f"replace {target}: it is production of service {service} (system identifier "
            f"{plan.restore.recovery.system_identifier}"
            f"{', and KB_DR_SOURCE_DATA_DIRECTORY' if settings else ''})",
            hint=f"To replace it: --force-production, and type {service} when asked, or give "
            f"--confirm-service {service} --yes.",
        )
    if typed != service:
        raise ConfigurationError(
            f"replace {target}: the service typed is {typed or 'none'!r}, expected {service!r}",
            hint=f"Nothing was changed. Give --confirm-service {service}, or type it when asked.",
        )


def _check_cluster(target: Path, recovery: RecoveryPlan) -> None:
    try:
        if target.is_symlink():
            raise RecoveryError(
                f"replace {target}: it is a symbolic link", hint="Name the directory itself."
            )
        refuse_inside_a_cluster(target)
        if not (target / "PG_VERSION").is_file():
            raise RecoveryError(
                f"replace {target}: no cluster stands there (no PG_VERSION)",
                hint="Without --replace a restore makes a new directory.",
            )
        found = identifier_in(target)
        major = (target / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise RecoveryError(
            f"replace {target}: {error.strerror}", hint="Run kb-dr as root, or as its owner."
        ) from error
    if found is None:
        raise RecoveryError(
            f"replace {target}: whose it is cannot be told (no global/pg_control)",
            hint="Look at it, rename it yourself, then restore into a new directory.",
        )
    expected = recovery.system_identifier
    if found != expected:
        raise WrongCluster(
            f"replace {target}: it holds cluster {found}, expected {expected}, which the backup "
            "is of",
            hint="Another cluster is never replaced, whatever is forced.",
        )
    source = recovery.stored.manifest.source
    if major != str(source.major):
        raise WrongCluster(
            f"replace {target}: it is of PostgreSQL {major}, expected {source.major}",
            hint="Restore into a new directory, and start it with programs of its version.",
        )


def _ask(database: ServiceDatabase) -> tuple[ServiceLook | None, str]:
    try:
        return database.look(), ""
    except PostgresError as error:
        return None, str(error)


def _check_server(
    look: ServiceLook,
    standing: StandingCluster,
    database: ServiceDatabase,
    host: PostgresHost,
    recovery: RecoveryPlan,
    target: Path,
) -> None:
    """What answers the settings' address must be the server of this very directory: it is its
    sessions that are ended, and it is asked whether the restored one is well.
    """
    if not standing.is_stopped:
        for asked in (look, None):
            # A checkpoint may have come in between: then they agree at the second look.
            seen = asked or _ask(database)[0]
            if seen is not None and is_server_of(seen, host, recovery, target):
                return
    raise WrongCluster(
        f"replace {target}: the server that answers at KB_DB_HOST and KB_DB_PORT is cluster "
        f"{look.system_identifier}{' in recovery' if look.in_recovery else ''}, and not that of "
        "this directory",
        hint="Let KB_DB_HOST and KB_DB_PORT name the server that is to be replaced.",
    )


def _require_no_hidden_server(
    standing: StandingCluster, database: ServiceDatabase, target: Path, unanswered: str
) -> None:
    """Without an answer only what is seen on this machine counts; but a server in a container of
    its own is not seen, and one that refuses us is there all the same.
    """
    if standing.server is ServerState.STALE:
        raise DataDirectoryInUse(
            f"replace {target}: its server is {standing.server}",
            hint="Stop it where it runs. If you are sure that it died, remove "
            f"{target / 'postmaster.pid'} first.",
        )
    if standing.is_stopped and database.answers():
        raise DataDirectoryInUse(
            f"replace {target}: a server answers at KB_DB_HOST, and refuses us: {unanswered}",
            hint="It may be the one of this directory, in a container of its own. Stop it, or let "
            "the settings' user log in.",
        )


def is_server_of(
    look: ServiceLook, host: PostgresHost, recovery: RecoveryPlan, target: Path
) -> bool:
    """Whether a server that answered is the one of a directory: both know the same checkpoint."""
    control = host.control(target, recovery.stored.manifest.source)
    return (
        look.system_identifier == control.system_identifier
        and look.checkpoint == control.checkpoint
        and not look.in_recovery
    )


def _notes(
    recovery: RecoveryPlan,
    standing: StandingCluster,
    commands: ServiceCommands,
    unanswered: str,
    *,
    ends: bool,
) -> Iterator[str]:
    if recovery.target == Latest():
        yield (
            "what is committed from now on, until the server is stopped, is only in the directory "
            "kept aside"
        )
    if unanswered:
        yield (
            f"the server does not answer our question, so no sessions are ended: {unanswered}; "
            "the restored one must answer the same question"
        )
    elif not ends:
        yield "the role may not end sessions (pg_signal_backend); the server's stop ends them"
    if standing.tablespaces:
        yield (
            f"tablespaces {', '.join(standing.tablespaces)} stay with the old directory; never "
            "start it under the name it is kept by"
        )
    if standing.linked_wal:
        yield "pg_wal is a link: it stays with the old directory, the restored one has its own"
    if commands.app_stop is None:
        yield f"the application is not stopped by kb-dr: {Command.APP_STOP} is not set"
    if not commands.drives_server:
        yield (
            f"the server is left stopped, and nothing is checked after the swap: "
            f"{Command.POSTGRES_START} is not set"
        )
    elif not commands.checks_health:
        yield f"whether the service is well is not asked: {Command.HEALTH} is not set"


def _steps(plan: ReplacePlan) -> Iterator[tuple[str, str]]:
    commands, places = plan.commands, plan.places

    def line(command: Command) -> str:
        return commands.told(command) if commands.line(command) else ""

    if commands.app_stop is not None:
        yield "stop the application", line(Command.APP_STOP)
    if plan.ends_sessions:
        yield "end sessions", "pg_terminate_backend()"
    if commands.drives_server:
        yield "stop the server", line(Command.POSTGRES_STOP)
    yield "restore beside", f"{places.restored}"
    yield "swap the directories", f"the old one becomes {places.aside}"
    if commands.drives_server:
        yield "start the server", line(Command.POSTGRES_START)
        yield "check the server", "answers, system identifier, timeline, tables"
        if commands.migrations_check is not None:
            yield "check migrations", line(Command.MIGRATIONS_CHECK)
        if commands.app_start is not None:
            yield "start the application", line(Command.APP_START)
        if commands.checks_health:
            # The query of the address may hold a token.
            url = (commands.health_url or "").split("?")[0]
            yield "check the service", " and ".join(filter(None, (line(Command.HEALTH), url)))
