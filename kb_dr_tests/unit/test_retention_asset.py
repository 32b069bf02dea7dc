"""The daily retention in Dagster: carried out for each copy, shown, and loud when it is not."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.sensors import pages_follow_the_repository
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Verdict
from kb_dr.errors import NoUsableBackup
from kb_dr.operations.catalog import load_catalog, readable
from kb_dr_tests.fakes import FakeClock, RecordingProgress
from kb_dr_tests.made_installation import MadeInstallation

DAY = timedelta(days=1)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    return MadeInstallation(tmp_path)


def _aged(installation: MadeInstallation) -> list[StoredManifest]:
    """Two backups of one hour, and one of the next day that is proven: the second one goes."""
    first = installation.has_backup()
    second = installation.has_backup(days=1)
    third = installation.has_backup(days=60)
    for each in (first, second, third):
        installation.has_offsite_copy(each)
        installation.has_proof(each, Verdict.PROVEN, copy="primary")
    _a_day_later(installation, third)
    return [first, second, third]


def _a_day_later(installation: MadeInstallation, newest: StoredManifest) -> None:
    """Everything was stored when the newest backup was, and a day has passed."""
    for memory in installation.memory.values():
        for key in memory.bodies:
            memory._modified[key] = newest.manifest.finished
    assert isinstance(installation.clock, FakeClock)
    installation.clock.set(newest.manifest.finished + DAY)


def _run(installation: MadeInstallation, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = installation.definitions().resolve_job_def("retention_job")
    return job.execute_in_process(instance=instance, raise_on_error=False)


def _ids(installation: MadeInstallation, copy: str) -> list[str]:
    return [each.manifest.id for each in readable(load_catalog(installation.memory[copy]))]


def test_a_run_carries_the_plan_out_and_shows_why(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    first, second, third = _aged(installation)

    result = _run(installation, instance)

    assert result.success
    assert _ids(installation, "primary") == [first.manifest.id, third.manifest.id]
    (event,) = result.asset_materializations_for_node("repository__retention")
    shown = event.metadata
    assert shown["primary_expired"].value == 1
    assert shown["offsite_expired"].value == 0, "nothing is proven there"
    assert second.manifest.id in str(shown["primary_done"].value)
    assert "expire" in str(shown["primary_plan"].value)
    assert len(_ids(installation, "offsite")) == 3


def test_what_is_brought_back_is_held_and_does_not_go_again(
    installation: MadeInstallation,
) -> None:
    _, second, _ = _aged(installation)
    backup = second.manifest.backup_id
    progress = RecordingProgress()
    installation.apply_retention(installation.plan_retention("primary"), progress)
    assert str(backup) not in _ids(installation, "primary")

    back = installation.undelete(backup, "primary", "asked for by the auditors")

    assert back.brought_back == (str(backup),)
    assert [each.reason for each in installation.holds(backup)] == ["asked for by the auditors"]
    installation.apply_retention(installation.plan_retention("primary"), progress)
    assert str(backup) in _ids(installation, "primary")


def test_what_cannot_come_back_is_not_held(installation: MadeInstallation) -> None:
    _, second, _ = _aged(installation)
    installation.apply_retention(installation.plan_retention("primary"), RecordingProgress())
    installation.primary.delete(second.manifest.chunks[0].key)

    with pytest.raises(NoUsableBackup):
        installation.undelete(second.manifest.backup_id, "primary", "asked for")
    assert installation.holds(second.manifest.backup_id) == ()


def test_what_cannot_be_read_fails_the_run_and_nothing_goes(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    stored = _aged(installation)
    installation.offsite.bodies[layout.manifest_key(stored[0].manifest.backup_id)] = b"{"

    result = _run(installation, instance)

    assert not result.success
    (failure,) = [each for each in result.all_events if each.is_step_failure]
    data = failure.step_failure_data.user_failure_data
    assert data is not None
    assert data.metadata["exit_code"].value == 54
    assert (data.description or "").startswith("offsite: ")
    assert len(_ids(installation, "primary")) == 2, "the copy that can be read is served"
    assert len(_ids(installation, "offsite")) == 2


def test_what_has_expired_everywhere_leaves_the_pages(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    installation = MadeInstallation(tmp_path, offsite=False)
    for number in range(3):
        installation.has_backup(days=number)
    stored = list(readable(load_catalog(installation.primary)))
    installation.has_proof(stored[2], Verdict.PROVEN, copy="primary")
    third = installation.has_backup(days=60)
    installation.has_proof(third, Verdict.PROVEN, copy="primary")
    _a_day_later(installation, third)
    context = dg.build_sensor_context(instance=instance)
    door = InstallationDoor(lambda: installation)
    pages_follow_the_repository(context, door=door)
    before = set(instance.get_dynamic_partitions(POSTGRES_BACKUPS))

    assert _run(installation, instance).success
    pages_follow_the_repository(dg.build_sensor_context(instance=instance), door=door)

    after = set(instance.get_dynamic_partitions(POSTGRES_BACKUPS))
    assert after == set(_ids(installation, "primary"))
    assert after < before
    assert instance.get_latest_materialization_event(keys.BACKUP) is not None
