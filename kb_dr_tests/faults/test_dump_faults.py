"""`kb-dr backup dump` where something fails: it ends loudly, names it, and leaves no dump."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from kb_dr.adapters.client_programs import find_client_programs
from kb_dr.adapters.frozen_source import PostgresDumpSource
from kb_dr.adapters.pg_dump import PgDump
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.dump import DumpFormat
from kb_dr.errors import PostgresError
from kb_dr.ports import FrozenSource
from kb_dr_tests.dumped_service import DumpedService, places
from kb_dr_tests.made_programs import MadePrograms
from kb_dr_tests.postgres_servers import RunningCluster, source_settings
from kb_dr_tests.protected_service import SECONDS, Said, Service, ended, environment
from kb_dr_tests.taken_dumps import Dumps


@pytest.fixture
def own(dumped_service: DumpedService, tmp_path: Path) -> Service:
    """The same server, with repositories of its own and nothing in them."""
    service = Service(tmp_path / "service", dumped_service.settings | places(tmp_path / "service"))
    service.run("init").require(0)
    return service


def nothing_stands(service: Service) -> None:
    """No dump, and no manifest that might be taken for one."""
    assert list(service.directory.glob("primary/dump/*/manifest.json")) == []


def test_a_server_that_cannot_be_reached(own: Service, tmp_path: Path) -> None:
    own.run("backup", "dump", KB_DB_HOST=str(tmp_path / "nowhere")).require(21, "nowhere")

    nothing_stands(own)


def test_a_wrong_password_is_not_shown_and_the_right_one_reaches_every_program(
    own: Service, dumped_service: DumpedService
) -> None:
    cluster = dumped_service.cluster
    cluster.query("create role guarded login superuser password 'the right one'")
    rules = cluster.data / "pg_hba.conf"
    rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
    cluster.reload()
    wrong = {"KB_DB_USER": "guarded", "KB_DB_PASSWORD": "hush-hush"}

    said = own.run("backup", "dump", **wrong).require(21, "password authentication failed")
    assert "hush-hush" not in said.out + said.err
    nothing_stands(own)

    own.run("backup", "dump", **wrong | {"KB_DB_PASSWORD": "the right one"}).require(0)
    cluster.query("drop role guarded")


def test_a_full_disk_is_named_and_leaves_no_dump(
    own: Service, dumped_service: DumpedService, tmp_path: Path
) -> None:
    dumped_service.cluster.query("create database filler")
    dumped_service.cluster.query(
        "create table filler as select gen_random_uuid() from generate_series(1, 200000)",
        database="filler",
    )
    small = tmp_path / "small"
    small.mkdir()
    mount = (
        'mount -t tmpfs -o size=3m,mode=0700 tmpfs "$0" && '
        '"$@" init >/dev/null 2>&1; "$@" backup dump; status=$?; find "$0" -type f; exit $status'
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(small), *own.words()],
        env=environment({"KB_DR_REPOSITORY_URL": str(small), "KB_DB_NAME": "filler"}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    said = Said(done.returncode, done.stdout, done.stderr)

    assert said.status not in (0, 1, 2), said
    said.require(said.status, "No space left")
    files = [line for line in said.out.splitlines() if line.startswith(str(small))]
    assert any("/dump/" in each for each in files)
    assert not any(each.endswith("manifest.json") or "tmp" in Path(each).name for each in files)
    dumped_service.cluster.query("drop database filler")


def test_no_room_for_a_dump_that_is_to_be_restored_changes_nothing_and_leaves_nothing(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    before = dumped_service.cluster.query("select datname from pg_database order by 1")
    small = tmp_path / "small"
    small.mkdir()
    mount = (
        'mount -t tmpfs -o size=16k,mode=0700 tmpfs "$0"; "$@"; status=$?; '
        'find "$0" -type f; exit $status'
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(small),
         *dumped_service.words("restore", "--dump")],
        env=environment({"KB_DR_SCRATCH_DIR": str(small)}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )  # fmt: skip

    said = Said(done.returncode, done.stdout, done.stderr)
    said.require(47, "free in the scratch directory", "Nothing was changed")
    assert str(small) not in said.out, "a line for each file that is left"
    assert dumped_service.cluster.query("select datname from pg_database order by 1") == before


def test_an_interrupt_at_the_command(
    own: Service,
    dumped_service: DumpedService,
    postgres_programs: PostgresPrograms,
    tmp_path: Path,
) -> None:
    programs = MadePrograms(postgres_programs, tmp_path / "programs")
    programs.stand_still("pg_dump", at_call=2)  # the first asks for its version
    process = own.start("backup", "dump", KB_DR_POSTGRES_BIN_DIRS=str(programs.bin_dir))
    deadline = time.monotonic() + SECONDS
    while not programs.reached.exists() and time.monotonic() < deadline:
        time.sleep(0.02)

    process.send_signal(signal.SIGINT)
    ended(process).require(130)

    nothing_stands(own)
    dumped_service.cluster.wait_for(
        "select count(*) = 0 from pg_stat_activity where application_name = 'kb-dr'"
    )
    own.run("backup", "dump").require(0)


def test_more_tables_than_the_server_can_lock(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    few = {"max_locks_per_transaction": "10", "max_connections": "12", "max_wal_senders": "2"}
    with RunningCluster(postgres_programs, tmp_path / "server", settings=few) as cluster:
        for _ in range(8):
            cluster.query(
                "do $$ begin for i in 1..150 loop execute format('create table %I (id int)',"
                " gen_random_uuid()); end loop; end $$"
            )
        dumps = Dumps(cluster, "postgres", tmp_path / "primary")

        with pytest.raises(PostgresError, match="out of shared memory") as raised:
            dumps.take()

        assert "max_locks_per_transaction" in raised.value.hint
        assert dumps.backups() == []
        assert dumps.sessions() == []


def test_a_table_pg_dump_waits_for_too_long_is_another_try(
    dumped_service: DumpedService,
) -> None:
    """A migration may queue between our locks and those of pg_dump, which then waits behind it."""
    cluster = dumped_service.cluster
    cluster.query("create database queued")
    cluster.query("create table notes as select 1 i", database="queued")
    settings = source_settings(cluster, "queued")
    client = find_client_programs("pg_dump", cluster.programs.major, [cluster.programs.bin_dir])
    program = PgDump(client, settings, lock_seconds=0.1)
    with PostgresDumpSource(settings).freeze(()) as frozen:
        migration = subprocess.Popen(
            [cluster.programs.path("psql"), "-qX", cluster.conninfo("queued"), "-c",
             "set application_name = 'migration'", "-c", "drop table notes"],
            env=cluster.programs.environment(),
        )  # fmt: skip
        cluster.wait_for(
            "select count(*) = 1 from pg_stat_activity where application_name = 'migration'"
            " and wait_event_type = 'Lock'"
        )
        with pytest.raises(PostgresError, match="statement timeout") as raised:
            _drain(program, frozen)
    assert raised.value.retryable
    assert migration.wait(SECONDS) == 0


def _drain(program: PgDump, frozen: FrozenSource) -> None:
    with program.stream(frozen, DumpFormat.CUSTOM) as stream:
        while stream.read():
            pass
