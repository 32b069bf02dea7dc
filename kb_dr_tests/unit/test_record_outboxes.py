"""The outbox in records and the one in memory keep the contract of outboxes."""

import os
from pathlib import Path

import pytest

from kb_dr.adapters.records_outbox import RecordsOutbox
from kb_dr.domain import layout
from kb_dr.errors import OutboxUnavailable, RepositoryUnavailable
from kb_dr.ports import Outbox
from kb_dr_tests.contracts.outbox_contract import OutboxContract
from kb_dr_tests.fakes import FakeClock, MemoryRepository
from kb_dr_tests.made_alerts import START, AlertSite, MemoryOutbox, failed_run


class TestInMemory(OutboxContract):
    @pytest.fixture(autouse=True)
    def made(self) -> None:
        self.memory = MemoryOutbox()

    def outbox(self) -> Outbox:
        return self.memory


class TestInABucket(OutboxContract):
    """This machine and one repository."""

    @pytest.fixture(autouse=True)
    def made(self, tmp_path: Path) -> None:
        self.directory, self.bucket = tmp_path, MemoryRepository()

    def outbox(self) -> RecordsOutbox:
        return RecordsOutbox(self.directory, lambda: [self.bucket], FakeClock(START))

    def test_another_machine_reads_it_from_the_bucket(self, tmp_path: Path) -> None:
        made = self.opens(1)

        other = RecordsOutbox(tmp_path / "other", lambda: [self.bucket], FakeClock(START))

        with other.opened(seconds=1) as session:
            assert session.alerts(closed=True) == tuple(made.alerts.values())

    def test_this_machine_has_it_while_the_bucket_does_not_answer(self) -> None:
        self.bucket.failures[""] = RepositoryUnavailable("no answer")
        key = self.opens(1)

        with self.outbox().opened(seconds=1) as session:
            assert session.alerts(closed=True) == tuple(key.alerts.values())

    def test_a_record_that_is_damaged_hides_no_other(self) -> None:
        made = self.opens(1)
        self.bucket.put(layout.alert_record_key("20261120-020001-x"), b"{}")

        with self.outbox().opened(seconds=1) as session:
            assert session.alerts(closed=True) == tuple(made.alerts.values())
        _, names = self.outbox().left()
        self.outbox().discard(names)
        assert list(self.bucket.bodies) == ["alerts/20261120-020001-x.json"]


class TestOnThisMachineAlone(OutboxContract):
    @pytest.fixture(autouse=True)
    def made(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "made" / "when needed"

    def outbox(self) -> Outbox:
        return RecordsOutbox(self.directory, list, FakeClock(START))


def test_a_lock_that_is_never_given_back_stops_no_alert(tmp_path: Path) -> None:
    site = AlertSite(tmp_path)
    held = site.outboxes.records
    assert isinstance(held, RecordsOutbox)
    handle = held.locked("book", wait=True)
    assert handle is not None

    taken = site.take(failed_run(1))

    os.close(handle)
    assert taken.opened == 1


def test_an_old_mirror_is_not_believed(tmp_path: Path) -> None:
    database = MemoryOutbox()
    site = AlertSite(tmp_path, database=database)
    site.take(failed_run(1))
    database.down = True
    assert len(site.alerts()) == 1

    site.pass_time(hours=2)

    with pytest.raises(OutboxUnavailable):
        site.alerts()  # none that is known is not none that is open
