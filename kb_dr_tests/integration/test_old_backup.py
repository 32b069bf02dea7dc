"""A week of WAL behind one backup: any day of it can be had, from a base that is seven days old."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.recovery_target import AtTime, Latest
from kb_dr.operations.plan_target import Wanted
from kb_dr_tests.days_ago import DaysAgo, environment_days_ago
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.recoverable import RecoverableService, entries, make_ledger, write

DAYS = 7


def test_each_day_since_a_seven_days_old_backup_can_be_restored(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    service = RecoverableService(postgres_programs, tmp_path)
    written: list[datetime] = []
    with service.in_service() as cluster:
        cluster.stop()
        cluster.environment = environment_days_ago(DAYS)
        cluster.start()
        make_ledger(cluster)
        base = service.back_up(cluster, DaysAgo(DAYS))
        for days in range(DAYS, -1, -1):
            cluster.stop()
            cluster.environment = environment_days_ago(days) if days else {}
            cluster.start()
            written.append(write(cluster, f"{days} days ago"))
            cluster.archive_everything()
        cluster.lose()

    age = datetime.now(UTC) - base.manifest.finished
    assert timedelta(days=DAYS - 1) < age < timedelta(days=DAYS + 1)
    for back in (DAYS, 4, 1):
        number = DAYS - back
        midday = written[number] + timedelta(hours=12)

        restored, place = service.restore(Wanted(AtTime(midday)))

        assert restored.plan.recovery.stored.manifest.id == base.manifest.id
        with RunningCluster(postgres_programs, place) as cluster:
            expected = [f"{days} days ago" for days in range(DAYS, back - 1, -1)]
            assert entries(cluster) == expected
    _, place = service.restore(Wanted(Latest()))
    with RunningCluster(postgres_programs, place) as cluster:
        assert len(entries(cluster)) == DAYS + 1
