"""Dagster's storage as configured: events are written to, and read from, a real PostgreSQL."""

import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster_postgres.event_log import PostgresEventLogStorage

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.defs import ledger
from kb_dr.defs.kept_answers import ASKED
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.pooled_storage import KEPT
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.sensors import pages_follow_the_repository
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.proof import Verdict
from kb_dr.sandbox.dagster_services import prepare_instance
from kb_dr_tests.dagster_storage import LoopbackCluster, dagster_storage, storage_environment
from kb_dr_tests.made_installation import MadeInstallation


@pytest.fixture(scope="module")
def storage(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LoopbackCluster]:
    with dagster_storage(postgres_programs, tmp_path_factory.mktemp("storage")) as cluster:
        yield cluster


@pytest.fixture
def home(storage: LoopbackCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DAGSTER_HOME with the settings of this repository."""
    for name, value in storage_environment(storage).items():
        monkeypatch.setenv(name, value)
    return prepare_instance(tmp_path)


def test_an_event_written_through_the_configured_storage_can_be_read(home: Path) -> None:
    asset = dg.AssetKey("written")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(asset, metadata={"n": 7}))

    with dg.DagsterInstance.from_config(str(home)) as again:
        event = again.get_latest_materialization_event(asset)

    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["n"].value == 7


def test_a_lost_database_is_filled_again_from_the_repositories(
    home: Path, storage: LoopbackCluster, tmp_path: Path
) -> None:
    installation = MadeInstallation(tmp_path)
    stored = installation.has_backup()
    installation.has_offsite_copy(stored)
    installation.has_proof(stored, Verdict.PROVEN)
    failed = installation.has_backup(days=1)
    installation.has_proof(failed, Verdict.PROVEN, copy="primary")
    lights = []

    for _ in range(2):
        storage.query("drop database dagster with (force)")
        storage.query("create database dagster")
        with dg.DagsterInstance.from_config(str(home)) as instance:
            assert ledger.shown(instance, keys.RESTORE_PROVEN) == {}
            for proof_is_red in (False, True):
                if proof_is_red:
                    installation.has_proof(failed, Verdict.FAILED, copy="primary", minutes=20)
                pages_follow_the_repository(
                    dg.build_sensor_context(
                        instance=instance,
                        resources={"door": InstallationDoor(lambda: installation)},
                    )
                )
            lights.append(ledger.shown(instance, keys.RESTORE_PROVEN))
            assert set(instance.get_dynamic_partitions(POSTGRES_BACKUPS)) == {
                stored.manifest.id,
                failed.manifest.id,
            }

    assert lights[0] == lights[1] == {stored.manifest.id: True, failed.manifest.id: False}


def sessions(storage: LoopbackCluster) -> int:
    """How often anybody connected to Dagster's database so far."""
    time.sleep(1.1)  # a session reports what it did once in a second
    return int(storage.value("select sessions from pg_stat_database where datname = 'dagster'"))


def test_connections_are_kept_and_those_that_broke_are_made_anew(
    home: Path, storage: LoopbackCluster
) -> None:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        known = instance.get_runs(limit=1)
        before = sessions(storage)
        for _ in range(20):
            instance.get_runs(limit=1)
            # As each tick does in the code server.
            with dg.DagsterInstance.from_config(str(home)) as another:
                another.get_dynamic_partitions(POSTGRES_BACKUPS)
        assert sessions(storage) - before <= KEPT

        storage.query(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'dagster'"
        )
        assert instance.get_runs(limit=1) == known


def test_what_is_there_is_asked_once_and_what_is_not_each_time(
    home: Path, storage: LoopbackCluster
) -> None:
    with (
        psycopg.connect(storage.conninfo("dagster"), autocommit=True) as database,
        dg.DagsterInstance.from_config(str(home)) as instance,
        dg.DagsterInstance.from_config(str(home)) as another,
    ):
        one, two = instance.event_log_storage, another.event_log_storage
        assert isinstance(one, PostgresEventLogStorage)
        assert isinstance(two, PostgresEventLogStorage)
        assert not one.has_table("asked_for")
        database.execute("create table asked_for ()")
        assert one.has_table("asked_for")
        assert not one.has_table("asked_for_too")

        database.execute("drop table asked_for")
        assert two.has_table("asked_for"), "it was asked again"


def test_every_question_that_is_kept_is_one_that_dagster_asks(home: Path) -> None:
    """A new Dagster that has another word for it would silently ask as often as before."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        parts = (instance.event_log_storage, instance.run_storage, instance.schedule_storage)
        for name in ASKED:
            assert any(hasattr(type(part), name) for part in parts), name
