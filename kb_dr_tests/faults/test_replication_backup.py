"""Whatever ends the stream of a full backup early is told, and never its end."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.errors import KbDrError, PostgresCommandFailed, PostgresUnavailable
from kb_dr.settings import Secret
from kb_dr_tests.postgres_servers import RunningCluster, programs_of, source_settings


def _filled(programs: PostgresPrograms, directory: Path) -> RunningCluster:
    """A cluster whose tablespace is larger than what fits into sockets and buffers."""
    cluster = RunningCluster(programs, directory)
    with cluster:
        place = directory / "space"
        place.mkdir(mode=0o700)
        programs.unprivileged.give(place)
        cluster.query(f"create tablespace aside location '{place}'")
        cluster.query("create table filler tablespace aside as select repeat(md5(i::text), 30)"
                      " as text from generate_series(1, 50000) i")  # fmt: skip
    return RunningCluster(programs, directory)


@pytest.fixture(scope="module")
def cluster(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCluster]:
    with _filled(postgres_programs, tmp_path_factory.mktemp("filled")) as running:
        yield running


def _read(program: PgBaseBackup, cluster: RunningCluster, then: Callable[[int], object]) -> None:
    """Read all of a base backup; do something after its first bytes."""
    spaces = PostgresSource(source_settings(cluster)).tablespaces()
    with program.stream("kb-full-20260101-000000", spaces) as stream:
        stream.read(10)
        then(
            cluster.value("select pid from pg_stat_replication order by backend_start desc limit 1")
        )
        while stream.read(1_000_000):
            pass
        stream.finish()


def _program(cluster: RunningCluster, **seconds: float) -> PgBaseBackup:
    return PgBaseBackup(cluster.programs, source_settings(cluster), **seconds)


def test_a_server_that_falls_silent_ends_the_stream(cluster: RunningCluster) -> None:
    sender = 0

    def silence(pid: int) -> None:
        nonlocal sender
        sender = pid
        os.kill(pid, signal.SIGSTOP)

    try:
        with pytest.raises(PostgresUnavailable, match="no byte within 2 s"):
            _read(_program(cluster, stall_seconds=2.0), cluster, silence)
    finally:
        if sender:
            os.kill(sender, signal.SIGCONT)


def test_a_sender_that_is_ended_ends_the_stream(cluster: RunningCluster) -> None:
    with pytest.raises((PostgresCommandFailed, PostgresUnavailable)) as raised:
        _read(
            _program(cluster),
            cluster,
            lambda pid: cluster.query("select pg_terminate_backend(%s)", [pid]),
        )

    assert raised.value.hint


@pytest.mark.parametrize("major", [14, 16])
def test_a_server_that_dies_ends_the_stream(major: int, tmp_path: Path) -> None:
    with (
        _filled(programs_of(major), tmp_path) as own,
        pytest.raises((PostgresCommandFailed, PostgresUnavailable)) as raised,
    ):
        _read(_program(own), own, lambda _: own.kill())

    assert raised.value.hint


@pytest.mark.parametrize("major", [14, 16])
def test_the_stream_does_not_wait_for_the_servers_archiver(major: int, tmp_path: Path) -> None:
    with _filled(programs_of(major), tmp_path) as own:
        own.archive_with("/bin/false")

        _read(_program(own, archive_seconds=0.0), own, lambda _: None)


def test_a_password_is_used_and_a_wrong_one_is_told_without_it(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    secret = "correct horse 'battery\\"
    with _filled(postgres_programs, tmp_path) as own:
        quoted = secret.replace("'", "''")
        own.query(f"create role backup login superuser replication password '{quoted}'")
        rules = own.data / "pg_hba.conf"
        rules.write_text("local all postgres trust\nlocal all,replication backup scram-sha-256\n")
        own.reload()
        settings = replace(source_settings(own), user="backup", password=Secret(secret))

        _read(PgBaseBackup(postgres_programs, settings), own, lambda _: None)
        wrong = replace(settings, password=Secret("another secret"))
        with pytest.raises(KbDrError, match="password authentication failed") as raised:
            _read(PgBaseBackup(postgres_programs, wrong), own, lambda _: None)

        assert "another secret" not in str(raised.value)


def test_a_role_that_may_not_replicate_is_told(cluster: RunningCluster) -> None:
    cluster.query("create role nobody login")
    settings = replace(source_settings(cluster), user="nobody")
    try:
        with pytest.raises(PostgresUnavailable, match=r"REPLICATION|replication") as raised:
            _read(PgBaseBackup(cluster.programs, settings), cluster, lambda _: None)
    finally:
        cluster.query("drop role nobody")

    assert "REPLICATION" in raised.value.hint
