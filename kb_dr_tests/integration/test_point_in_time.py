"""A lost cluster comes back exactly as it was at any time, LSN or restore point asked for."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.recovery_target import AtLsn, AtName, AtTime, Latest
from kb_dr.errors import NoUsableBackup, TargetUnreachable, TimelineForked
from kb_dr.operations.plan_target import Wanted
from kb_dr.operations.recovery_windows import list_recovery_windows
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.recoverable import (
    Commit,
    RecoverableService,
    commits,
    entries,
    make_ledger,
    several_writers,
    write,
)

SEED = 20261127
TIMES = 20
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Lost:
    """What is left of a cluster that was written to by several sessions, and what is known."""

    service: RecoverableService
    first: StoredManifest
    second: StoredManifest
    committed: list[Commit]
    named_lsn: Lsn
    named_ids: set[int]
    first_began: datetime

    def ids_at(self, at: datetime) -> set[int]:
        return {each.id for each in self.committed if each.at <= at}


@pytest.fixture(scope="module")
def lost(postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory) -> Lost:
    service = RecoverableService(postgres_programs, tmp_path_factory.mktemp("pitr"))
    with service.in_service() as cluster:
        make_ledger(cluster)
        began = write(cluster, "before every backup")
        first = service.back_up(cluster)
        with several_writers(cluster):
            for _ in range(4):
                cluster.wait_for("select pg_sleep(0.2) is not null")
                cluster.switch_wal()
            second = service.back_up(cluster)
            cluster.wait_for("select pg_sleep(0.3) is not null")
            cluster.switch_wal()
        lsn = Lsn.parse(cluster.value("select pg_create_restore_point('a name')::text"))
        named = {row[0] for row in cluster.query("select id from ledger")}
        write(cluster, "the last one")
        found = commits(cluster)
        cluster.archive_everything()
        cluster.lose()
    return Lost(service, first, second, found, lsn, named, began)


def _restored_ids(lost: Lost, wanted: Wanted) -> set[int]:
    restored, place = lost.service.restore(wanted)
    assert restored.reach.complete
    assert restored.reach.reached_lsn == restored.plan.recovery.expected_end
    with RunningCluster(lost.service.programs, place) as cluster:
        assert cluster.value("show archive_mode") == "off"
        return {row[0] for row in cluster.query("select id from ledger")}


@pytest.mark.parametrize("number", range(TIMES))
def test_each_random_time_gives_exactly_the_commits_up_to_then(lost: Lost, number: int) -> None:
    draw = random.Random(f"{SEED}-{number}")
    reachable = [each.at for each in lost.committed if each.at > lost.first.manifest.finished]
    at = reachable[0] + (reachable[-1] - reachable[0]) * draw.random()

    found = _restored_ids(lost, Wanted(AtTime(at)))

    expected = lost.ids_at(at)
    assert found == expected, f"seed {SEED}-{number}, asked for {at.isoformat()}"
    assert 0 < len(expected) < len(lost.committed)


def _most_alone(lost: Lost) -> datetime:
    """When the commit was made that is farthest from those before and after it.

    A session takes the time of its commit before it writes the record: of two that commit within
    a moment the later one may stand first, and there PostgreSQL stops.
    """
    times = sorted(each.at for each in lost.committed if each.at > lost.first.manifest.finished)
    return max(
        zip(times, times[1:], times[2:], strict=False),
        key=lambda three: min(three[1] - three[0], three[2] - three[1]),
    )[1]


def test_the_microsecond_of_a_commit_belongs_to_it_unless_it_is_excluded(lost: Lost) -> None:
    at = _most_alone(lost)

    assert _restored_ids(lost, Wanted(AtTime(at))) == lost.ids_at(at)
    assert _restored_ids(lost, Wanted(AtTime(at, inclusive=False))) == lost.ids_at(at - MICROSECOND)


def test_a_restore_point_gives_what_was_committed_before_it(lost: Lost) -> None:
    assert _restored_ids(lost, Wanted(AtName("a name"))) == lost.named_ids


def test_a_backups_own_restore_point_can_be_asked_for(lost: Lost) -> None:
    name = lost.second.manifest.fingerprint.restore_point

    plan = lost.service.plan(Wanted(AtName(name))).recovery

    assert plan.stored.manifest.id == lost.second.manifest.id
    assert plan.expected_end == lost.second.manifest.fingerprint.lsn
    _restored_ids(lost, Wanted(AtName(name)))


def test_an_lsn_gives_the_record_that_begins_there_or_stops_before_it(lost: Lost) -> None:
    # The record behind the restore point is the insert of the last row; its commit comes later.
    assert _restored_ids(lost, Wanted(AtLsn(lost.named_lsn, inclusive=False))) == lost.named_ids
    assert _restored_ids(lost, Wanted(AtLsn(lost.named_lsn))) == lost.named_ids


def test_the_newest_backup_that_is_whole_by_then_is_chosen(lost: Lost) -> None:
    late = lost.service.plan(Wanted(AtTime(lost.committed[-2].at))).recovery
    early_at = next(e.at for e in lost.committed if e.at > lost.first.manifest.finished)
    early = lost.service.plan(Wanted(AtTime(early_at))).recovery

    assert late.stored.manifest.id == lost.second.manifest.id
    assert early.stored.manifest.id == lost.first.manifest.id


def test_a_time_inside_a_backup_is_served_from_the_one_before(lost: Lost) -> None:
    manifest = lost.second.manifest
    inside = [e.at for e in lost.committed if manifest.started < e.at]
    # Rows were committed while the backup ran; the first of them lies between start and stop.
    plan = lost.service.plan(Wanted(AtTime(inside[0]))).recovery

    assert plan.stored.manifest.id == lost.first.manifest.id
    assert plan.expected_end < manifest.wal.stop
    assert _restored_ids(lost, Wanted(AtTime(inside[0]))) == lost.ids_at(inside[0])


def test_a_time_before_every_backup_is_refused(lost: Lost) -> None:
    with pytest.raises(NoUsableBackup, match="before every backup") as refused:
        lost.service.plan(Wanted(AtTime(lost.first_began - timedelta(hours=1))))

    assert f"{lost.first.manifest.wal.stop}" in refused.value.hint


def test_a_time_inside_the_only_backup_is_refused(lost: Lost) -> None:
    manifest = lost.second.manifest
    inside = next(e.at for e in lost.committed if manifest.started < e.at)

    with pytest.raises(NoUsableBackup, match=f"between start and end of {manifest.id}"):
        lost.service.plan(Wanted(AtTime(inside), backup=manifest.backup_id))


def test_a_time_behind_the_newest_archived_commit_is_refused(lost: Lost) -> None:
    with pytest.raises(TargetUnreachable, match="behind the newest archived commit"):
        lost.service.plan(Wanted(AtTime(lost.committed[-1].at + timedelta(seconds=30))))


def test_a_time_in_the_future_is_refused(lost: Lost) -> None:
    with pytest.raises(TargetUnreachable, match="it lies in the future"):
        lost.service.plan(Wanted(AtTime(lost.committed[-1].at + timedelta(days=1))))


def test_an_unknown_restore_point_is_refused(lost: Lost) -> None:
    with pytest.raises(TargetUnreachable, match="no such restore point"):
        lost.service.plan(Wanted(AtName("a nAme")))


def test_an_lsn_behind_the_archive_is_refused(lost: Lost) -> None:
    with pytest.raises(TargetUnreachable, match="behind the newest"):
        lost.service.plan(Wanted(AtLsn(Lsn.parse("FF/0"))))


def test_an_lsn_before_every_backup_is_refused(lost: Lost) -> None:
    with pytest.raises(NoUsableBackup, match="before every backup"):
        lost.service.plan(Wanted(AtLsn(Lsn.parse("0/1000"))))


def test_one_window_reaches_from_the_first_backup_to_the_last_record(lost: Lost) -> None:
    [window] = list_recovery_windows(lost.service.repository, lost.service.codec)

    assert window.begins_lsn == lost.first.manifest.wal.stop
    assert window.ends_at is not None
    assert window.ends_at >= lost.committed[-1].at
    assert window.backups == (lost.first.manifest.id, lost.second.manifest.id)
    assert window.ended_by == "end of the archive"
    assert window.ends_lsn is not None
    assert lost.service.plan(Wanted(AtLsn(window.ends_lsn))).recovery.expected_end


def test_back_and_forth_across_the_timelines_this_makes(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    service = RecoverableService(postgres_programs, tmp_path)
    with service.in_service() as cluster:
        make_ledger(cluster)
        write(cluster, "a")
        service.back_up(cluster)
        t1 = write(cluster, "b")
        t2 = write(cluster, "c")
        write(cluster, "d")
        cluster.archive_everything()
        cluster.lose()
    for number, (at, expected) in enumerate(
        [(t1, ["a", "b"]), (t2, ["a", "b", "c"]), (t1, ["a", "b"])], start=2
    ):
        restored, place = service.restore(Wanted(AtTime(at)))

        assert restored.reach.reached_timeline == 1
        with service.in_service(place) as cluster:
            assert entries(cluster) == expected
            assert cluster.value("select timeline_id from pg_control_checkpoint()") == number
            on_new = write(cluster, f"on timeline {number}")
            write(cluster, "and one more")
            cluster.archive_everything()
            cluster.lose()
        plan = service.plan(Wanted(AtTime(on_new))).recovery
        assert (plan.timeline, plan.copy) == (number, "primary")

    latest, place = service.restore(Wanted(Latest()))
    assert latest.reach.reached_timeline == 4
    with service.in_service(place) as cluster:
        assert entries(cluster) == ["a", "b", "on timeline 4", "and one more"]
        service.back_up(cluster)
        cluster.archive_everything()
    assert [w.timeline for w in list_recovery_windows(service.repository, service.codec)] == [
        1, 2, 3, 5,
    ]  # fmt: skip
    old_end = service.plan(Wanted(Latest(), timeline=1)).recovery
    assert (old_end.timeline, old_end.expected_timeline) == (1, 1)
    with pytest.raises(TimelineForked, match="which timeline 3 does not share"):
        service.plan(Wanted(AtTime(on_new), timeline=3))
    with pytest.raises(TimelineForked, match="no such timeline"):
        service.plan(Wanted(AtTime(on_new), timeline=9))
