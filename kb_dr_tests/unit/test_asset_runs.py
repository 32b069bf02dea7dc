"""Runs of the other assets and checks: what they promise, and how they fail."""

import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from kb_dr.defs.failures import reported_failures
from kb_dr.defs.heartbeat import signs_of_life
from kb_dr.defs.metadata import table
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys
from kb_dr.domain import layout
from kb_dr.errors import BackupInProgress, BucketMissing, RepositoryUnavailable, WalGap
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.stored_backups import segment, store_segments, store_wal


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    return MadeInstallation(tmp_path)


def run(
    installation: MadeInstallation,
    instance: dg.DagsterInstance,
    *assets: dg.AssetKey,
    partition: str,
    check: dg.AssetCheckKey | None = None,
) -> dg.ExecuteInProcessResult:
    """One run of some of the assets, with one check or none."""
    selection = dg.AssetSelection.assets(*assets).without_checks()
    if check is not None:
        selection |= dg.AssetSelection.checks(check)
    job = dg.define_asset_job("tried", selection, executor_def=dg.in_process_executor)
    definitions = dg.Definitions.merge(installation.definitions(), dg.Definitions(jobs=[job]))
    instance.add_dynamic_partitions(POSTGRES_BACKUPS, [partition])
    return definitions.resolve_job_def("tried").execute_in_process(
        instance=instance, partition_key=partition, raise_on_error=False
    )


def test_a_copy_is_materialised_with_the_manifest_digest(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    stored = installation.has_backup()

    result = run(installation, instance, keys.OFFSITE_COPY, partition=stored.manifest.id)

    assert result.success
    (event,) = result.asset_materializations_for_node("postgres__offsite_copy")
    assert (event.tags or {})["dagster/data_version"] == stored.digest
    assert installation.offsite.find(layout.manifest_key(stored.manifest.backup_id))


INCREMENT = "kb-incr-20261120-030000"


def backed_up(
    installation: MadeInstallation, instance: dg.DagsterInstance
) -> dg.ExecuteInProcessResult:
    """A run of the hourly backup, as the schedule asks for it."""
    instance.add_dynamic_partitions(POSTGRES_BACKUPS, [INCREMENT])
    job = installation.definitions().resolve_job_def("backup_job")
    return job.execute_in_process(instance=instance, partition_key=INCREMENT, raise_on_error=False)


def test_an_increment_is_materialised_with_its_parent_and_the_length_of_its_chain(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    full = installation.has_backup()

    result = backed_up(installation, instance)

    assert result.success
    (event,) = result.asset_materializations_for_node("postgres__backup")
    assert event.metadata["parent"].value == full.manifest.id
    assert event.metadata["kind"].value == f"increment on {full.manifest.id}"
    assert event.metadata["chain_length"].value == 2
    assert [each.passed for each in result.get_asset_check_evaluations()] == [True]


def test_an_increment_that_meets_another_backup_is_passed_over_without_an_alert(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    installation.taken = BackupInProgress("back up h:5432: another backup is running")

    result = backed_up(installation, instance)

    assert result.success
    assert result.asset_materializations_for_node("postgres__backup") == []
    assert instance.get_dynamic_partitions(POSTGRES_BACKUPS) == []


def test_a_full_one_that_meets_another_backup_fails(
    instance: dg.DagsterInstance, installation: MadeInstallation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise BackupInProgress("back up h:5432: another backup is running")

    monkeypatch.setattr(installation, "back_up", busy)

    assert not run(installation, instance, keys.BACKUP, partition="kb-full-20261120-020000").success


def test_a_full_one_taken_instead_gets_the_partition(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    installation.taken = installation.has_backup()

    result = backed_up(installation, instance)

    assert result.success
    taken = installation.taken.manifest.id
    assert instance.get_dynamic_partitions(POSTGRES_BACKUPS) == [taken]
    ended = instance.get_run_by_id(result.run_id)
    assert ended is not None
    assert ended.tags[keys.BACKUP_ID_TAG] == taken


def test_an_increment_that_fails_fails_the_run(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    installation.taken = WalGap("complete it: WAL is missing")

    assert not backed_up(installation, instance).success
    assert instance.get_dynamic_partitions(POSTGRES_BACKUPS) == [INCREMENT]


def test_a_copy_of_nothing_fails_with_the_hint_and_the_exit_code(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    result = run(installation, instance, keys.OFFSITE_COPY, partition="kb-full-20261120-020000")

    assert not result.success
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert data.metadata["exit_code"].value == 41
    assert data.metadata["hint"].value


def test_every_chunk_is_stored_is_red_when_one_is_not(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    stored = installation.has_backup()
    check = dg.AssetCheckKey(keys.BACKUP, "every_chunk_is_stored")

    def passed() -> bool:
        # A check is run with an asset of its partition; the copy is the cheap one.
        result = run(
            installation, instance, keys.OFFSITE_COPY, partition=stored.manifest.id, check=check
        )
        (evaluation,) = result.get_asset_check_evaluations()
        return evaluation.passed

    assert passed()
    installation.primary.delete(stored.manifest.chunks[1].key)
    assert not passed()


def wal_has_no_gap(instance: dg.DagsterInstance, installation: MadeInstallation) -> bool:
    job = installation.definitions().resolve_job_def("wal_audit_job")
    result = job.execute_in_process(instance=instance, raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation.passed


def test_a_whole_archive_has_no_gap(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    store_segments(installation.primary, installation.codec, 2, 5)

    assert wal_has_no_gap(instance, installation)


def test_a_missing_segment_is_a_gap(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    stored = store_segments(installation.primary, installation.codec, 2, 5)
    installation.primary.delete(stored[1])

    assert not wal_has_no_gap(instance, installation)


def test_an_empty_archive_is_red(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    assert not wal_has_no_gap(instance, installation)


def test_the_wal_job_looks_at_the_archive_and_brings_wal_offsite(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    store_segments(installation.primary, installation.codec, 2, 4)
    job = installation.definitions().resolve_job_def("wal_job")

    first = job.execute_in_process(instance=instance)
    second = job.execute_in_process(instance=instance)

    assert len(list(installation.offsite.list("wal/"))) == 3
    (observed,) = first.get_asset_observation_events()
    assert observed.asset_observation_data.asset_observation.metadata["segments"].value == 3
    assert len(first.asset_materializations_for_node("postgres__offsite_wal")) == 1
    assert second.success
    assert second.asset_materializations_for_node("postgres__offsite_wal") == []


def test_wal_that_cannot_be_copied_fails_the_run(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    store_segments(installation.primary, installation.codec, 2, 3)
    store_wal(installation.primary, installation.codec, segment(4).name, b"not WAL")
    job = installation.definitions().resolve_job_def("wal_job")

    result = job.execute_in_process(instance=instance, raise_on_error=False)

    assert not result.success


def test_only_errors_a_retry_can_help_are_retried() -> None:
    with pytest.raises(dg.Failure) as unavailable, reported_failures():
        raise RepositoryUnavailable("get x: no answer")
    with pytest.raises(dg.Failure) as missing, reported_failures():
        raise BucketMissing("open x: no such bucket")

    assert unavailable.value.allow_retries
    assert not missing.value.allow_retries
    assert missing.value.metadata["exit_code"].value == 17


def test_an_interrupt_passes_through() -> None:
    with pytest.raises(KeyboardInterrupt), reported_failures():
        raise KeyboardInterrupt


def test_a_step_says_that_it_lives_and_stops_saying_so() -> None:
    said: list[str] = []
    twice = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            twice.set()

    with signs_of_life(say, seconds=0.01):
        assert twice.wait(60)

    assert said[0].startswith("still at work")
    assert "signs of life" not in {thread.name for thread in threading.enumerate()}


def test_a_table_keeps_its_columns_whatever_a_cell_holds() -> None:
    shown = table(("a", "b"), [("x|y", "one\ntwo")])

    assert isinstance(shown.value, str)
    assert shown.value.splitlines()[-1] == "| x\\|y | one two |"
