"""Every channel by itself, in order, at least once; nothing critical hidden in a storm."""

from pathlib import Path
from threading import Thread

import pytest

from kb_dr.domain.message import Message, What
from kb_dr.domain.notice import State
from kb_dr.domain.severity import Severity
from kb_dr.errors import ChannelUnavailable, OutboxUnavailable, RepositoryUnavailable
from kb_dr.operations.serve_channel import ChannelWorker
from kb_dr_tests.fake_channels import (
    FakeChannel,
    Hangs,
    down,
    refuses,
    refuses_this,
    refuses_what_is_rich,
)
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.made_alerts import AlertSite, MemoryOutbox, failed_run, notice


def titles(channel: FakeChannel) -> list[str]:
    return [title.rpartition(" ")[2] for _, title in channel.said]


def deliver_for(site: AlertSite, *, minutes: int) -> None:
    """A round each half minute."""
    for _ in range(minutes * 2):
        site.deliver()
        site.pass_time(seconds=30)


@pytest.fixture(params=["database", "records"])
def where(request: pytest.FixtureRequest) -> MemoryOutbox | None:
    """Whether a database is configured."""
    return MemoryOutbox() if request.param == "database" else None


def test_what_is_taken_arrives_once_on_every_channel(
    tmp_path: Path, where: MemoryOutbox | None
) -> None:
    slack, pager = FakeChannel(), FakeChannel("pagerduty", groups=False)
    site = AlertSite(tmp_path, slack, pager, database=where)
    site.take(notice())
    first = site.deliver()
    site.take(notice(state=State.MENDED, at=0.5))
    site.pass_time(minutes=1)
    site.deliver()
    last = site.deliver()

    assert (first.sent, last.sent, last.waiting) == (2, 0, 0)
    for channel in (slack, pager):
        assert [what for what, _ in channel.said] == [What.OPENED, What.RECOVERED]
    assert all(since is None for _, since in slack.tries)


def test_ten_alerts_of_an_hour_without_slack_arrive_one_by_one_in_order_once(
    tmp_path: Path, where: MemoryOutbox | None
) -> None:
    slack, mail = FakeChannel(), FakeChannel("email")
    site = AlertSite(tmp_path, slack, mail, database=where)
    slack.before = down()
    for number in range(10):
        site.take(failed_run(number, at=360 * number))
        deliver_for(site, minutes=6)
        assert f"job_{number:03d}" in titles(mail), "the other one is not held up"

    slack.works()
    deliver_for(site, minutes=8)

    opened = [title for what, title in slack.said if what is What.OPENED and "job_" in title]
    assert [title.rpartition(" ")[2] for title in opened] == [f"job_{n:03d}" for n in range(10)]
    assert len(slack.ids) == len(set(slack.ids))
    assert What.GROUPED not in [what for what, _ in slack.said]
    told_elsewhere = [what for what, title in mail.said if title.endswith(": slack")]
    assert told_elsewhere == [What.OPENED, What.RECOVERED]


def test_a_channel_that_is_down_is_tried_ever_more_seldom(tmp_path: Path) -> None:
    slack = FakeChannel()
    site = AlertSite(tmp_path, slack, database=MemoryOutbox())
    slack.before = down()
    site.take(notice())

    deliver_for(site, minutes=60)

    assert 14 < len(slack.tries) < 22
    assert len({since for _, since in slack.tries}) == 2, "none at first, then when that was"


def test_a_channel_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    slack = FakeChannel()
    site = AlertSite(tmp_path, slack, database=MemoryOutbox())
    slack.before = down(retry_after=600)
    site.take(notice())
    site.deliver()
    slack.works()

    site.pass_time(seconds=590)
    site.deliver()
    assert slack.arrived == []
    site.pass_time(seconds=20)
    site.deliver()
    assert len(slack.arrived) == 1


def test_a_channel_that_refuses_us_is_told_at_once_on_the_others(tmp_path: Path) -> None:
    slack, mail = FakeChannel(), FakeChannel("email")
    site = AlertSite(tmp_path, slack, mail, database=MemoryOutbox())
    slack.before = refuses
    site.take(notice())

    done = site.deliver()
    site.deliver()

    assert done.failing == ("slack",)
    assert mail.said[-1] == (What.OPENED, "An alert channel does not take messages: slack")


def test_a_message_that_is_refused_is_sent_plain_and_given_up_in_the_end(tmp_path: Path) -> None:
    slack, mail = FakeChannel(), FakeChannel("email")
    site = AlertSite(tmp_path, slack, mail, database=MemoryOutbox())
    slack.before, mail.before = refuses_what_is_rich, refuses_this
    site.take(notice(seen="hält nicht", severity=Severity.WARNING))

    done = site.deliver()

    assert [each.happened for each in slack.arrived] == ["h?lt nicht"]
    assert (done.sent, done.dead, done.failing) == (1, 0, ("email",))
    deliver_for(site, minutes=5 * 60)
    assert [(each.channel, each.state) for each in site.unsent()] == [("email", "dead")]
    mail.works()
    site.take(notice(state=State.MENDED))
    site.deliver()
    said = [what for what, title in slack.said if not title.endswith(": email")]
    assert said == [What.OPENED, What.RECOVERED]
    assert mail.arrived == [], "it never heard that it was broken"


def test_a_channel_that_refuses_every_message_loses_none_and_is_told_of(tmp_path: Path) -> None:
    hook, mail = FakeChannel("webhook"), FakeChannel("email")
    site = AlertSite(tmp_path, hook, mail, database=MemoryOutbox())
    hook.before = refuses_this
    site.take(*(failed_run(number) for number in range(5)))

    done = site.deliver()
    site.deliver()

    assert (done.dead, done.failing) == (0, ("webhook",))
    assert mail.said[-1] == (What.OPENED, "An alert channel does not take messages: webhook")
    hook.works()
    deliver_for(site, minutes=2)
    assert titles(hook) == [f"job_{number:03d}" for number in range(5)]


def test_a_text_that_breaks_a_channel_stops_nothing_behind_it(tmp_path: Path) -> None:
    mail = FakeChannel("email")
    site = AlertSite(tmp_path, mail, database=MemoryOutbox())

    def breaks(message: Message) -> None:
        if not message.happened.isascii():
            raise ValueError("Header values may not contain linefeed")

    mail.before = breaks
    site.take(notice(seen="a\u2028b"), failed_run(1, at=1))

    assert site.deliver().failing == ()
    assert [each.happened for each in mail.arrived] == ["a b", "offsite: 2 h behind"]


def test_a_channel_that_hangs_holds_up_itself_alone(tmp_path: Path) -> None:
    slack, mail, hangs = FakeChannel(), FakeChannel("email"), Hangs()
    site = AlertSite(tmp_path, slack, mail, database=MemoryOutbox())
    slack.before = hangs
    site.take(notice())

    done = site.deliver(seconds=0.1, patience_seconds=1.0)
    site.pass_time(minutes=11)
    again = site.deliver(seconds=0.1, patience_seconds=1.0)
    site.deliver(seconds=0.1, patience_seconds=1.0)

    assert done.failing == again.failing == ("slack",)
    assert len(slack.tries) == 1, "no second one is sent after it"
    assert mail.said[-1][1].endswith(": slack")
    hangs.let_go.set()


def test_channels_that_hang_are_waited_for_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def join(worker: ChannelWorker, timeout: float) -> None:
        waited.append(timeout)
        Thread.join(worker, timeout)

    monkeypatch.setattr(ChannelWorker, "join", join)
    hangs = Hangs()
    channels = [FakeChannel(name) for name in ("slack", "email", "sns", "webhook")]
    for each in channels:
        each.before = hangs
    site = AlertSite(tmp_path, *channels, database=MemoryOutbox())
    site.take(notice())

    done = site.deliver(seconds=0.1, patience_seconds=0.2)

    hangs.let_go.set()
    assert len(done.failing) == 4
    assert waited[0] > 0.2
    assert max(waited[1:]) < 0.1, "a tick has a minute, whatever number of channels hangs"


def test_a_crash_of_a_channel_is_a_failure_of_that_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("threading.excepthook", lambda seen: None)
    slack, mail = FakeChannel(), FakeChannel("email")
    site = AlertSite(tmp_path, slack, mail, database=MemoryOutbox())

    def bug(message: object) -> None:
        raise ZeroDivisionError

    slack.before = bug
    site.take(notice())

    assert site.deliver().failing == ("slack",)
    assert len(mail.arrived) == 1
    slack.works()
    site.pass_time(minutes=1)
    site.deliver()
    assert len(slack.arrived) == 1


def test_a_channel_set_later_hears_of_what_is_open_already(tmp_path: Path) -> None:
    database, slack = MemoryOutbox(), FakeChannel()
    before = AlertSite(tmp_path, database=database)
    before.take(notice())
    before.deliver()
    before.pass_time(hours=1)
    before.deliver()

    site = AlertSite(tmp_path, slack, database=database, clock=before.clock)
    site.pass_time(days=1)
    site.deliver()
    site.take(notice(state=State.MENDED, at=90000))
    site.deliver()

    assert [what for what, _ in slack.said] == [What.REMINDER, What.RECOVERED]


def test_that_a_channel_fails_ends_when_it_is_configured_no_more(tmp_path: Path) -> None:
    database, slack, mail = MemoryOutbox(), FakeChannel(), FakeChannel("email")
    site = AlertSite(tmp_path, slack, mail, database=database)
    slack.before = refuses
    site.take(notice())
    site.deliver()

    site = AlertSite(tmp_path, mail, database=database, clock=site.clock)
    site.deliver()
    site.deliver()

    assert [each.key for each in site.alerts(closed=False)] == [notice().key]
    assert "not configured any more" in mail.arrived[-1].happened


# storms


def test_a_storm_is_a_few_messages_that_name_every_critical_alert(
    tmp_path: Path, where: MemoryOutbox | None
) -> None:
    slack, pager = FakeChannel(), FakeChannel("pagerduty", groups=False)
    site = AlertSite(tmp_path, slack, pager, database=where)
    critical = [failed_run(number) for number in range(0, 500, 5)]
    warnings = [
        failed_run(number, severity=Severity.WARNING) for number in range(500) if number % 5
    ]
    site.take(*sorted((*critical, *warnings), key=lambda each: each.key))

    site.deliver()

    lines = [line for message in slack.arrived for line in message.lines]
    assert [what for what, _ in slack.said] == [What.GROUPED] * 3
    for each in critical:
        name = each.key.removeprefix("run/")
        assert sum(f"A run failed: {name}" in line for line in lines) == 1
    assert sum(line.startswith("warning: ") for line in lines) == 10
    assert lines[-1] == "and 390 more that are not critical"
    assert slack.arrived[0].severity is Severity.CRITICAL
    assert "100 critical, 400 others" in slack.arrived[0].happened
    assert len(pager.arrived) == 30, "so many a minute"
    assert {each.severity for each in pager.arrived} == {Severity.CRITICAL}
    if where is None:
        return
    deliver_for(site, minutes=25)
    opened = [title for what, title in pager.said if what is What.OPENED]
    assert len(opened) == len(set(opened)) == 500


def test_the_end_of_an_alert_never_overtakes_the_next_one_of_its_key(tmp_path: Path) -> None:
    pager = FakeChannel("pagerduty", groups=False)
    site = AlertSite(tmp_path, pager, database=MemoryOutbox())
    site.take(notice(severity=Severity.WARNING), notice(state=State.MENDED, at=1))
    site.take(*(failed_run(n, at=2, severity=Severity.WARNING) for n in range(25)))
    site.take(notice(at=3))

    site.deliver()

    said = [each.what for each in pager.arrived if each.dedup_key == notice().key]
    assert said == [What.OPENED, What.RECOVERED, What.OPENED], "else PagerDuty shows it resolved"


def test_a_storm_in_plain_text_names_every_critical_alert_too(tmp_path: Path) -> None:
    slack = FakeChannel()
    slack.before = refuses_what_is_rich
    site = AlertSite(tmp_path, slack, database=MemoryOutbox())
    site.take(*(failed_run(number) for number in range(30)))

    site.deliver()

    shown = "\n".join(line for each in slack.arrived for line in each.lines)
    assert all(f"job_{number:03d}" in shown for number in range(30))


def test_twenty_alerts_are_no_storm(tmp_path: Path) -> None:
    slack = FakeChannel()
    site = AlertSite(tmp_path, slack, database=MemoryOutbox())
    site.take(*(failed_run(number) for number in range(20)))

    site.deliver()

    assert [what for what, _ in slack.said] == [What.OPENED] * 20


def test_what_ends_after_a_storm_is_told_as_well(tmp_path: Path) -> None:
    slack = FakeChannel()
    site = AlertSite(tmp_path, slack, database=MemoryOutbox())
    site.take(*(failed_run(number) for number in range(50)))
    site.deliver()
    site.pass_time(minutes=2)
    site.take(notice("run/job_007", State.MENDED, at=60, kind="run_failed"))

    site.deliver()

    assert slack.said[-1] == (What.RECOVERED, "A run failed: job_007")


# where they are kept


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


def test_what_may_have_arrived_is_not_put_into_a_group(tmp_path: Path) -> None:
    slack = FakeChannel(looks=True)
    site = AlertSite(tmp_path, slack, database=MemoryOutbox())
    slack.after = down()
    site.take(failed_run(0))
    site.deliver()
    site.take(*(failed_run(number) for number in range(1, 40)))
    slack.works()
    site.pass_time(minutes=1)

    site.deliver()

    assert [what for what, _ in slack.said] == [What.OPENED, What.GROUPED]
    assert "39 alerts at once" in slack.said[1][1]
