"""A source that was promoted: its backup of before restores along the new timeline."""

from pathlib import Path

import pyrage

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_host import LocalPostgresHost
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.adapters.restored_checks import RestoredChecks
from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.domain.proof import Verdict
from kb_dr.operations.base_backup import BackupTools, take_base_backup
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.survey import survey
from kb_dr.operations.verify import verify_backup
from kb_dr_tests.postgres_servers import RunningCluster, source_settings
from kb_dr_tests.push_wal import archive_command


def test_an_end_on_the_very_page_of_the_promotion_is_on_the_new_timeline(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    """A server that is idle after its failover archives no more than that: its page still bears
    the old timeline's number, and a complete recovery must not be taken for a short one.
    """
    programs, clock = postgres_programs, SystemClock()
    identity = pyrage.x25519.Identity.generate()
    codec = AgeCodec([str(identity.to_public())], [str(identity)])
    repository = DirectoryRepository(tmp_path / "repository", "primary")
    repository.create()
    init_repository(repository, clock, service="kb", org="default")
    with RunningCluster(programs, tmp_path / "source") as cluster:
        cluster.archive_with(archive_command(tmp_path / "repository", str(identity.to_public())))
        cluster.query("create table ledger (entry text primary key)")
        cluster.query("insert into ledger values ('before the promotion')")
        settings = source_settings(cluster)
        take_base_backup(
            repository,
            codec,
            PostgresSource(settings),
            PgBaseBackup(programs, settings),
            clock,
            SilentProgress(),
            BackupTools("kb", "default", "test-host"),
        )
        cluster.stop()
        promote = cluster.data / "recovery.signal"
        promote.touch()
        programs.unprivileged.give(promote)
        cluster.settings["restore_command"] = "exit 1"
        cluster.configure()
        cluster.start()
        cluster.wait_for("select not pg_is_in_recovery()")
        last = cluster.switch_wal()
        cluster.wait_for(
            "select coalesce(last_archived_wal >= %s, false) from pg_stat_archiver", [last]
        )
        cluster.lose()

    seen = survey(repository, codec, {}, service="kb", org="default", void_through=None)
    proof = verify_backup(
        repository,
        codec,
        LocalPostgresHost([programs.bin_dir]),
        LocalScratchSpace(tmp_path / "scratch"),
        RestoredChecks(),
        clock,
        SilentProgress(),
        backup=None,
    )

    assert last.startswith("00000002")
    assert proof.reach is not None
    assert (proof.verdict, proof.reach.expected_timeline) == (Verdict.PROVEN, 2), proof.reason
    assert seen.tip_window is not None
    assert seen.tip_window.end is not None
    assert seen.tip_window.end.timeline == 2
