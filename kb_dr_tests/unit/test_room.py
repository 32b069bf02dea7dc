"""A place that fills up is said in time, and nothing is begun that does not fit."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.domain.layout import manifest_key
from kb_dr.domain.proof import Outcome
from kb_dr.domain.space import Room, Space
from kb_dr.errors import NotEnoughSpace, RepositoryUnavailable
from kb_dr.operations.catalog import load_catalog
from kb_dr.operations.room import newest_full
from kb_dr_tests.counting_repository import CountingRepository
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_copies import QUIET, bodies
from kb_dr_tests.made_installation import MadeInstallation


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    """Primary, offsite and local."""
    return MadeInstallation(tmp_path, local=True)


@pytest.mark.parametrize(
    ("free", "needed", "enough", "filling_up", "outcome"),
    [
        (30, 10, True, False, Outcome.PASSED),
        (20, 10, True, True, Outcome.PASSED),
        (10, 10, True, True, Outcome.PASSED),
        (9, 10, False, True, Outcome.FAILED),
        (50, 60, False, False, Outcome.FAILED),
    ],
)
def test_room_is_judged_by_what_is_used_and_by_what_is_needed(
    free: int, needed: int, enough: bool, filling_up: bool, outcome: Outcome
) -> None:
    room = Room("local", Space(100, free), needed, 80.0)

    assert (room.enough, room.filling_up) == (enough, filling_up)
    assert room.finding.outcome is outcome
    assert ("WARNING" in room.finding.seen) is (enough and filling_up)


def test_a_bucket_has_no_end_and_a_file_system_without_blocks_is_full() -> None:
    room = Room("offsite", None, 1000, 80.0)

    assert (room.enough, room.finding.outcome) == (True, Outcome.NOT_APPLICABLE)
    assert Space(0, 0).used_percent == 100.0


def test_a_directory_tells_the_room_of_its_file_system(tmp_path: Path) -> None:
    space = DirectoryRepository(tmp_path, "local").space()

    assert 0 <= space.free_bytes <= space.total_bytes
    assert space.total_bytes > 0


def test_a_copy_that_does_not_fit_is_refused_before_a_byte_is_written(
    installation: MadeInstallation,
) -> None:
    stored = installation.has_backup()
    wal = sum(len(body) for key, body in installation.primary.bodies.items() if "wal/" in key)
    needed = wal + sum(each.size_bytes for each in stored.manifest.objects)
    installation.local.room = Space(10**9, needed - 1)

    with pytest.raises(NotEnoughSpace, match="local"):
        installation.copy_backup(stored.manifest.backup_id, "local", QUIET)
    assert bodies(installation, "local") == {}

    installation.local.room = Space(10**9, needed)
    installation.copy_backup(stored.manifest.backup_id, "local", QUIET)
    assert len(load_catalog(installation.local)) == 1


def test_a_backup_that_would_not_fit_is_refused_before_the_source_is_asked(
    installation: MadeInstallation,
) -> None:
    installation.has_backup()
    installation.primary.room = Space(10**9, 10)

    with pytest.raises(NotEnoughSpace, match="back up in primary"):
        installation.back_up(None, QUIET)


def test_no_more_is_read_than_the_newest_full_that_can_be_read(
    installation: MadeInstallation,
) -> None:
    full, damaged = [installation.has_backup(days=days) for days in range(4)][-2:]
    store_increment(installation.primary, installation.codec, damaged)
    installation.primary.bodies[manifest_key(damaged.manifest.backup_id)] = b"damaged"
    counting = CountingRepository(installation.primary)

    assert newest_full(counting) == full.manifest
    assert counting.calls["read"] == 2
    assert newest_full(installation.local) is None


def test_status_says_in_a_note_which_copy_fills_up(installation: MadeInstallation) -> None:
    installation.has_backup()
    installation.local.room = Space(1000, 190)
    installation.primary.room = Space(1000, 900)

    notes = [each for each in installation.status().notes if each.startswith("room in")]

    (note,) = notes
    assert note.startswith("room in local: WARNING")
    assert "81 % used" in note


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.mark.parametrize(
    ("free", "passed", "severity"),
    [
        (10**6, True, None),
        (10**5, False, dg.AssetCheckSeverity.WARN),
        (50, False, dg.AssetCheckSeverity.ERROR),
    ],
)
def test_the_pages_warn_of_a_copy_that_fills_up(
    instance: dg.DagsterInstance,
    installation: MadeInstallation,
    free: int,
    passed: bool,
    severity: dg.AssetCheckSeverity | None,
) -> None:
    installation.has_backup()
    installation.primary.room = Space(10**6, free)
    job = installation.definitions().resolve_job_def("hourly_watch_job")

    result = job.execute_in_process(instance=instance)

    (evaluation,) = rooms(result)
    assert evaluation.passed is passed
    if severity is not None:
        assert evaluation.severity is severity


def test_a_copy_that_cannot_be_asked_has_no_green_room(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    installation.local.failures[""] = RepositoryUnavailable("no answer")
    job = installation.definitions().resolve_job_def("hourly_watch_job")

    result = job.execute_in_process(instance=instance, raise_on_error=False)

    assert not result.success
    assert rooms(result) == []


def rooms(result: dg.ExecuteInProcessResult) -> list[dg.AssetCheckEvaluation]:
    """What the check on room said in a run of the hourly watch."""
    said = result.get_asset_check_evaluations()
    return [each for each in said if each.check_name == "copies_have_room"]
