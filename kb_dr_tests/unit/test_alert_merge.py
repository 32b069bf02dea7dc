"""Two stores that each went on by themselves: no end is lost, and nothing broken is called well."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.domain.alert_book import Book, Changes
from kb_dr.domain.alert_merge import absorb
from kb_dr.domain.alert_rules import take_notice
from kb_dr.domain.message import What
from kb_dr.domain.notice import State
from kb_dr.operations import reach_outbox
from kb_dr_tests.fake_channels import FakeChannel
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.made_alerts import START, AlertSite, MemoryOutbox, notice, rules_of

LATER = START + timedelta(minutes=1)


class Stores:
    """One alert in the database; its end in records of a machine that is lost afterwards."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.slack = directory, FakeChannel()
        self.database, self.bucket = MemoryOutbox(), MemoryRepository("bucket")
        self.site = self._on("first")
        self.site.take(notice())
        self.site.deliver()

    def _on(self, machine: str) -> AlertSite:
        clock = None if machine == "first" else self.site.clock
        return AlertSite(
            self.directory / machine, self.slack, database=self.database,
            places=[self.bucket], clock=clock,
        )  # fmt: skip

    def end_in_records(self) -> None:
        self.database.down = True
        self.site.pass_time(seconds=20)
        self.site.take(notice(state=State.MENDED, at=20))
        self.site.deliver()
        self.database.down = False

    def go_on_elsewhere(self) -> None:
        """As a new process on a new machine: it knows nothing of the records at first."""
        reach_outbox._LOOKED.clear()
        reach_outbox._FELL_BACK.clear()
        self.site = self._on("second")

    @property
    def said(self) -> list[What]:
        return [what for what, _ in self.slack.said]


@pytest.mark.parametrize("times", [1, 2])
def test_what_broke_again_before_the_records_came_in_is_open_and_told(
    tmp_path: Path, times: int
) -> None:
    stores = Stores(tmp_path)
    stores.end_in_records()
    stores.go_on_elsewhere()
    stores.site.pass_time(seconds=20)
    for number in range(times):
        stores.site.take(notice(at=30 + number))
    for _ in range(2):
        stores.site.deliver()
        stores.site.pass_time(seconds=20)

    assert [each.open for each in stores.site.alerts()] == [False, True]
    assert stores.said == [What.OPENED, What.RECOVERED, What.OPENED]
    stores.go_on_elsewhere()
    stores.site.take(notice(state=State.MENDED, at=60))
    stores.site.deliver()
    assert [each.open for each in stores.site.alerts()] == [False, False]


def test_an_end_in_records_is_an_end_though_the_database_went_on(tmp_path: Path) -> None:
    stores = Stores(tmp_path)
    stores.end_in_records()
    kept = dict(stores.bucket.bodies)
    stores.go_on_elsewhere()
    stores.bucket.bodies.clear()  # out of reach meanwhile
    stores.site.pass_time(days=1)
    stores.site.deliver()
    stores.site.pass_time(days=1)
    stores.site.deliver()
    assert stores.site.alerts()[0].open
    stores.bucket.bodies.update(kept)
    stores.go_on_elsewhere()
    stores.site.deliver()

    assert not stores.site.alerts()[0].open


def test_an_acknowledgement_outlives_whatever_the_other_store_did(tmp_path: Path) -> None:
    rules, book = rules_of("slack"), Book()
    take_notice(book, notice(), START, rules)
    (alert,) = book.alerts.values()
    taken = replace(alert, version=2, acknowledged_at=START, acknowledged_by="anna")
    book.put_alert(replace(alert, times=2))
    book.put_alert(replace(alert, times=3))

    absorb(book, Changes(alerts=(taken,)), START, rules)

    assert book.alerts[alert.id].acknowledged_by == "anna"
    assert book.alerts[alert.id].times == 3


def test_records_that_cannot_be_removed_send_nothing_again() -> None:
    rules, records = rules_of("slack"), Book()
    take_notice(records, notice(at=1), LATER, rules)
    kept = records.changes()
    database = Book()
    take_notice(database, notice(at=0), LATER, rules)
    absorb(database, kept, LATER, rules)
    (later,) = [each for each in database.alerts.values() if each.folded_into]
    # The database reads what was sent by the alert it belongs to, which is another one now.
    again = Book(alerts={later.id: later})

    absorb(again, kept, LATER, rules)

    assert again.waiting("slack") == []
