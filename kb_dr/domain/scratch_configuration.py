"""How a restored cluster is configured while it recovers: alone, quiet, and harmless.

Sources: PostgreSQL docs, "Hot Standby" (Administrator's Overview), "Recovery Target".
"""

from kb_dr.domain.manifest import Source
from kb_dr.domain.recovery import RecoveryPlan
from kb_dr.domain.recovery_target import Latest, recovery_target_settings

_AT_LEAST_THE_SOURCES = {
    "max_connections": 20,
    "max_worker_processes": 8,
    "max_wal_senders": 0,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
}
"""Hot standby refuses to start, or pauses, with less than the primary had."""

_NEEDED_PRELOADS = ("timescaledb", "citus")
"""Libraries without which tables cannot be read. All others are left out: what they start
(schedulers, workers that send) must not run in a copy of production."""

_COMMON = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "ssl": "off",
    "archive_mode": "off",
    "wal_level": "replica",
    "hot_standby": "on",
    "autovacuum": "off",
    "max_logical_replication_workers": "0",
    "session_preload_libraries": "",
    "local_preload_libraries": "",
    "jit": "off",
    "huge_pages": "off",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
    "restart_after_crash": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_line_prefix": "%m [%p] ",
    "log_timezone": "UTC",
    "lc_messages": "C",
    "cluster_name": "kb_dr",
}

_HARMLESS_PRELOADS = (*_NEEDED_PRELOADS, "pgaudit", "pg_stat_statements")
"""Libraries that start nothing, and without which their extensions cannot be created or asked."""

_FOR_LOADING = {
    # Nothing is archived or streamed from it: rows of a table made in the same transaction need
    # no WAL then.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "hot_standby": "off",
    "maintenance_work_mem": "128MB",
    # Workers share memory in /dev/shm, which in a container may be 64 MiB: that an index could not
    # be built there would say nothing of a dump.
    "max_parallel_maintenance_workers": "0",
    "max_parallel_workers_per_gather": "0",
}

_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
"""For clusters that are thrown away."""


def scratch_settings(source: Source, *, durable: bool) -> dict[str, str]:
    """Settings of a restored server; ``durable`` when its files are going to be kept."""
    settings = dict(_COMMON)
    for name, least in _AT_LEAST_THE_SOURCES.items():
        given = source.settings.get(name, "")
        settings[name] = str(max(least, int(given) if given.isdecimal() else 0))
    preloads = [each for each in _preloads(source) if each in _NEEDED_PRELOADS]
    settings["shared_preload_libraries"] = ",".join(preloads)
    return settings if durable else {**settings, **_NOT_DURABLE}


def loading_settings(source: Source) -> dict[str, str]:
    """Settings of a new scratch server that a dump of ``source`` is loaded into."""
    preloads = [
        each
        for each in _preloads(source)
        # A library of an extension that the database does not have may not be on this host.
        if each in _HARMLESS_PRELOADS and each in source.extensions
    ]
    return {
        **scratch_settings(source, durable=False),
        **_FOR_LOADING,
        "shared_preload_libraries": ",".join(preloads),
    }


def _preloads(source: Source) -> list[str]:
    given = source.settings.get("shared_preload_libraries", "").split(",")
    return [part.strip().strip('"').removeprefix("$libdir/") for part in given]


def recovery_settings(
    plan: RecoveryPlan, restore_command: str, *, pause_at: str | None
) -> dict[str, str]:
    """Settings of a server that recovers: to where the plan says, or paused at a point before.

    Without a target PostgreSQL replays all WAL there is. The timeline is named, so that what
    the plan says and what PostgreSQL follows cannot be two things.
    """
    settings = {
        "restore_command": restore_command,
        "recovery_target_timeline": str(plan.timeline),
        "primary_conninfo": "",
    }
    if pause_at is not None:
        settings["recovery_target_name"] = pause_at
        settings["recovery_target_action"] = "pause"
    elif not isinstance(plan.target, Latest):
        settings |= recovery_target_settings(plan.target)
    return settings
