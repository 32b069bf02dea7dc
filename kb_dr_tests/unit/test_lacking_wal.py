"""No run is started for WAL that is not there, and one is whenever there is any doubt."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.defs.postgres.follow_wal import ANYWAY_AFTER
from kb_dr.defs.postgres.schedules import make_schedules
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain import layout
from kb_dr.domain.retention import WalRange
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.purged_wal import note_purged_wal
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.stored_backups import SEGMENT_BYTES, SYSTEM, segment, store_segments

SCHEDULES = {"wal_every_minute": ("wal_job", "offsite"),
             "wal_to_the_local_copy": ("local_wal_job", "local")}  # fmt: skip
FAILED, DONE, GOING_ON = (
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.STARTED,
)


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    """Primary, offsite and local, each with the same three segments."""
    made = MadeInstallation(tmp_path, local=True)
    store_segments(made.primary, made.codec, 2, 4)
    for copy in ("offsite", "local"):
        made.copy_wal(SilentProgress(), copy)
    return made


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "home"
    home.mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as made:
        yield made


def a_segment_more(made: MadeInstallation) -> None:
    store_segments(made.primary, made.codec, 5, 5)


def a_state_of_the_open_segment(made: MadeInstallation) -> None:
    upto = segment(5).start.plus(64)
    made.primary.put(layout.partial_key(SYSTEM, segment(5).name, upto), b"shipped")


def a_segment_lost_in_the_copies(made: MadeInstallation) -> None:
    for repository in (made.offsite, made.local):
        repository.delete(next(repository.list("wal/")).key)


def another_size_in_the_copies(made: MadeInstallation) -> None:
    for repository in (made.offsite, made.local):
        key = next(repository.list("wal/")).key
        repository.delete(key)
        repository.put(key, b"cut off")


NEWS: list[Callable[[MadeInstallation], None]] = [
    a_segment_more,
    a_state_of_the_open_segment,
    a_segment_lost_in_the_copies,
    another_size_in_the_copies,
]


@pytest.mark.parametrize("happens", NEWS)
@pytest.mark.parametrize("copy", ["offsite", "local"])
def test_whatever_a_copy_lacks_is_seen(
    installation: MadeInstallation, copy: str, happens: Callable[[MadeInstallation], None]
) -> None:
    assert not installation.lacks_wal(copy)

    happens(installation)

    assert installation.lacks_wal(copy)


def test_what_a_copy_let_go_of_is_not_lacking(installation: MadeInstallation) -> None:
    first = segment(2).name
    gone = WalRange(SYSTEM, 1, first, first, 1, 0)
    note_purged_wal(installation.offsite, installation.clock, [gone], {SYSTEM: SEGMENT_BYTES})
    installation.offsite.delete(next(installation.offsite.list("wal/")).key)

    assert not installation.lacks_wal("offsite")


def tick(
    name: str,
    instance: dg.DagsterInstance,
    installation: MadeInstallation,
    later: timedelta = timedelta(minutes=1),
) -> bool:
    """Whether a run is asked for."""
    (schedule,) = [each for each in make_schedules(ScheduleTimes()) if each.name == name]
    assert isinstance(schedule, dg.ScheduleDefinition)
    asked: Any = schedule(
        dg.build_schedule_context(
            instance=instance,
            scheduled_execution_time=datetime.now(UTC) + later,
            resources={"door": InstallationDoor(lambda: installation)},
        )
    )
    assert isinstance(asked, dg.RunRequest | dg.SkipReason)
    return isinstance(asked, dg.RunRequest)


def ran(instance: dg.DagsterInstance, name: str, status: dg.DagsterRunStatus) -> None:
    instance.add_run(dg.DagsterRun(job_name=SCHEDULES[name][0], status=status))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_minute_without_news_takes_no_run(
    name: str, instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    assert tick(name, instance, installation)  # nobody knows yet how the last one went

    ran(instance, name, DONE)
    assert not tick(name, instance, installation)

    a_segment_more(installation)
    assert tick(name, instance, installation)
    ran(instance, name, GOING_ON)
    assert not tick(name, instance, installation)


@pytest.mark.parametrize("name", SCHEDULES)
def test_behind_a_run_that_failed_there_is_no_rest(
    name: str, instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    ran(instance, name, DONE)
    ran(instance, name, FAILED)

    assert tick(name, instance, installation)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_switch_and_the_page_hear_of_it_every_five_minutes_all_the_same(
    name: str, instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    ran(instance, name, DONE)

    assert timedelta(minutes=4) < ANYWAY_AFTER < timedelta(minutes=5)
    assert tick(name, instance, installation, timedelta(minutes=5))


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_copy_that_does_not_answer_is_left_to_the_run_to_complain_of(
    name: str,
    instance: dg.DagsterInstance,
    installation: MadeInstallation,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(copy: str) -> bool:
        raise RepositoryUnavailable(f"list {copy}: no answer")

    ran(instance, name, DONE)
    monkeypatch.setattr(installation, "lacks_wal", refuse)

    assert tick(name, instance, installation)


def test_without_a_further_copy_the_archive_is_looked_at_every_five_minutes(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    alone = MadeInstallation(tmp_path / "alone", offsite=False)
    store_segments(alone.primary, alone.codec, 2, 3)
    ran(instance, "wal_every_minute", DONE)

    assert not tick("wal_every_minute", instance, alone)
    assert tick("wal_every_minute", instance, alone, timedelta(minutes=5))
