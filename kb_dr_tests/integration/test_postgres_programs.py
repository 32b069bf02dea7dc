"""PostgreSQL 14-18 install side by side, run unprivileged, and start real clusters."""

from pathlib import Path

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.sandbox.postgres_binaries import MAJORS_WITH_VECTOR
from kb_dr_tests.postgres_servers import RunningCluster


def test_every_supported_major_version_starts_and_answers(
    each_postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with RunningCluster(each_postgres_programs, tmp_path) as cluster:
        version = cluster.value("select current_setting('server_version_num')::int / 10000")
        checksums = cluster.value("show data_checksums")
        cluster.query("create extension amcheck")
        names = cluster.query("select name from pg_available_extensions where name = 'vector'")

        assert version == each_postgres_programs.major
        assert checksums == "on"
        assert bool(names) == (each_postgres_programs.major in MAJORS_WITH_VECTOR)


def test_a_killed_server_replays_its_wal_and_a_lost_one_is_gone(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with RunningCluster(postgres_programs, tmp_path) as cluster:
        cluster.query("create extension vector")
        cluster.query("create table kept (id int primary key, place vector(3))")
        cluster.query("insert into kept values (1, '[1,2,3]')")

        cluster.kill()
        cluster.start()

        assert cluster.query("select id, place::text from kept") == [(1, "[1,2,3]")]
        cluster.lose()
        assert not cluster.data.exists()
