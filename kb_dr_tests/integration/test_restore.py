"""A lost cluster comes back from its repository alone, with the rows that were archived."""

from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.domain.recovery import Replay
from kb_dr.errors import ChecksumMismatch
from kb_dr.operations.phases import Phases
from kb_dr.operations.plan_recovery import plan_recovery
from kb_dr.operations.plan_target import Wanted, plan_target
from kb_dr.operations.recover import recovered
from kb_dr.operations.restore_files import restore_files
from kb_dr.operations.restore_postgres import plan_restore, restore_postgres
from kb_dr.ports import RestoredServer
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.protected_cluster import AFTER_THE_BACKUP, ENTRIES, LostCluster

_CLOCK = SystemClock()
_BEFORE = "in the base backup"


def _rows(server: RestoredServer, statement: str) -> list[object]:
    with psycopg.connect(server.conninfo(), autocommit=True) as connection:
        return [row[0] for row in connection.execute(statement.encode())]


def test_a_restore_brings_back_every_archived_row_and_no_other(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost, target = lost_cluster, tmp_path / "restored" / "data"
    planned = plan_target(lost.repository, lost.codec, _CLOCK, Wanted())
    plan = plan_restore(planned, lost.host, target)

    restored = restore_postgres(
        plan,
        lost.repository,
        lost.codec,
        lost.host,
        lost.scratch(tmp_path),
        _CLOCK,
        SilentProgress(),
    )

    assert restored.reach.complete
    assert restored.reach.reached_lsn == plan.recovery.expected_end
    assert [path.name for path in target.parent.iterdir()] == ["data"], "nothing is left beside"
    assert "archive_mode = 'off'" in (target / "postgresql.auto.conf").read_text()
    with RunningCluster(lost.programs, target.parent) as cluster:
        ledger = cluster.query("select entry from ledger")
        assert {row[0] for row in ledger} == {_BEFORE, *AFTER_THE_BACKUP}
        assert cluster.value("select count(*) from knowledge_entries") == ENTRIES
        assert cluster.value("show archive_mode") == "off", "it must not write into the archive"
        assert cluster.value("show cluster_name") == "production", "its own settings stand again"
        assert not cluster.value("select pg_is_in_recovery()")
        assert cluster.system_identifier == lost.stored.manifest.source.system_identifier


def test_replay_pauses_at_the_restore_point_and_then_goes_on_to_the_end(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost = lost_cluster
    plan = plan_recovery(lost.repository, lost.codec, lost.stored, _CLOCK)
    phases = Phases(_CLOCK)
    at_the_point: list[object] = []

    def look(server: RestoredServer, replay: Replay) -> None:
        assert replay.paused
        assert replay.lsn is not None
        assert replay.lsn >= lost.stored.manifest.fingerprint.lsn
        at_the_point.extend(_rows(server, "select entry from ledger"))

    with lost.scratch(tmp_path).area("proof") as area:
        restore_files(
            lost.repository,
            lost.codec,
            lost.host,
            [lost.stored.manifest],
            area,
            phases,
            SilentProgress(),
        )
        with recovered(
            plan, lost.repository, lost.codec, lost.host, area, phases, at_restore_point=look
        ) as opened:
            at_the_end = _rows(opened.server, "select entry from ledger")
            settings = {
                name: _rows(opened.server, f"show {name}")[0]
                for name in (
                    "archive_mode",
                    "cluster_name",
                    "listen_addresses",
                    "max_logical_replication_workers",
                )
            }
            reach = opened.reach
        root, sockets = area.root, area.sockets

    assert at_the_point == [_BEFORE]
    assert set(at_the_end) == {_BEFORE, *AFTER_THE_BACKUP}
    assert settings == {
        "archive_mode": "off",
        "cluster_name": "kb_dr",
        "listen_addresses": "",
        "max_logical_replication_workers": "0",
    }
    assert reach.complete
    assert reach.reached_lsn == plan.expected_end
    assert reach.newest_commit == plan.newest_commit is not None
    assert {"fetch and unpack", "verify files", "replay"} <= {each.name for each in phases.done}
    assert not root.exists()
    assert not sockets.exists()


def test_a_restored_file_that_changed_on_its_way_to_disk_is_found(
    lost_cluster: LostCluster, tmp_path: Path
) -> None:
    lost, source = lost_cluster, lost_cluster.stored.manifest.source
    with lost.scratch(tmp_path).area("proof") as area:
        restore_files(
            lost.repository,
            lost.codec,
            lost.host,
            [lost.stored.manifest],
            area,
            Phases(_CLOCK),
            SilentProgress(),
        )
        table = max((area.data / "base").rglob("*"), key=lambda path: path.stat().st_size)
        body = bytearray(table.read_bytes())
        body[len(body) // 2] ^= 0x01
        table.write_bytes(body)

        with pytest.raises(ChecksumMismatch, match=table.name):
            lost.host.verify_files(area.data, source)
