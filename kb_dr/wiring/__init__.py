"""Settings to adapters: the only room that picks an implementation.

Imports of adapters stand inside the functions, so that the WAL path loads only what it uses.
"""

from kb_dr.wiring.alerting import (
    alert_records,
    catalog,
    channels,
    cloudwatch,
    outbox,
    pinger,
    watch_mark,
)
from kb_dr.wiring.dumps import (
    database_server,
    dump_loader,
    dump_program,
    dump_source,
    load_target,
    scratch_address,
)
from kb_dr.wiring.machine import (
    clock,
    disk_space,
    scratch,
    whole_files,
)
from kb_dr.wiring.postgres import (
    base_backup_program,
    damager,
    heartbeat,
    host,
    inspector,
    service_control,
    service_database,
    source,
    standing_clusters,
    wal_receiver,
)
from kb_dr.wiring.repositories import (
    bucket,
    codec,
    hasty_repository,
    make_place,
    overlay,
    repository,
    stranger,
)

__all__ = [
    "alert_records",
    "base_backup_program",
    "bucket",
    "catalog",
    "channels",
    "clock",
    "cloudwatch",
    "codec",
    "damager",
    "database_server",
    "disk_space",
    "dump_loader",
    "dump_program",
    "dump_source",
    "hasty_repository",
    "heartbeat",
    "host",
    "inspector",
    "load_target",
    "make_place",
    "outbox",
    "overlay",
    "pinger",
    "repository",
    "scratch",
    "scratch_address",
    "service_control",
    "service_database",
    "source",
    "standing_clusters",
    "stranger",
    "wal_receiver",
    "watch_mark",
    "whole_files",
]
