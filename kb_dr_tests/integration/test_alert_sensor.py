"""What goes wrong becomes a notice, once, whatever happens on the way: on a real event log."""

from collections.abc import Iterator
from datetime import timedelta

import dagster as dg
import pytest

# Not exported by Dagster: what is written down when a run is to carry out a check.
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationPlanned,
)
from dagster._core.definitions.partitions.subset import DefaultPartitionsSubset

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.defs import ledger
from kb_dr.defs.alerting.run_notices import run_key
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity
from kb_dr.errors import KbDrError
from kb_dr.sandbox.dagster_services import prepare_instance
from kb_dr_tests.alerted_definitions import BACKUP, PARTITIONS, ROOM, RPO, World, alerted
from kb_dr_tests.dagster_storage import LoopbackCluster, dagster_storage, storage_environment
from kb_dr_tests.listening import Alerts, Listening

BROKEN, MENDED, TOLD = (str(each) for each in (State.BROKEN, State.MENDED, State.TOLD))
JOB = "run/backup_job"
WHOLE = "check/whole/what_is_kept_is_whole"


@pytest.fixture(scope="module")
def storage(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoopbackCluster]:
    with dagster_storage(postgres_programs, tmp_path_factory.mktemp("storage")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def instance(
    storage: LoopbackCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in storage_environment(storage).items():
            patch.setenv(name, value)
        home = prepare_instance(tmp_path_factory.mktemp("home"))
        with dg.DagsterInstance.from_config(str(home)) as made:
            yield made


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def alerts(instance: dg.DagsterInstance, storage: LoopbackCluster, world: World) -> Alerts:
    """The sensor after its first tick, on a log in which nothing has happened."""
    storage.query(
        "truncate event_logs, runs, run_tags, asset_keys, asset_check_executions, "
        "dynamic_partitions, jobs, instigators, job_ticks cascade",
        database="dagster",
    )
    made = Alerts(instance, alerted(world), Listening())
    made.tick()
    assert made.listening.taken == []
    return made


def fresh(alerts: Alerts) -> list[tuple[str, str]]:
    """What a tick brings, in the order it was handed in."""
    alerts.tick()
    return alerts.listening.fresh()


def newest(alerts: Alerts) -> Notice:
    return alerts.listening.taken[-1]


# runs


def test_a_failed_run_is_told_with_its_error_and_its_hint_and_mended_by_the_next(
    alerts: Alerts, world: World
) -> None:
    world.backup = False
    run_id = alerts.run("backup_job")
    assert fresh(alerts) == [(JOB, BROKEN)]
    told = newest(alerts)
    assert (told.id, told.kind, told.severity) == (
        f"run/{run_id}", "run_failed", Severity.CRITICAL
    )  # fmt: skip
    assert told.seen == "backup_job: the bucket is gone"
    assert (told.do, told.run_id) == ("look for it", run_id)

    world.backup = True
    alerts.run("backup_job")
    assert fresh(alerts) == [(JOB, TOLD), (JOB, MENDED)]
    assert [each.kind for each in alerts.listening.taken[-2:]] == ["run_succeeded", "run_failed"]
    assert fresh(alerts) == []


def test_each_failure_of_a_job_is_handed_in(alerts: Alerts, world: World) -> None:
    world.backup = False
    for _ in range(2):
        alerts.run("backup_job")

    assert fresh(alerts) == [(JOB, BROKEN), (JOB, BROKEN)]


def test_a_copy_that_failed_is_mended_by_a_run_of_the_same_backup_alone(
    alerts: Alerts, world: World
) -> None:
    alerts.instance.add_dynamic_partitions("postgres_backups", ["one", "two"])
    world.backup = False
    alerts.run("offsite_copy_job", tags={ledger.PARTITION_TAG: "one"})
    key = "run/offsite_copy_job/one"
    assert fresh(alerts) == [(key, BROKEN)]

    world.backup = True
    alerts.run("offsite_copy_job", tags={ledger.PARTITION_TAG: "two"})
    assert fresh(alerts) == []
    alerts.run("offsite_copy_job", tags={ledger.PARTITION_TAG: "one"})
    assert fresh(alerts) == [(key, MENDED)]


def test_an_incremental_backup_that_succeeds_mends_no_full_one_that_failed(
    alerts: Alerts, world: World
) -> None:
    full, incr = "kb-full-20261128-020000", "kb-incr-20261128-023000"
    world.backup = False
    alerts.run("backup_job", tags={ledger.PARTITION_TAG: full})
    assert fresh(alerts) == [(f"{JOB}/full", BROKEN)]

    world.backup = True
    alerts.run("backup_job", tags={ledger.PARTITION_TAG: incr})
    alerts.tick()
    assert list(alerts.listening.open) == [f"{JOB}/full"]
    alerts.run("backup_job", tags={ledger.PARTITION_TAG: "kb-full-20261129-020000"})
    alerts.tick()
    assert list(alerts.listening.open) == []


@pytest.mark.parametrize(
    ("asked", "condition"),
    [("offsite", "run/verify_job/offsite"), ("auto", "run/verify_job"), (None, "run/verify_job")],
)
def test_a_proof_of_one_copy_is_a_condition_of_its_own(asked: str | None, condition: str) -> None:
    config = {"ops": {"proof": {"config": {"copy_read": asked} if asked else {}}}}

    assert run_key(dg.DagsterRun(job_name="verify_job", run_config=config)) == condition


def test_a_copy_of_a_backup_that_was_purged_is_no_longer_broken(
    alerts: Alerts, world: World
) -> None:
    alerts.instance.add_dynamic_partitions("postgres_backups", ["one"])
    world.backup = False
    alerts.run("offsite_copy_job", tags={ledger.PARTITION_TAG: "one"})
    alerts.tick()
    alerts.instance.delete_dynamic_partition("postgres_backups", "one")
    alerts.tick()

    assert alerts.listening.open == {}


def test_a_run_that_is_tried_again_is_not_told_and_its_last_try_is(
    alerts: Alerts, world: World
) -> None:
    world.backup = False
    alerts.run("backup_job", tags={"dagster/max_retries": "1"})
    assert fresh(alerts) == []

    alerts.run("backup_job")
    assert fresh(alerts) == [(JOB, BROKEN)]


def test_what_a_person_launches_is_told_once_and_opens_nothing(
    alerts: Alerts, world: World
) -> None:
    world.backup = False
    alerts.run("restore_database")

    assert fresh(alerts) == [("run/restore_database", TOLD)]
    assert newest(alerts).severity is Severity.WARNING
    assert alerts.listening.open == {}


def test_a_run_that_was_terminated_is_told(alerts: Alerts) -> None:
    run = alerts.instance.add_run(
        dg.DagsterRun(job_name="backup_job", status=dg.DagsterRunStatus.STARTED)
    )
    alerts.instance.report_run_canceled(run)

    assert fresh(alerts) == [(JOB, TOLD)]
    assert newest(alerts).severity is Severity.WARNING


# checks


def test_a_check_that_failed_is_told_as_it_was_seen_and_mended_when_it_passes(
    alerts: Alerts, world: World
) -> None:
    world.room, world.seen = False, "97 % used"
    run_id = alerts.run("watch_job")
    assert fresh(alerts) == [(ROOM, BROKEN)]
    told = newest(alerts)
    assert told.id == f"check/{run_id}/postgres/wal_archive/copies_have_room"
    assert (told.kind, told.severity) == ("copies_have_room", Severity.CRITICAL)
    assert (told.seen, told.do, told.subjects) == ("97 % used", "make room", ("offsite",))
    assert ("used_percent", "97.5") in told.facts

    world.severity = dg.AssetCheckSeverity.WARN
    alerts.run("watch_job")
    assert fresh(alerts) == [(ROOM, BROKEN)]
    assert newest(alerts).severity is Severity.WARNING

    world.room = True
    alerts.run("watch_job")
    assert fresh(alerts) == [(ROOM, MENDED)]
    alerts.run("watch_job")
    assert fresh(alerts) == []


def test_a_check_that_was_red_between_two_ticks_is_told_all_the_same(
    alerts: Alerts, world: World
) -> None:
    world.room = False
    alerts.run("watch_job")
    world.room = True
    alerts.run("watch_job")

    assert fresh(alerts) == [(ROOM, BROKEN), (ROOM, MENDED)]


def test_a_check_that_crashes_is_told_with_those_that_said_nothing(
    alerts: Alerts, world: World
) -> None:
    world.crash = True
    alerts.run("watch_job")

    assert fresh(alerts) == [("run/watch_job", BROKEN)]
    told = newest(alerts)
    assert (told.kind, told.subjects) == ("check_crashed", ("rpo_holds",))
    assert "division by zero" in told.seen

    world.crash = False
    alerts.run("watch_job")
    assert fresh(alerts) == [("run/watch_job", MENDED)]


def test_a_run_that_a_blocking_check_failed_is_one_alert(alerts: Alerts, world: World) -> None:
    world.room, world.seen = False, "a chunk is gone"
    alerts.run("integrity_report_job")

    assert fresh(alerts) == [(WHOLE, BROKEN)]
    assert "integrity_report_job failed" in dict(newest(alerts).facts)["run"]


def report_proof(instance: dg.DagsterInstance, backup: str, *, passed: bool) -> None:
    """As the sensor `pages_follow_the_repository` shows it: no run of ours says so."""
    ledger.record_check(
        instance,
        dg.AssetCheckKey(BACKUP, "restore_proven"),
        backup,
        run_id=None,
        passed=passed,
        description="a proof FAILED",
        metadata={},
    )


def made_backup(instance: dg.DagsterInstance, backup: str) -> None:
    instance.add_dynamic_partitions(PARTITIONS.name or "", [backup])
    ledger.record_materialisation(instance, BACKUP, backup, data_version="1", metadata={})


def test_a_light_that_no_run_turned_red_is_told_and_its_green_too(alerts: Alerts) -> None:
    key = "check/postgres/backup/restore_proven/one"
    made_backup(alerts.instance, "one")
    report_proof(alerts.instance, "one", passed=False)
    assert fresh(alerts) == [(key, BROKEN)]
    assert ("backup", "one") in newest(alerts).facts
    assert fresh(alerts) == []

    report_proof(alerts.instance, "one", passed=True)
    assert fresh(alerts) == [(key, MENDED)]


def test_a_light_that_is_about_to_be_looked_at_again_stays_red(alerts: Alerts) -> None:
    made_backup(alerts.instance, "one")
    report_proof(alerts.instance, "one", passed=False)
    assert fresh(alerts) == [("check/postgres/backup/restore_proven/one", BROKEN)]
    told = len(alerts.listening.taken)
    queued = dg.DagsterRun(
        job_name="verify_job",
        status=dg.DagsterRunStatus.STARTED,
        tags={ledger.PARTITION_TAG: "one"},
    )
    run = alerts.instance.add_run(queued)
    alerts.instance.report_dagster_event(
        dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED.value,
            job_name="verify_job",
            event_specific_data=AssetCheckEvaluationPlanned(
                asset_key=BACKUP,
                check_name="restore_proven",
                partitions_subset=DefaultPartitionsSubset({"one"}),
            ),
        ),
        run_id=run.run_id,
    )
    assert fresh(alerts) == []

    # A run that ended and never said a thing has mended nothing either.
    alerts.instance.report_run_canceled(run)
    alerts.tick()
    assert [each for each in alerts.listening.taken[told:] if each.key.startswith("check/")] == []


def test_a_light_that_is_taken_off_the_page_is_no_longer_red(alerts: Alerts) -> None:
    key = "check/postgres/backup/restore_proven/one"
    made_backup(alerts.instance, "one")
    report_proof(alerts.instance, "one", passed=False)
    alerts.tick()
    ledger.record_materialisation(alerts.instance, BACKUP, "one", data_version="1", metadata={})

    alerts.tick()
    assert alerts.listening.taken[-1].key == key
    assert alerts.listening.open == {}


# what happens on the way


def test_killed_between_taking_and_writing_it_down_the_same_notices_come_again(
    alerts: Alerts, world: World
) -> None:
    world.backup = world.room = False
    alerts.run("backup_job")
    alerts.run("watch_job")
    alerts.tick(killed=True)
    before = [each.id for each in alerts.listening.handed_in]
    alerts.tick()

    assert len(before) == 2
    assert [each.id for each in alerts.listening.handed_in] == before * 2
    assert len(alerts.listening.taken) == 2


def test_what_was_not_taken_is_read_again(alerts: Alerts, world: World) -> None:
    world.backup = False
    alerts.run("backup_job")
    alerts.listening.refusal = KbDrError("the disk is full")
    assert "1 notices were not taken: the disk is full" in alerts.tick()
    alerts.listening.refusal = None

    assert fresh(alerts) == [(JOB, BROKEN)]


def test_an_event_that_appears_behind_others_is_not_passed_over(
    alerts: Alerts, world: World, storage: LoopbackCluster
) -> None:
    """Ids of events are drawn when they are written, and seen when they are committed."""
    world.backup = False
    late = alerts.run("backup_job")
    hidden = f"where run_id = '{late}' and dagster_event_type = 'PIPELINE_FAILURE'"
    storage.query(f"create table hidden as select * from event_logs {hidden}", database="dagster")
    storage.query(f"delete from event_logs {hidden}", database="dagster")
    alerts.run("backup_job")
    assert fresh(alerts) == [(JOB, BROKEN)]

    storage.query("insert into event_logs select * from hidden", database="dagster")
    storage.query("drop table hidden", database="dagster")
    alerts.tick()

    assert f"run/{late}" in [each.id for each in alerts.listening.taken]


def test_a_lost_cursor_begins_with_the_present(alerts: Alerts, world: World) -> None:
    world.backup = world.room = False
    alerts.run("backup_job")
    alerts.run("watch_job")
    world.backup = True
    alerts.run("backup_job")
    alerts.cursor = "what nobody wrote"

    assert fresh(alerts) == [(ROOM, BROKEN)]
    world.backup = False
    failed = alerts.run("backup_job")
    alerts.cursor = None
    assert fresh(alerts) == [(JOB, BROKEN)]
    assert newest(alerts).id == f"run/{failed}"

    world.backup = world.room = True
    alerts.run("backup_job")
    alerts.run("watch_job")
    alerts.cursor = None
    alerts.tick()
    assert alerts.listening.open == {}


def test_a_failure_of_last_week_is_history(alerts: Alerts, world: World) -> None:
    world.backup = False
    alerts.run("backup_job")
    alerts.listening.clock.ahead = timedelta(days=2)
    alerts.cursor = None

    assert (JOB, BROKEN) not in fresh(alerts)


def test_what_is_red_is_handed_in_again_when_the_outbox_has_lost_it(
    alerts: Alerts, world: World
) -> None:
    world.room = False
    alerts.run("watch_job")
    alerts.tick()
    alerts.listening.open.clear()
    alerts.listening.taken.clear()
    alerts.tick()

    assert ROOM in alerts.listening.open


def test_with_an_outbox_that_cannot_be_asked_red_and_green_are_told(
    alerts: Alerts, world: World
) -> None:
    alerts.listening.silent = True
    world.room = False
    alerts.run("watch_job")
    alerts.tick()
    assert ROOM in alerts.listening.open
    world.room = True
    alerts.run("watch_job")
    alerts.tick()
    assert ROOM not in alerts.listening.open


def test_a_part_that_cannot_be_read_stops_no_other_and_is_told(
    alerts: Alerts, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such column")

    world.backup = world.room = False
    alerts.run("watch_job")
    alerts.tick()
    alerts.listening.fresh()
    with monkeypatch.context() as patch:
        patch.setattr("kb_dr.defs.alerting.look.look_at_checks", broken)
        alerts.run("backup_job")
        assert "could not read checks: RuntimeError: no such column" in alerts.tick()
    fault = "sensor/alerts_go_out/reading checks"
    assert set(alerts.listening.fresh()) == {(JOB, BROKEN), (fault, BROKEN)}
    assert ROOM in alerts.listening.open

    assert fresh(alerts) == [(fault, MENDED)]


def test_a_run_whose_events_cannot_be_read_keeps_no_later_one_back(
    alerts: Alerts, world: World, storage: LoopbackCluster
) -> None:
    world.backup = False
    spoilt = alerts.run("backup_job")
    storage.query(
        f"update event_logs set event = 'spoilt' where run_id = '{spoilt}' "
        "and dagster_event_type = 'STEP_FAILURE'",
        database="dagster",
    )
    other = alerts.run("backup_job")
    alerts.tick()

    assert [each.id for each in alerts.listening.taken] == [f"run/{spoilt}", f"run/{other}"]
    assert "its events cannot be read" in alerts.listening.taken[0].seen


def test_what_is_left_of_the_time_is_for_delivering(alerts: Alerts) -> None:
    alerts.tick()

    assert all(0 < seconds <= 40 for seconds in alerts.listening.delivered)
    assert len(alerts.listening.delivered) == 2
    assert RPO not in alerts.listening.open
