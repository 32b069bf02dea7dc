"""A full backup of a cluster with a damaged page is refused: the server says so at its very end."""

from pathlib import Path

import pytest

from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.errors import PostgresCommandFailed
from kb_dr_tests.postgres_servers import RunningCluster, programs_of, source_settings


def _read(program: PgBaseBackup) -> None:
    with program.stream("kb-full-20260101-000000", ()) as stream:
        while stream.read(1_000_000):
            pass
        stream.finish()


@pytest.mark.parametrize("major", [14, 18])
def test_a_page_whose_checksum_is_wrong_ends_the_stream(major: int, tmp_path: Path) -> None:
    with RunningCluster(programs_of(major), tmp_path) as cluster:
        cluster.query("create table t as select repeat('x', 500) from generate_series(1, 200)")
        cluster.query("checkpoint")
        file = cluster.data / str(cluster.value("select pg_relation_filepath('t')"))
        with file.open("r+b") as opened:
            opened.seek(8192 + 4000)
            opened.write(b"damaged")

        program = PgBaseBackup(cluster.programs, source_settings(cluster))
        with pytest.raises(PostgresCommandFailed, match="checksum verification failure"):
            _read(program)
