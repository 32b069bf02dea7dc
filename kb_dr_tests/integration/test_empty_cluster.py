"""A new scratch cluster: empty, open, alone, and gone with its proof."""

from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters.postgres_host import LocalPostgresHost
from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.errors import PostgresCommandFailed
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.postgres_servers import programs_of
from kb_dr_tests.stored_backups import store_objects

SOURCE = replace(
    store_objects(MemoryRepository()).source,
    settings={
        "max_connections": "150",
        # A scheduler of production's, and a library that is on no host of these tests.
        "shared_preload_libraries": "pg_cron, timescaledb, pg_stat_statements",
    },
    extensions={"pg_stat_statements": "1.10"},
)

_SEEN = """
select current_setting('archive_mode'), current_setting('listen_addresses'),
       current_setting('data_checksums'), current_setting('shared_preload_libraries'),
       current_setting('max_connections'), current_setting('max_logical_replication_workers'),
       current_setting('cluster_name'), current_user::text,
       (select string_agg(rolname, ',') from pg_roles where rolname !~ '^pg_'),
       (select count(*)::int from pg_stat_activity where backend_type ~ 'logical|cron|autovacuum')
"""


@pytest.mark.parametrize("major", [14, 18])
def test_a_new_cluster_is_open_alone_and_gone_afterwards(major: int, tmp_path: Path) -> None:
    host = LocalPostgresHost([programs_of(major).bin_dir], users=("kb",))
    source = replace(SOURCE, server_version=major * 10000)

    with (
        LocalScratchSpace(tmp_path / "scratch").area("proof") as area,
        host.new_cluster(area, source, superuser="kb_dr_1") as server,
        psycopg.connect(server.conninfo(), autocommit=True) as session,
    ):
        seen = session.execute(_SEEN).fetchone()
        session.execute("create table written (id int)")

    assert seen == (
        *("off", "", "on", "pg_stat_statements", "150", "0", "kb_dr"),
        *("kb_dr_1", "kb_dr_1", 0),
    )
    assert list((tmp_path / "scratch").iterdir()) == []
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.conninfo())


def test_a_cluster_that_cannot_be_made_is_an_error_with_the_programs_words(tmp_path: Path) -> None:
    host = LocalPostgresHost([programs_of(16).bin_dir])

    with LocalScratchSpace(tmp_path / "scratch").area("proof") as area:
        made = host.new_cluster(area, SOURCE, superuser="pg_reserved")
        with pytest.raises(PostgresCommandFailed, match="superuser name"), made:
            raise AssertionError("it was made")
