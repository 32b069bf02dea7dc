"""The Dagster surface loads, whatever the settings, and nothing in it is without an end."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from kb_dr.definitions import build_definitions, defs
from kb_dr.defs.ledger import PARTITION_TAG
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.requests import FILES, SOURCE_TAG
from kb_dr.defs.postgres.schedules import make_schedules
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes, schedule_times
from kb_dr.errors import ConfigurationError
from kb_dr.sandbox import dagster_questions
from kb_dr.settings import Settings, load_settings
from kb_dr_tests.made_installation import MadeInstallation

ROOT = Path(__file__).parents[2]
JOBS = (
    *("back_up_now", "dump_now", "backup_job", "offsite_copy_job", "local_copy_job", "verify_job"),
    *("wal_job", "local_wal_job", "wal_audit_job", "repair_copies"),
    *("negative_controls_job", "watch_job", "hourly_watch_job"),
    *("restore_database", "disaster_recovery_drill", "monthly_restore_test", "readiness_job"),
    *("integrity_report_job", "retention_job", "weekly_digest_job"),
)
LONGEST_RESTORE = 30 * 3600
"""A restore waits a day for replay; to end it before would be the disaster."""


def test_the_definitions_are_loadable() -> None:
    dg.Definitions.validate_loadable(defs)


@pytest.mark.parametrize("name", JOBS)
def test_every_job_ends_some_time_and_runs_in_one_process(name: str) -> None:
    job = defs.resolve_job_def(name)

    longest = LONGEST_RESTORE if name == "restore_database" else 12 * 3600
    assert 0 < int(job.tags["dagster/max_runtime"]) <= longest
    assert job.executor_def is dg.in_process_executor


def test_no_job_is_left_out_above() -> None:
    named = {job.name for job in defs.resolve_all_job_defs()}

    assert {name for name in named if not name.startswith("__")} == set(JOBS)


def test_the_document_names_all_there_is_on_the_pages() -> None:
    text = (ROOT / "docs" / "dagster.md").read_text()
    repository = defs.get_repository_def()
    names = {
        *(each.name for each in repository.schedule_defs),
        *(each.name for each in repository.sensor_defs),
        *JOBS,
        *(key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()),
        *(key.name for key in repository.asset_graph.asset_check_keys),
    }
    assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_the_family_is_one_chain_of_partitions() -> None:
    graph = defs.resolve_asset_graph()

    assert graph.get(keys.OFFSITE_COPY).parent_keys == {keys.BACKUP}
    assert graph.get(keys.RESTORE_PROOF).parent_keys == {keys.OFFSITE_COPY}
    assert graph.get(keys.LOCAL_COPY).parent_keys == {keys.BACKUP}
    family = (keys.BACKUP, keys.OFFSITE_COPY, keys.LOCAL_COPY, keys.RESTORE_PROOF)
    assert len({graph.get(key).partitions_def for key in family}) == 1
    assert graph.get(keys.WAL_ARCHIVE).is_observable


def test_a_backup_is_taken_daily_at_two_and_a_proof_weekly() -> None:
    schedules = {
        schedule.name: schedule
        for schedule in make_schedules(ScheduleTimes())
        if isinstance(schedule, dg.ScheduleDefinition)
    }

    assert schedules["daily_full_backup"].cron_schedule == "0 2 * * *"
    assert schedules["hourly_incremental_backup"].cron_schedule == "30 * * * *"
    assert schedules["weekly_logical_dump"].cron_schedule == "0 3 * * 0"
    assert schedules["weekly_restore_proof"].cron_schedule == "0 6 * * 0"
    assert schedules["wal_every_minute"].cron_schedule == "* * * * *"
    for schedule in schedules.values():
        assert schedule.execution_timezone == "UTC"
        assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING


def test_settings_decide_the_times() -> None:
    def read() -> Settings:
        return load_settings({"KB_BACKUP_SCHEDULE": "30 3 * * *"})

    assert schedule_times(read) == ScheduleTimes("30 3 * * *", "0 6 * * 0")


@pytest.mark.parametrize(
    ("said", "expected"), [("off", None), ("*/15 * * * *", "*/15 * * * *"), ("", "30 * * * *")]
)
def test_incremental_backups_can_be_turned_off(said: str, expected: str | None) -> None:
    def read() -> Settings:
        return load_settings({"KB_DR_INCREMENTAL_SCHEDULE": said})

    times = schedule_times(read)

    assert times.incremental == expected
    names = [schedule.name for schedule in make_schedules(times)]
    assert ("hourly_incremental_backup" in names) is (expected is not None)


@pytest.mark.parametrize(
    ("said", "expected"), [("off", None), ("0 4 * * *", "0 4 * * *"), ("", "0 3 * * 0")]
)
def test_dumps_can_be_turned_off(said: str, expected: str | None) -> None:
    times = schedule_times(lambda: load_settings({"KB_DR_DUMP_SCHEDULE": said}))

    assert times.dump == expected
    names = [schedule.name for schedule in make_schedules(times)]
    assert ("weekly_logical_dump" in names) is (expected is not None)


@pytest.mark.parametrize("key", [keys.BACKUP, keys.RESTORE_PROOF])
def test_no_badge_of_freshness_is_kept_green_by_another_kind_of_backup(key: dg.AssetKey) -> None:
    assert defs.resolve_asset_graph().get(key).freshness_policy is None


def test_settings_that_cannot_be_used_take_nothing_down() -> None:
    def read() -> Settings:
        raise ConfigurationError("read settings: 3 cannot be used")

    assert schedule_times(read) == ScheduleTimes()


def test_a_cron_line_that_is_none_leaves_the_default() -> None:
    def read() -> Settings:
        return load_settings({"KB_BACKUP_SCHEDULE": "at some time or other"})

    assert schedule_times(read) == ScheduleTimes()


def test_nothing_is_opened_before_a_run_needs_it() -> None:
    def refuse() -> MadeInstallation:
        raise AssertionError("opened while loading")

    made = build_definitions(InstallationDoor(refuse), ScheduleTimes())

    dg.Definitions.validate_loadable(made)


def test_the_names_spoken_over_graphql_are_those_of_the_definitions() -> None:
    assert dagster_questions.BACKUP_ID_TAG == keys.BACKUP_ID_TAG
    assert PARTITION_TAG == "dagster/partition"


def instance_settings() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "dagster.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_the_storage_names_its_driver() -> None:
    storage = instance_settings()["storage"]["custom"]["config"]
    assert storage["postgres_db"]["scheme"] == "postgresql+psycopg2"


def test_pools_admit_one_run_and_runs_are_watched() -> None:
    settings = instance_settings()

    assert settings["concurrency"]["pools"] == {"default_limit": 1, "granularity": "run"}
    (limit,) = settings["concurrency"]["runs"]["tag_concurrency_limits"]
    one_each = {"applyLimitPerUniqueValue": True}
    assert limit == {"key": SOURCE_TAG, "value": one_each, "limit": 1}
    assert defs.resolve_job_def("backup_job").tags[SOURCE_TAG] == FILES
    assert settings["run_monitoring"]["enabled"] is True
    assert settings["telemetry"] == {"enabled": False}
    assert settings["nux"] == {"enabled": False}
