"""The outbox in a real PostgreSQL: its contract, its neighbours, two workers at once."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.adapters.postgres_outbox import PostgresOutbox
from kb_dr.domain.message import What
from kb_dr.domain.notice import State
from kb_dr.errors import OutboxUnavailable
from kb_dr.ports import Outbox
from kb_dr_tests.catalog_database import CatalogDatabase
from kb_dr_tests.contracts.outbox_contract import OutboxContract
from kb_dr_tests.fake_channels import FakeChannel, Hangs
from kb_dr_tests.made_alerts import START, AlertSite, failed_run, notice
from kb_dr_tests.made_installation import MadeInstallation


def outbox_of(database: CatalogDatabase, service: str = "kb") -> PostgresOutbox:
    return PostgresOutbox(database.settings, service=service, org="default")


class TestInPostgres(OutboxContract):
    @pytest.fixture(autouse=True)
    def given(self, database: CatalogDatabase) -> None:
        self.database = database

    def outbox(self) -> Outbox:
        return outbox_of(self.database)

    def test_what_is_closed_for_400_days_is_removed(self) -> None:
        made = self.opens(1, 2)
        first = next(iter(made.alerts))
        self.database.query(f"update alert_log set closed_at = '2026-01-01' where id = '{first}'")

        with self.outbox().opened(seconds=10) as session:
            assert session.forget(now=START, most=10) == 0
            removed = session.forget(now=START + timedelta(days=100), most=10)

            assert removed == 1 + 2 + 2, "it, its messages, and notices taken long ago"
            assert [each.id for each in session.alerts(closed=True)] == sorted(
                set(made.alerts) - {first}
            )


def test_a_rebuilt_catalog_leaves_alerts_alone(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    made.has_backup()
    made.take([notice()])
    before = database.query("select * from alert_log")

    made.rebuild_catalog()

    assert len(before) == 1
    assert database.query("select * from alert_log") == before


def test_the_database_of_another_service_is_not_written_to(database: CatalogDatabase) -> None:
    with outbox_of(database).opened(seconds=10):
        pass

    with (
        pytest.raises(OutboxUnavailable, match="of service 'kb'"),
        outbox_of(database, "other").opened(seconds=10),
    ):
        pass


def test_tables_of_a_newer_version_are_left_alone(database: CatalogDatabase) -> None:
    with outbox_of(database).opened(seconds=10):
        pass
    database.query("insert into alert_migrations (version) values (99)")

    with (
        pytest.raises(OutboxUnavailable, match="version 99"),
        outbox_of(database).opened(seconds=10),
    ):
        pass


def test_of_two_workers_one_returns_at_once_and_nothing_is_sent_twice(
    database: CatalogDatabase, tmp_path: Path
) -> None:
    slack, hangs = FakeChannel(), Hangs()
    slack.before = hangs
    site = AlertSite(tmp_path / "one", slack, database=outbox_of(database))
    other = AlertSite(tmp_path / "two", slack, database=outbox_of(database))
    site.take(failed_run(1), failed_run(2))
    first = threading.Thread(target=site.deliver)
    first.start()
    assert hangs.reached.wait(30)

    second = other.deliver()
    taken = other.take(failed_run(3))
    hangs.let_go.set()
    first.join()

    assert second.busy
    assert taken.opened == 1, "taking goes on meanwhile"
    assert site.deliver().sent == 1
    assert len(slack.ids) == len(set(slack.ids)) == 3


def test_notices_taken_by_many_at_once_open_one_alert(
    database: CatalogDatabase, tmp_path: Path
) -> None:
    slack = FakeChannel()
    sites = [
        AlertSite(tmp_path / f"{number}", slack, database=outbox_of(database))
        for number in range(4)
    ]
    threads = [
        threading.Thread(target=site.take, args=(notice(event=f"{number}"),))
        for number, site in enumerate(sites)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()

    (alert,) = sites[0].alerts()
    assert alert.times == 4
    sites[0].deliver()
    assert [what for what, _ in slack.said] == [What.OPENED]


def test_a_storm_of_500_failures_is_taken_and_told_in_moments(
    database: CatalogDatabase, tmp_path: Path
) -> None:
    slack = FakeChannel()
    site = AlertSite(tmp_path, slack, database=outbox_of(database))

    site.take(*(failed_run(number) for number in range(500)))
    site.deliver()

    lines = [line for message in slack.arrived for line in message.lines]
    assert {f"critical: A run failed: job_{number:03d}" for number in range(500)} == {
        line[: len("critical: A run failed: job_000")] for line in lines
    }
    assert len(slack.arrived) == 13
    assert site.unsent() == ()


def test_an_alert_of_before_is_closed_by_who_comes_after(
    database: CatalogDatabase, tmp_path: Path
) -> None:
    slack = FakeChannel()
    site = AlertSite(tmp_path, slack, database=outbox_of(database))
    site.take(notice())
    site.pass_time(hours=1)
    site.take(notice(state=State.MENDED, at=3600))

    site.deliver()

    assert [(each.what, each.lasted_seconds) for each in slack.arrived] == [
        (What.OPENED, 0.0), (What.RECOVERED, 3600.0),
    ]  # fmt: skip
