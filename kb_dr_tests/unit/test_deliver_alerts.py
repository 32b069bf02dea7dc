"""Every channel by itself, in order, at least once."""

from pathlib import Path
from threading import Thread

import pytest

from kb_dr.domain.message import Message, What
from kb_dr.domain.notice import State
from kb_dr.domain.severity import Severity
from kb_dr.operations.serve_channel import ChannelWorker
from kb_dr_tests.fake_channels import (
    FakeChannel,
    Hangs,
    down,
    refuses,
    refuses_this,
    refuses_what_is_rich,
)
from kb_dr_tests.made_alerts import AlertSite, MemoryOutbox, deliver_for, failed_run, notice, titles


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
