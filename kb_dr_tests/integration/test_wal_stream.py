"""`kb-dr wal stream` on real servers: what it shipped comes back, whatever is killed or down."""

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.lsn import Lsn
from kb_dr.operations.audit_wal import audit_wal
from kb_dr.operations.stream_spool import StreamSpool
from kb_dr_tests.faults.s3_proxy import Fault, Kind, S3Proxy
from kb_dr_tests.object_stores import RcloneStore
from kb_dr_tests.postgres_servers import RunningCluster, programs_of
from kb_dr_tests.streamed_service import (
    Load,
    StreamedService,
    streamed_cluster,
    wait_until,
)

SEGMENT_BYTES = 16 * 1024 * 1024


@pytest.fixture
def service(postgres_programs: PostgresPrograms, tmp_path: Path) -> Iterator[StreamedService]:
    """PostgreSQL 16."""
    with streamed_cluster(postgres_programs, tmp_path / "source") as cluster:
        yield StreamedService(tmp_path / "service", cluster)


def wait_for_copies(service: StreamedService, lsn: Lsn, *copies: str) -> None:
    """Wait until what was streamed reaches so far in each copy."""

    def wait(copy: str) -> None:
        wait_until(
            lambda: service.upto(copy) >= lsn,
            lambda: f"{copy} is at {service.upto(copy)}, expected {lsn}",
        )

    for copy in copies or ("primary", "offsite"):
        wait(copy)


def position(cluster: RunningCluster) -> Lsn:
    """The end of something that was committed just now, and that something follows."""
    cluster.query("create table if not exists tick (at timestamptz)")
    cluster.query("insert into tick values (now())")
    lsn = Lsn.parse(cluster.value("select pg_current_wal_insert_lsn()"))
    cluster.query("insert into tick values (now())")
    return lsn


def audit(service: StreamedService, copy: str) -> tuple[str, ...]:
    """What is wrong with the WAL of one copy, every file read."""
    found = audit_wal(
        service.place(copy),
        system_identifier=service.system_identifier,
        segment_bytes=SEGMENT_BYTES,
        codec=service.opened().codec,
        deep=True,
    )
    return tuple(f"{each.kind} {each.name}: {each.detail}" for each in found.archive.problems)


def restored_rows(service: StreamedService, copy: str, target: Path) -> list[int]:
    """The numbers in the ledger of a cluster restored to the newest of one copy."""
    service.run("restore", "--latest", "--from", copy, "--into", str(target / "data")).require(0)
    with RunningCluster(service.cluster.programs, target) as cluster:
        return [row[0] for row in cluster.query("select n from ledger order by n")]


@pytest.mark.parametrize("major", [14, 18])
def test_a_killed_production_loses_only_what_was_not_shipped(
    major: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the other region, by a backup and WAL that a stream alone brought there."""
    with streamed_cluster(programs_of(major), tmp_path / "source") as cluster:
        service = StreamedService(tmp_path / "service", cluster)
        with service.streaming(), Load(cluster) as load:
            wait_for_copies(service, position(cluster))
            service.run("backup", "full").require(0)
            service.run("copy").require(0)
            cluster.switch_wal()
            load.wait_for(200)
            cluster.kill()
            killed = time.monotonic()
            last = load.acknowledged[-1]
            # What the server sent before it died is on its way.
            time.sleep(2)
        upto = service.upto("offsite")
        assert upto == service.upto("primary") > 0
        kept = [number for number, lsn, _ in load.acknowledged if lsn <= upto]

        rows = restored_rows(service, "offsite", tmp_path / "restored")
        status = service.run("status", "--json")

    assert len(kept) > 100
    assert set(kept) <= set(rows), "a row that was acknowledged and shipped is missing"
    assert rows == list(range(1, len(rows) + 1)), "commits come back in order, without a hole"
    newest = next(at for number, _, at in load.acknowledged if number == min(rows[-1], last[0]))
    with capsys.disabled():
        print(
            f"\nPostgreSQL {major}: {last[0]} rows acknowledged, {rows[-1]} restored; "
            f"{last[2] - newest:.3f} s of commits lost, killed {killed - last[2]:.3f} s later"
        )
    assert '"what": "commit"' in status.out


def test_a_stream_killed_and_started_again_leaves_no_gap(
    service: StreamedService, tmp_path: Path
) -> None:
    """Killed at any moment: while segments are made, completed, pushed."""
    cluster = service.cluster
    with Load(cluster) as load:
        for _ in range(6):
            with service.streaming() as stream:
                stream.wait_to_say("receiving")
                load.wait_for(20)
                cluster.switch_wal()
                load.wait_for(5)
                assert stream.end(signal.SIGKILL).status == -signal.SIGKILL
            # The kernel ends pg_receivewal with us: the slot is free again.
            cluster.wait_for("select not active from pg_replication_slots")
            cluster.switch_wal()
    with service.streaming():
        wait_for_copies(service, position(cluster))
        service.run("backup", "full").require(0)
        service.run("copy").require(0)
        cluster.query("insert into ledger values (0)")
        wait_for_copies(service, position(cluster))

    segments = service.segments("primary")
    numbers = [int(name[16:], 16) for name in segments]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert len(numbers) >= 12
    assert len(set(segments)) == len(segments), "no segment stands twice"
    assert audit(service, "primary") == audit(service, "offsite") == ()
    rows = restored_rows(service, "offsite", tmp_path / "restored")
    assert rows == [0, *(number for number, _, _ in load.acknowledged)]


def test_a_file_cut_short_by_a_kill_does_not_stop_the_next_stream(
    service: StreamedService,
) -> None:
    """pg_receivewal itself refuses to go on with such a file."""
    with service.streaming() as stream:
        wait_for_copies(service, position(service.cluster))
        stream.end(signal.SIGKILL)
    (partial,) = service.spool.glob("*.partial")
    with partial.open("r+b") as file:
        file.truncate(5 * 8192)

    with service.streaming() as stream:
        wait_for_copies(service, position(service.cluster))
        assert "should be 0 or" not in stream.said


def test_a_region_that_does_not_answer_holds_up_neither_the_other_nor_the_end(
    service: StreamedService, rclone_store: RcloneStore
) -> None:
    cluster = service.cluster
    with S3Proxy(rclone_store.port) as proxy:
        rclone_store.make_bucket("streamed")
        region = {
            "KB_DR_REPOSITORY_URL": "s3://streamed/org",
            "KB_DR_REPOSITORY_ENDPOINT_URL": proxy.endpoint_url,
            "KB_DR_REPOSITORY_ACCESS_KEY_ID": rclone_store.access_key_id,
            "KB_DR_REPOSITORY_SECRET_ACCESS_KEY": rclone_store.secret_access_key,
        }
        service.run("init", **region).require(0)
        with service.streaming(**region) as stream:
            wait_for_copies(service, position(cluster), "offsite")
            wait_until(
                lambda: any(m == "PUT" and ".partial" in p for m, p in proxy.requests),
                lambda: "nothing was put",
            )
            for method in ("GET", "PUT", "HEAD"):
                proxy.inject(Fault(Kind.HANG, method, times=1000))
            for _ in range(2):
                cluster.switch_wal()
                wait_for_copies(service, position(cluster), "offsite")
            ended = stream.end()
    assert ended.status == 130
    assert "complete segments wait" in ended.err


@pytest.mark.parametrize("major", [14, 16])
def test_a_stream_whose_directory_was_lost_goes_on_where_its_slot_stands(
    major: int, tmp_path: Path
) -> None:
    with streamed_cluster(programs_of(major), tmp_path / "source") as cluster:
        service = StreamedService(tmp_path / "service", cluster)
        with service.streaming():
            cluster.switch_wal()
            wait_for_copies(service, position(cluster))
        for _ in range(3):
            cluster.query("insert into tick values (now())")
            cluster.switch_wal()
        shutil.rmtree(service.spool.parent)

        with service.streaming():
            wait_for_copies(service, position(cluster))
    assert len(service.segments("primary")) >= 4
    assert audit(service, "primary") == audit(service, "offsite") == ()


def test_a_copy_brings_what_was_streamed_to_the_primary_alone(service: StreamedService) -> None:
    cluster = service.cluster
    with service.streaming(KB_DR_OFFSITE_URL=""):
        cluster.switch_wal()
        wait_for_copies(service, position(cluster), "primary")
    assert service.upto("offsite") == 0

    service.run("copy", "--wal-only").require(0)

    assert service.upto("offsite") == service.upto("primary") > 0
    assert _objects(service, "offsite") == _objects(service, "primary")


@pytest.mark.parametrize("down", ["primary", "offsite"])
def test_a_copy_that_is_down_holds_up_no_other_and_gets_all_when_it_is_back(
    service: StreamedService, down: str
) -> None:
    cluster = service.cluster
    other = {"primary": "offsite", "offsite": "primary"}[down]
    place, away = service.directory / down, service.directory / "away"
    with service.streaming() as stream:
        wait_for_copies(service, position(cluster))
        before = service.segments(other)
        place.rename(away)
        for _ in range(3):
            wait_for_copies(service, position(cluster), other)
            cluster.switch_wal()
        wait_for_copies(service, position(cluster), other)
        stream.wait_to_say(f"{down} does not take WAL")
        assert len(service.segments(other)) >= len(before) + 3

        away.rename(place)
        wait_for_copies(service, position(cluster))
        stream.wait_to_say(f"{down} is up to date again")
        ended = stream.end()

    assert ended.status == 130
    assert "interrupted" in ended.err
    assert audit(service, "primary") == audit(service, "offsite") == ()
    assert service.segments("primary") == service.segments("offsite")
    # The very same bytes: who holds no identity can tell a copy from a damaged one.
    assert _objects(service, "primary") == _objects(service, "offsite")


def _objects(service: StreamedService, copy: str) -> dict[str, bytes]:
    root = service.directory / copy
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in (root / "wal").rglob("*.zst.age")
        if ".partial/" not in str(path)
    }


def test_nothing_is_removed_here_before_the_primary_has_it(service: StreamedService) -> None:
    cluster = service.cluster
    place, away = service.directory / "primary", service.directory / "away"
    with service.streaming() as stream:
        wait_for_copies(service, position(cluster))
        place.rename(away)
        for _ in range(3):
            cluster.query("insert into tick values (now())")
            cluster.switch_wal()
        wait_for_copies(service, position(cluster), "offsite")
        stream.wait_to_say("primary does not take WAL")
        waiting = [path.name for path in service.spool.iterdir() if len(path.name) == 24]
        assert len(waiting) >= 3
        stream.end(signal.SIGKILL)
    away.rename(place)
    with service.streaming():
        wait_for_copies(service, position(cluster))
        wait_until(
            lambda: not any(len(path.name) == 24 for path in service.spool.iterdir()),
            lambda: "what is archived is not removed",
        )
    assert set(waiting) <= set(service.segments("primary"))
    assert audit(service, "primary") == ()


def test_archive_command_and_stream_run_side_by_side(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with streamed_cluster(postgres_programs, tmp_path / "source", archive_mode="on") as cluster:
        service = StreamedService(tmp_path / "service", cluster)
        cluster.archive_with(" ".join(service.words("wal", "push")) + ' "%p"')
        # A host that streams needs no identity.
        with service.streaming(KB_DR_AGE_IDENTITY_FILE=""):
            for _ in range(3):
                cluster.archive_everything()
            wait_for_copies(service, position(cluster))
            assert cluster.value("select failed_count from pg_stat_archiver") == 0

        service.run("backup", "full").require(0)
        service.run("copy").require(0)
    assert audit(service, "primary") == audit(service, "offsite") == ()


def test_a_server_that_restarts_is_waited_for(service: StreamedService) -> None:
    cluster = service.cluster
    with service.streaming() as stream:
        wait_for_copies(service, position(cluster))
        cluster.kill()
        stream.wait_to_say("pg_receivewal ended")
        cluster.start()
        wait_for_copies(service, position(cluster))
        cluster.switch_wal()
        wait_for_copies(service, position(cluster))
    assert audit(service, "primary") == ()


def test_a_promoted_source_is_followed_onto_its_new_timeline(
    service: StreamedService, tmp_path: Path
) -> None:
    """Also while nothing of that timeline is complete."""
    cluster = service.cluster
    cluster.query("create table ledger (n int primary key)")
    with service.streaming():
        wait_for_copies(service, position(cluster))
        service.run("backup", "full").require(0)
        service.run("copy").require(0)
        cluster.query("insert into ledger values (1)")
        wait_for_copies(service, position(cluster))
        cluster.stop()
        (cluster.data / "standby.signal").touch()
        cluster.start()
        cluster.query("select pg_promote()")
        cluster.wait_for("select not pg_is_in_recovery()")
        cluster.query("insert into ledger values (2)")
        wait_for_copies(service, position(cluster))

    names = service.segments("offsite")
    assert not any(name.startswith("00000002") for name in names)
    status = service.run("status", "--json")
    assert '"timeline": 2' in status.out
    assert restored_rows(service, "offsite", tmp_path / "restored") == [1, 2]
    with service.streaming():
        cluster.switch_wal()
        cluster.query("insert into ledger values (3)")
        wait_for_copies(service, position(cluster))
    assert any(name.startswith("00000002") for name in service.segments("offsite"))
    assert audit(service, "primary") == audit(service, "offsite") == ()
    assert restored_rows(service, "primary", tmp_path / "again") == [1, 2, 3]


@pytest.mark.parametrize("major", [14, 18])
def test_a_recovery_by_fetch_alone_comes_to_what_was_streamed(major: int, tmp_path: Path) -> None:
    """The operator's way, without a plan: PostgreSQL asks for the segment, and is given it."""
    with streamed_cluster(programs_of(major), tmp_path / "source") as cluster:
        service = StreamedService(tmp_path / "service", cluster)
        cluster.query("create table ledger (n int primary key)")
        base = tmp_path / "restored" / "data"
        with service.streaming():
            wait_for_copies(service, position(cluster))
            cluster.programs.run(
                "pg_basebackup",
                *("-D", base, "-X", "none", "-c", "fast", "--no-sync", "-d", cluster.conninfo()),
            )
            cluster.query("insert into ledger select generate_series(1, 1000)")
            cluster.switch_wal()
            cluster.query("insert into ledger select generate_series(1001, 2000)")
            wait_for_copies(service, position(cluster))
        cluster.lose()

    command = service.run("wal", "restore-command", "--from", "offsite").require(0).out.strip()
    (base / "recovery.signal").touch()
    recovery = {"archive_mode": "off", "restore_command": command, "hot_standby": "off"}
    with RunningCluster(cluster.programs, base.parent, settings=recovery) as restored:
        restored.wait_for("select not pg_is_in_recovery()")
        assert restored.value("select count(*) from ledger") == 2000
        assert restored.value("select count(*) from tick") > 0


def test_a_slot_that_somebody_drops_is_said_and_made_anew(service: StreamedService) -> None:
    cluster = service.cluster
    with service.streaming() as stream:
        wait_for_copies(service, position(cluster))
        # A slot in use cannot be dropped: its sender is ended over and over until it can.
        wait_until(lambda: _dropped(cluster), lambda: "the slot cannot be dropped")
        ended = stream.wait().require(20, "kb_dr was dropped", "hint: ")
        assert "Traceback" not in ended.err

    with service.streaming() as stream:
        wait_for_copies(service, position(cluster))
        stream.wait_to_say("slot kb_dr is gone")
    assert audit(service, "primary") == ()


def _dropped(cluster: RunningCluster) -> bool:
    cluster.query(
        "do $$ begin"
        " perform pg_terminate_backend(active_pid) from pg_replication_slots where active;"
        " for i in 1..50 loop"
        "  exit when not exists (select from pg_replication_slots where active);"
        "  perform pg_sleep(0.01);"
        " end loop;"
        " perform pg_drop_replication_slot(slot_name) from pg_replication_slots where not active;"
        " exception when object_in_use then null;"
        " end $$"
    )
    return not cluster.query("select from pg_replication_slots")


def test_wal_the_server_has_removed_is_a_gap_until_it_is_accepted(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with streamed_cluster(postgres_programs, tmp_path / "source", wal_keep_size="0") as cluster:
        service = StreamedService(tmp_path / "service", cluster)
        with service.streaming():
            cluster.switch_wal()
            wait_for_copies(service, position(cluster))
        cluster.query("select pg_drop_replication_slot('kb_dr')")
        for _ in range(6):
            cluster.query("insert into tick values (now())")
            cluster.switch_wal()
            cluster.query("checkpoint")

        with service.streaming() as stream:
            stream.wait().require(24, "already been removed", "--accept-gap", "full backup")

        with service.streaming("--accept-gap") as stream:
            wait_for_copies(service, position(cluster))
            cluster.switch_wal()
            wait_for_copies(service, position(cluster))
            stream.wait_to_say("the archive has a gap there")
    assert any("gap" in problem for problem in audit(service, "primary"))


@pytest.mark.parametrize("running", [True, False], ids=["while it runs", "before it starts"])
def test_a_source_that_was_set_back_is_an_error(
    service: StreamedService, tmp_path: Path, running: bool
) -> None:
    """As by a reverted snapshot of its storage, within one segment."""
    cluster = service.cluster
    position(cluster)
    cluster.stop()
    shutil.copytree(cluster.data, tmp_path / "snapshot", symlinks=True)
    cluster.start()
    with service.streaming() as stream:
        cluster.query("select pg_logical_emit_message(false, '', repeat('x', 1000000))")
        wait_for_copies(service, position(cluster))
        if not running:
            stream.end()
        cluster.kill()
        shutil.rmtree(cluster.data)
        shutil.copytree(tmp_path / "snapshot", cluster.data, symlinks=True)
        # The slot is younger than the snapshot.
        cluster.start()
        cluster.query("select pg_create_physical_replication_slot('kb_dr', true)")
        if running:
            stream.wait().require(24, "stands behind what was received", "full backup")
    with service.streaming() as again:
        again.wait().require(24, "stands behind what was received", "full backup")


def test_what_was_received_comes_away_without_the_server(service: StreamedService) -> None:
    cluster = service.cluster
    with service.streaming() as stream:
        wait_for_copies(service, position(cluster))
        stream.end(signal.SIGKILL)
    cluster.wait_for("select not active from pg_replication_slots")
    with service.streaming("--every", "3600") as slow:
        slow.wait_to_say("receiving")
        cluster.switch_wal()
        upto = position(cluster)
        spool = StreamSpool(service.spool.parent, service.system_identifier, SEGMENT_BYTES)
        wait_until(lambda: (spool.received() or (0, 0)) >= (1, upto), lambda: "not received")
        slow.end(signal.SIGKILL)
    cluster.kill()
    assert service.upto("offsite") < upto
    with service.streaming() as refused:
        refused.wait().require(21, "--flush")

    said = service.run("wal", "stream", "--flush").require(0)

    assert "all is there" in said.out
    assert service.upto("primary") == service.upto("offsite") >= upto
    assert audit(service, "primary") == audit(service, "offsite") == ()


def test_another_cluster_behind_the_same_address_is_refused(
    service: StreamedService, postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    cluster = service.cluster
    with streamed_cluster(postgres_programs, tmp_path / "other") as other:
        with service.streaming() as stream:
            wait_for_copies(service, position(cluster))
            before = _objects(service, "primary")
            # The other server takes over the address.
            cluster.kill()
            stream.wait_to_say("pg_receivewal ended")
            socket = cluster.sockets / ".s.PGSQL.5432"
            socket.unlink(missing_ok=True)
            socket.symlink_to(other.sockets / ".s.PGSQL.5432")
            stream.wait().require(23, "the server is now cluster")

        with service.streaming() as stream:
            stream.wait().require(23, "expected")
        assert _objects(service, "primary") == before
        assert not other.query("select from pg_replication_slots")
        socket.unlink()


def test_one_stream_a_slot_and_no_standby(service: StreamedService) -> None:
    with service.streaming() as stream:
        stream.wait_to_say("receiving")
        with service.streaming() as second:
            second.wait().require(2, "another kb-dr does so already")
        assert stream.process.poll() is None


def test_doctor_warns_of_a_slot_that_nothing_reads(service: StreamedService) -> None:
    with service.streaming():
        wait_for_copies(service, position(service.cluster))
        good = service.run("doctor").out
        facts = service.opened().source.facts()
    assert facts.slot is not None
    assert facts.streamed
    assert "slot kb_dr is active" in good
    assert "WAL is streamed" in good

    said = service.run("doctor")

    assert said.status != 0
    assert "slot kb_dr is inactive" in said.out
    assert "pg_drop_replication_slot('kb_dr')" in said.out
    assert not service.opened().source.facts().streamed
    assert "slot kb_dr is inactive" in service.run("status", "--json").out


def test_the_password_is_in_no_argument(service: StreamedService) -> None:
    with service.streaming(KB_DB_PASSWORD="not-to-be-seen") as stream:
        stream.wait_to_say("receiving")
        wait_until(lambda: bool(_arguments("pg_receivewal", service.spool)), lambda: "not started")
        (arguments,) = _arguments("pg_receivewal", service.spool)
        assert "not-to-be-seen" not in arguments
        assert "not-to-be-seen" not in stream.said


def _arguments(program: str, spool: Path) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:
            continue
        if words[0].endswith(program) and f"--directory={spool}" in words:
            found.append(" ".join(words))
    return found
