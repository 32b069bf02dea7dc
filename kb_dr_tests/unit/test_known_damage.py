"""A backup that has rotted since it was proven replaces no other."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.integrity_report import CopyReport, Coverage, IntegrityReport, Reread
from kb_dr.operations.report_records import store_report
from kb_dr_tests.made_history import History

DAMAGE = "get memory://primary/full/x/base.tar.zst.age.00000: its bytes are not those recorded"


@pytest.fixture
def history() -> History:
    """Three weeks of daily backups, the newest proven."""
    made = History.begin(others=("offsite",))
    made.days(21)
    return made


def report(history: History, *damaged: str, minutes: int = 0, url: str = "") -> IntegrityReport:
    at = history.clock.now() + timedelta(minutes=minutes)
    copy = CopyReport(
        copy="primary",
        url=url or history.repository.url,
        problem="",
        backups=(),
        wal_files=0,
        wal_bytes=0,
        stretches=(),
        reread=Reread((3,), 1, 1, 0, damaged, damaged_slices=(3,) if damaged else ()),
        read_since=None,
    )
    return IntegrityReport(
        schema_version=1,
        id=f"{at:%Y%m%d-%H%M%S}-ab",
        service="kb",
        at=at,
        finished=at,
        host="db1",
        proof_age_seconds=1,
        copies=(replace(copy, copy="offsite", url="memory://offsite"), copy),
        coverage=Coverage(None, None, None),
    )


def going(history: History) -> int:
    planned = history.plan().plan
    return len(planned.expire) + len(planned.purge_now) + len(planned.wal)


def test_nothing_goes_while_the_newest_report_knows_of_damage(history: History) -> None:
    assert going(history)
    # Kept in the other copy alone: the primary was full, say.
    store_report(history.others, report(history, DAMAGE))

    planned = history.plan()

    assert going(history) == 0
    assert planned.plan.stopped
    assert any("kb-dr copy --repair" in note for note in planned.plan.notes)


def test_it_goes_on_once_a_report_has_seen_it_mended(history: History) -> None:
    store_report([history.repository], report(history, DAMAGE))
    assert going(history) == 0

    store_report([history.repository], report(history, minutes=5))

    assert going(history)


def test_damage_of_another_place_says_nothing_of_this_one(history: History) -> None:
    store_report([history.repository], report(history, DAMAGE, url="memory://before-the-move"))

    assert going(history)


def test_a_newest_report_that_cannot_be_read_may_be_the_one(history: History) -> None:
    store_report([history.repository], report(history))
    history.repository.put(layout.report_key("20991231-000000-ab"), b"{")

    assert going(history) == 0
