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

_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
"""For clusters that are thrown away."""


def scratch_settings(source: Source, *, durable: bool) -> dict[str, str]:
    """Settings of a restored server; ``durable`` when its files are going to be kept."""
    settings = dict(_COMMON)
    for name, least in _AT_LEAST_THE_SOURCES.items():
        given = source.settings.get(name, "")
        settings[name] = str(max(least, int(given) if given.isdecimal() else 0))
    preloads = [
        word
        for part in source.settings.get("shared_preload_libraries", "").split(",")
        if (word := part.strip().strip('"').removeprefix("$libdir/")) in _NEEDED_PRELOADS
    ]
    settings["shared_preload_libraries"] = ",".join(preloads)
    return settings if durable else {**settings, **_NOT_DURABLE}


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
