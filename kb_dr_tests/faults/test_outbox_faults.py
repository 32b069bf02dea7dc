"""Kills between a send and its record; a database that is lost at any statement, or stuck."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.adapters.postgres_outbox import PostgresOutbox
from kb_dr.domain.delivery import DeliveryState
from kb_dr.domain.message import What
from kb_dr.domain.notice import State
from kb_dr_tests.catalog_database import CatalogDatabase
from kb_dr_tests.fake_channels import FakeChannel
from kb_dr_tests.fakes import FakeClock, MemoryRepository
from kb_dr_tests.faults.postgres_proxy import PostgresProxy
from kb_dr_tests.made_alerts import START, AlertSite, failed_run, notice
from kb_dr_tests.postgres_servers import RunningCluster


def outbox_of(database: CatalogDatabase) -> PostgresOutbox:
    return PostgresOutbox(database.settings, service="kb", org="default")


@pytest.fixture
def proxy(shared_primary: RunningCluster, tmp_path: Path) -> Iterator[PostgresProxy]:
    directory = tmp_path / "p"
    directory.mkdir()
    made = PostgresProxy(directory, shared_primary.sockets)
    yield made
    made.close()


def said(channel: FakeChannel) -> list[What]:
    return [what for what, title in channel.said if "job_" in title]


@pytest.mark.parametrize("kept", ["database", "records"])
def test_killed_between_send_and_record_the_next_try_knows_since_when(
    database: CatalogDatabase, tmp_path: Path, kept: str
) -> None:
    slack = FakeChannel(looks=True)
    outbox = outbox_of(database) if kept == "database" else None
    site = AlertSite(tmp_path / "state", slack, database=outbox)
    site.take(failed_run(1), failed_run(2))
    arrived = tmp_path / "arrived"
    name = database.name if kept == "database" else ""
    child = subprocess.run(
        [sys.executable, "-m", "kb_dr_tests.faults.outbox_child",
         str(database.cluster.sockets), name, str(tmp_path / "state"), str(arrived)],
        check=False, timeout=60,
    )  # fmt: skip

    waiting = site.unsent()
    site.deliver()

    assert child.returncode == 9
    assert [each.state for each in waiting] == [DeliveryState.SENDING, DeliveryState.PENDING]
    first, second = slack.tries
    assert first == (arrived.read_text(), waiting[0].first_tried_at)
    assert first[1] is not None
    assert second[1] is None
    assert site.unsent() == ()


def test_a_database_that_is_down_is_brought_in_line_and_nothing_is_sent_again(
    database: CatalogDatabase, tmp_path: Path
) -> None:
    slack, bucket = FakeChannel(), MemoryRepository()
    site = AlertSite(tmp_path, slack, database=outbox_of(database), places=[bucket])
    site.take(failed_run(1), failed_run(2))
    site.deliver()
    database.drop()

    site.take(failed_run(1, at=60), failed_run(3, at=60))
    site.deliver()
    site.pass_time(minutes=2)
    site.take(notice("run/job_002", State.MENDED, at=120, kind="run_failed"))
    site.deliver()
    database.make()
    site.take(notice("run/job_003", State.MENDED, at=120, kind="run_failed"))
    site.deliver()

    assert said(slack) == [*[What.OPENED] * 3, What.RECOVERED, What.RECOVERED]
    assert slack.said[-1][0] is What.RECOVERED
    assert len(slack.ids) == len(set(slack.ids))
    assert [(each.key, each.times) for each in site.alerts(closed=False)] == [("run/job_001", 2)]
    rows = database.query("select state, count(*) from alert_deliveries group by state")
    assert [state for state, _ in rows] == ["delivered"]
    assert list(bucket.bodies) == []


def test_database_and_bucket_down_alerts_go_out_from_this_machine(
    database: CatalogDatabase, tmp_path: Path
) -> None:
    slack = FakeChannel()
    site = AlertSite(tmp_path, slack, database=outbox_of(database))
    database.drop()

    site.take(failed_run(1))
    site.deliver()
    again = AlertSite(tmp_path, slack, database=outbox_of(database))
    again.take(failed_run(1, at=0.5), failed_run(1))
    again.deliver()
    database.make()
    again.deliver()

    assert said(slack) == [What.OPENED]
    assert database.query("select count(*) from alert_log where closed_at is null") == [(1,)]


@pytest.mark.parametrize("answered", [False, True])
def test_a_connection_lost_at_any_statement_loses_nothing_and_doubles_nothing(
    database: CatalogDatabase, proxy: PostgresProxy, tmp_path: Path, answered: bool
) -> None:
    settings = replace(database.settings, host=str(proxy.directory))
    outbox = PostgresOutbox(settings, service="kb", org="default")
    with outbox.opened(seconds=10):
        pass
    statement = 4
    clock = FakeClock(START)
    while True:
        clock.pass_time(timedelta(minutes=1))  # so many a minute go to one channel
        slack = FakeChannel()
        site = AlertSite(tmp_path / f"{statement}", slack, database=outbox, clock=clock)
        proxy.arm(statement, answered=answered)
        key = f"run/job_{statement}"
        site.take(notice(key, kind="run_failed", event=f"{key} breaks"))
        site.deliver()
        reached = proxy.statements > statement
        proxy.arm(None)
        mended = notice(key, State.MENDED, kind="run_failed", event=f"{key} mends")
        site.take(mended)
        site.deliver()

        assert said(slack) == [What.OPENED, What.RECOVERED], statement
        assert site.unsent() == ()
        if not reached:
            break
        statement += 7
    assert statement > 30


def test_a_server_that_is_stuck_is_given_up(
    shared_primary: RunningCluster, database: CatalogDatabase, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("kb_dr.operations.take_notices._SECONDS", 1.0)
    slack = FakeChannel()
    site = AlertSite(tmp_path, slack, database=outbox_of(database))
    site.take(notice())
    stuck: list[int] = []
    real = PostgresOutbox.opened
    opened = real(outbox_of(database), seconds=5)
    with opened as held:
        # Who holds the book, and does not come back.
        def stop(book: object) -> None:
            pid = shared_primary.value(
                "select pid from pg_stat_activity where application_name = 'kb-dr catalog'"
                " and state = 'idle in transaction'"
            )
            stuck.append(pid)
            os.kill(pid, signal.SIGSTOP)
            try:
                site.take(failed_run(1))
            finally:
                os.kill(pid, signal.SIGCONT)

        held.change(stop)
    assert stuck
    assert any(each.key == "run/job_001" for each in site.alerts())
