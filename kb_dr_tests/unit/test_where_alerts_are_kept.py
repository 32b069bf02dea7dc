"""Alerts go out, and are known, whatever keeps them is down."""

from pathlib import Path

import pytest

from kb_dr.domain.message import What
from kb_dr.domain.notice import State
from kb_dr.errors import ChannelUnavailable, OutboxUnavailable, RepositoryUnavailable
from kb_dr_tests.fake_channels import (
    FakeChannel,
)
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.made_alerts import AlertSite, MemoryOutbox, failed_run, notice, titles


def test_without_its_database_alerts_go_out_and_are_known_when_it_is_back(tmp_path: Path) -> None:
    slack, database, bucket = FakeChannel(), MemoryOutbox(), MemoryRepository()
    site = AlertSite(tmp_path, slack, database=database, places=[bucket])
    site.take(notice())
    site.deliver()
    database.down = True

    site.take(notice(at=60), failed_run(1, at=60))
    site.pass_time(minutes=2)
    site.deliver()
    assert titles(slack) == ["allowed", "job_001", "used"]
    assert any(key.startswith("alerts/") for key in bucket.bodies)
    database.down = False
    site.take(failed_run(1, at=110))
    site.deliver()

    assert [what for what, _ in slack.said] == [*[What.OPENED] * 3, What.RECOVERED]
    assert len(slack.ids) == len(set(slack.ids))
    assert {each.key: each.times for each in site.alerts(closed=False)} == {
        "check/recovery/point/rpo_holds": 2, "run/job_001": 2,
    }  # fmt: skip
    assert not any(key.startswith("alerts/") for key in bucket.bodies)


def test_what_waits_in_a_database_that_is_down_goes_out_too(tmp_path: Path) -> None:
    slack, database = FakeChannel(), MemoryOutbox()
    site = AlertSite(tmp_path, slack, database=database)
    site.take(notice())
    database.down = True

    site.deliver()

    assert len(slack.arrived) == 1


@pytest.mark.parametrize("write", range(2, 9))
def test_a_database_lost_at_any_write_loses_nothing_and_doubles_nothing(
    tmp_path: Path, write: int
) -> None:
    slack, mail, database = FakeChannel(), FakeChannel("email"), MemoryOutbox()
    site = AlertSite(tmp_path, slack, mail, database=database)
    database.fails_at = write
    site.take(failed_run(1), failed_run(2))

    site.deliver()
    site.deliver()
    database.down, database.fails_at = False, None
    site.take(notice("run/job_001", State.MENDED, at=0, kind="run_failed"))
    site.deliver()

    for channel in (slack, mail):
        assert [what for what, title in channel.said if "job_" in title] == [
            What.OPENED, What.OPENED, What.RECOVERED,
        ]  # fmt: skip
    assert site.unsent() == ()


def test_an_end_seen_by_who_does_not_know_the_beginning_is_told_later(tmp_path: Path) -> None:
    slack, database, bucket = FakeChannel(), MemoryOutbox(), MemoryRepository()
    site = AlertSite(tmp_path / "one", slack, database=database, places=[bucket])
    site.take(notice())
    site.deliver()
    other = AlertSite(tmp_path / "two", slack, database=database, places=[bucket], clock=site.clock)
    database.down = True
    other.take(notice(state=State.MENDED, at=30))
    other.deliver()
    assert [what for what, _ in slack.said] == [What.OPENED]

    database.down = False
    site.pass_time(minutes=11)
    site.deliver()
    site.deliver()

    assert [what for what, _ in slack.said] == [What.OPENED, What.RECOVERED]


def test_one_condition_two_stores_took_for_two_is_one_again(tmp_path: Path) -> None:
    slack, database, bucket = FakeChannel(), MemoryOutbox(), MemoryRepository()
    site = AlertSite(tmp_path / "one", slack, database=database, places=[bucket])
    site.take(notice())
    other = AlertSite(tmp_path / "two", slack, database=database, places=[bucket], clock=site.clock)
    database.down = True
    site.pass_time(minutes=1)
    other.take(notice(at=60))
    database.down = False

    other.take(notice(state=State.MENDED, at=60.0))
    site.deliver()

    assert site.alerts(closed=False) == ()
    assert slack.said[-1][0] is What.RECOVERED


def test_where_nothing_can_be_written_alerts_go_out_all_the_same(tmp_path: Path) -> None:
    slack, database, bucket = FakeChannel(), MemoryOutbox(), MemoryRepository()
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    bucket.failures[""] = RepositoryUnavailable("list the bucket: no answer")
    site = AlertSite(blocked, slack, database=database, places=[bucket])
    database.down = True

    site.take(notice())
    site.deliver()
    site.deliver()
    assert len(slack.arrived) == 1
    database.down = False
    site.take(notice(state=State.MENDED, at=1))
    site.pass_time(minutes=1)
    site.deliver()

    assert [what for what, _ in slack.said] == [What.OPENED, What.RECOVERED]


def test_many_records_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kb_dr.adapters.records_outbox.MOST_RECORDS", 5)
    slack, bucket = FakeChannel(), MemoryRepository()
    site = AlertSite(tmp_path, slack, places=[bucket])
    for number in range(8):
        site.take(failed_run(number))
        site.deliver()

    assert len([key for key in bucket.bodies if key.startswith("alerts/")]) <= 6
    assert len(site.alerts(closed=False)) == 8
    assert len(slack.ids) == len(set(slack.ids)) == 8


def test_a_second_who_delivers_does_nothing(tmp_path: Path) -> None:
    slack, database = FakeChannel(), MemoryOutbox()
    site = AlertSite(tmp_path, slack, database=database)
    site.take(notice())
    seen: list[bool] = []
    slack.after = lambda message: seen.append(site.deliver().busy)

    site.deliver()

    assert seen == [True]
    assert len(slack.arrived) == 1


def test_a_closed_alert_is_forgotten_after_its_time_and_not_before(tmp_path: Path) -> None:
    slack = FakeChannel()
    site = AlertSite(tmp_path, slack, database=MemoryOutbox())
    site.take(notice())
    site.take(notice(state=State.MENDED))
    site.pass_time(days=399)
    site.deliver()
    assert len(site.alerts()) == 1

    site.pass_time(days=2)
    site.deliver()

    assert site.alerts() == ()


def test_errors_of_the_outbox_may_pass_by_themselves() -> None:
    assert OutboxUnavailable.retryable
    assert ChannelUnavailable.retryable
