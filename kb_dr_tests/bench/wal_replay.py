"""A recovery over the burst, through a restore_command; and the same inside `kb-dr restore`."""

import time
from collections.abc import Mapping
from pathlib import Path

import psycopg

from kb_dr_tests.bench.descendants import Took, watching_descendants
from kb_dr_tests.bench.wal_burst import DEADLINE_SECONDS, LOOK_SECONDS, Burst, copy_of
from kb_dr_tests.postgres_servers import RunningCluster

DURABLE = {"fsync": "on", "archive_mode": "off", "hot_standby": "on"}


class NotReplayed(Exception):
    """A recovery ended before the end of the burst, or not at all."""


def replay(
    burst: Burst, place: Path, restore_command: str, settings: Mapping[str, str]
) -> tuple[float, Took]:
    """From the start of PostgreSQL on a copy of the base until it is out of recovery.

    It follows the latest timeline, as PostgreSQL does unasked. NotReplayed when it opened before
    the last segment was replayed.
    """
    data = place / "data"
    copy_of(burst.base, data)
    cluster = RunningCluster(
        burst.site.cluster.programs,
        place,
        settings={
            **settings,
            **DURABLE,
            "restore_command": restore_command,
            "recovery_target_timeline": "latest",
        },
    )
    cluster.environment |= burst.site.cluster.environment
    with watching_descendants() as took:
        began = time.perf_counter()
        with cluster:
            _await_open(cluster)
            seconds = time.perf_counter() - began
            _check_end(cluster, burst)
    return seconds, took


def _await_open(cluster: RunningCluster) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    # One connection for all looks: each new one would cost a process.
    with psycopg.connect(cluster.conninfo(), autocommit=True) as connection:
        while connection.execute("select pg_is_in_recovery()").fetchone() != (False,):
            if time.monotonic() > deadline:
                raise NotReplayed(f"still in recovery after {DEADLINE_SECONDS:.0f} s")
            time.sleep(LOOK_SECONDS)


def _check_end(cluster: RunningCluster, burst: Burst) -> None:
    """The new timeline begins behind the last segment of the burst, or in it."""
    history = next((cluster.data / "pg_wal").glob("0000000?.history"), None)
    reached = "nothing" if history is None else history.read_text().split("\t")[1]
    last = burst.segments[-1]
    start = (int(last[8:16], 16) << 32) + int(last[16:], 16) * burst.segment_bytes
    high, _, low = reached.partition("/")
    if history is None or (int(high, 16) << 32) + int(low, 16) < start:
        raise NotReplayed(f"recovery opened at {reached}, before {last} was replayed")
