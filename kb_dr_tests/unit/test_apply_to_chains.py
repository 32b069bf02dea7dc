"""Retention applied to chains: children first, and no parent from under a child."""

from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupKind
from kb_dr.operations.holds import hold
from kb_dr.operations.purge_backup import Outcome
from kb_dr_tests.made_history import History, restorable

DAY = timedelta(days=1)


@pytest.fixture
def history() -> History:
    """Three weeks of daily backups, the newest proven."""
    made = History.begin(others=("offsite",))
    made.days(21)
    return made


def test_children_go_before_what_they_are_built_upon(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History.begin()
    chain = history.chain()
    history.clock.pass_time(200 * DAY)
    history.days(70, all_proven=True)
    deleted: list[str] = []
    delete = history.repository.delete

    def note(key: str) -> None:
        deleted.append(key)
        delete(key)

    monkeypatch.setattr(history.repository, "delete", note)
    history.apply()

    manifests = [layout.manifest_key(each.manifest.backup_id) for each in reversed(chain)]
    assert [key for key in deleted if key in manifests] == manifests


def test_a_parent_stays_with_the_child_that_stays() -> None:
    history = History.begin()
    full, one, two = history.chain()
    hold(history.places, history.clock, two.manifest.backup_id, "audit")
    history.clock.pass_time(200 * DAY)
    history.days(70, all_proven=True)
    history.apply()

    assert {each.manifest.id for each in (full, one, two)} <= restorable(history.repository)


def test_a_child_that_comes_after_the_plan_keeps_its_parents() -> None:
    history = History.begin()
    full = history.back_up()
    history.clock.pass_time(200 * DAY)
    history.days(70, all_proven=True)
    planned = history.plan()
    assert full.manifest.id in [each.id for each in planned.plan.expire]
    child = history.back_up(BackupKind.INCR, full)
    done = history.apply(planned)

    assert {full.manifest.id, child.manifest.id} <= restorable(history.repository)
    spared = [each for each in done.dealt if each.outcome is Outcome.SPARED]
    assert [each.backup_id for each in spared] == [full.manifest.id]


def test_a_parent_that_expired_under_a_child_is_brought_back() -> None:
    history = History.begin()
    full = history.back_up()
    history.clock.pass_time(200 * DAY)
    history.days(70, all_proven=True)
    history.apply()
    assert full.manifest.id not in history.ids
    child = history.back_up(BackupKind.INCR, full)  # begun before, ended after
    done = history.apply()

    assert done.count(Outcome.BROUGHT_BACK) == 1
    assert {full.manifest.id, child.manifest.id} <= restorable(history.repository)
