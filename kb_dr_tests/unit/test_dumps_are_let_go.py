"""Retention applied to base backups and dumps in one copy: each goes by its own proofs alone."""

from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.proof import Verdict
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.operations.catalog import load_catalog, read_manifest, readable
from kb_dr.operations.purge_backup import Outcome
from kb_dr.operations.tombstones import read_steps
from kb_dr.operations.validate_backup import validate_backup
from kb_dr_tests.fakes import PlainCodec, RecordingProgress
from kb_dr_tests.made_dumps import store_dump
from kb_dr_tests.made_history import History

CODEC = PlainCodec()
DAY = timedelta(days=1)


@pytest.fixture
def history() -> History:
    """Three weeks of base backups, one of them proven, and of dumps, the newest proven."""
    made = History.begin(others=("offsite",))
    made.days(21)
    began = made.clock.now()
    for day in range(21):
        started = began - (21 - day) * DAY + timedelta(hours=1)
        dump = store_dump(made.repository, CODEC, started=started)
    made.prove(dump)
    return made


def dumps_in(history: History) -> list[str]:
    found = readable(load_catalog(history.repository, kinds=(BackupKind.DUMP,)))
    return [each.manifest.id for each in found]


def test_dumps_go_by_the_policy_and_are_brought_back_while_their_objects_stand(
    history: History,
) -> None:
    before = dumps_in(history)
    planned = history.plan()
    going = [each.id for each in planned.plan.expire if "-dump-" in each.id]

    done = history.apply(planned)

    assert going
    assert dumps_in(history) == [each for each in before if each not in going]
    assert {each.outcome for each in done.dealt} == {Outcome.EXPIRED}
    history.undelete(going[0])
    assert going[0] in dumps_in(history)
    found = validate_backup(
        history.repository, CODEC, BackupId.parse(going[0]), RecordingProgress(), deep=True
    )
    assert found.sound
    history.clock.pass_time(4 * DAY)
    history.another_day()
    store_dump(history.repository, CODEC, started=history.clock.now())
    history.apply()
    for name in going[1:]:
        backup = BackupId.parse(name)
        assert not list(history.repository.list(layout.backup_prefix(backup)))
        steps = [each.step for each in read_steps(history.repository, backup, "primary")]
        assert steps == [PurgeStep.EXPIRED, PurgeStep.PURGED]


def test_what_goes_of_base_backups_and_wal_is_the_same_without_any_dump(history: History) -> None:
    with_dumps = history.plan().plan
    for name in dumps_in(history):
        for each in list(history.repository.list(layout.backup_prefix(BackupId.parse(name)))):
            history.repository.delete(each.key)
        for each in list(history.repository.list(layout.proofs_prefix(BackupId.parse(name)))):
            history.repository.delete(each.key)

    without = history.plan().plan

    assert without.wal
    assert with_dumps.wal == without.wal
    assert without.decisions == tuple(
        each for each in with_dumps.decisions if "-dump-" not in each.id
    )


def test_a_dump_that_fails_stops_no_base_backup_and_no_base_backups_green_lifts_it(
    history: History,
) -> None:
    dump = read_manifest(history.repository, BackupId.parse(dumps_in(history)[-1]))
    history.prove(dump, Verdict.FAILED)
    history.another_day()

    made = history.plan().plan

    assert any("-full-" in each.id for each in made.expire)
    assert not any("-dump-" in each.id for each in made.expire)
    assert any(each.startswith("no dump goes: the newest proof") for each in made.notes)


def test_a_dump_that_loads_lifts_nothing_that_a_base_backup_has_stopped(history: History) -> None:
    base = readable(load_catalog(history.repository))[-1]
    history.prove(base, Verdict.FAILED)
    dump = read_manifest(history.repository, BackupId.parse(dumps_in(history)[-1]))
    history.prove(dump, Verdict.PROVEN)

    made = history.plan().plan

    assert made.stopped
    assert not any("-full-" in each.id for each in made.expire)
    assert made.wal == ()


def test_a_dump_that_came_meanwhile_lets_wal_go_all_the_same(history: History) -> None:
    planned = history.plan()
    store_dump(history.repository, CODEC, started=history.clock.now())

    done = history.apply(planned)

    assert done.wal.files > 0
