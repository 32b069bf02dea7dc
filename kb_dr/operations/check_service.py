"""Look whether the server the service talks to is the restored one, and whole."""

from kb_dr.domain.manifest import Manifest
from kb_dr.domain.recovery import ControlFile
from kb_dr.domain.replacement import ServiceLook
from kb_dr.errors import KbDrError, PostgresError, ServiceUnhealthy, WrongCluster
from kb_dr.operations.plan_replacement import is_server_of
from kb_dr.operations.restore_postgres import RestorePlan
from kb_dr.ports import Clock, PostgresHost, ServiceDatabase

_LOOK_SECONDS = 0.2


def wait_for_server(
    database: ServiceDatabase,
    host: PostgresHost,
    clock: Clock,
    plan: RestorePlan,
    restored: ControlFile,
    *,
    seconds: float,
) -> ServiceLook:
    """Wait until the restored server answers its clients, open for writing.

    ``restored`` is its pg_control as it was shut down after recovery. Raises ServiceUnhealthy when
    it is not there within ``seconds``, also when another one answers in its place.
    """
    deadline = clock.monotonic() + seconds
    while True:
        failure: KbDrError
        try:
            look = database.look()
            if (look.system_identifier, look.timeline) != (
                restored.system_identifier,
                restored.timeline,
            ):
                raise WrongCluster(
                    f"check the server: cluster {look.system_identifier} on timeline "
                    f"{look.timeline} answers, expected {restored.system_identifier} on timeline "
                    f"{restored.timeline}"
                )
            if is_server_of(look, host, plan.recovery, plan.target):
                return look
            failure = WrongCluster(
                f"check the server: the one that answers is not that of {plan.target}"
            )
        except PostgresError as error:
            failure = error
        if clock.monotonic() > deadline:
            raise ServiceUnhealthy(
                f"check the server: not there within {seconds:g} s: {failure}",
                hint="Roles, passwords and pg_hba.conf are those of the recovered moment and of "
                "this host: can the settings' user still log in?",
            ) from failure
        clock.sleep(_LOOK_SECONDS)


def check_schema(look: ServiceLook, manifest: Manifest) -> tuple[str, ...]:
    """Hold tables and schema version against the backup's; notes on what differs.

    Migrations between the backup and the recovered moment may change both, so a difference is an
    error only where nothing explains it: the schema version is the backup's and a table is
    missing, there is no schema version any more, or not one table is there. Raises
    ServiceUnhealthy.
    """
    expected = manifest.source.schema_version
    recorded = [each.table for each in manifest.fingerprint.tables]
    missing = [table for table in recorded if table not in look.tables]
    if recorded and len(missing) == len(recorded):
        raise ServiceUnhealthy(
            f"check the schema: none of {len(recorded)} tables of {manifest.id} is there",
            hint="Is KB_DB_NAME the database the backup was taken with?",
        )
    if expected is not None and look.schema_version is None:
        raise ServiceUnhealthy(
            f"check the schema: no schema version, expected {expected} or a later one"
        )
    if expected is not None and look.schema_version == expected and missing:
        raise ServiceUnhealthy(
            f"check the schema: {', '.join(missing[:5])} missing, with schema version {expected} "
            "as in the backup"
        )
    notes = []
    if look.schema_version != expected:
        notes.append(f"schema version {look.schema_version}, {expected} when the backup was taken")
    if missing:
        notes.append(f"not there, as in the backup: {', '.join(missing[:5])}")
    return tuple(notes)
