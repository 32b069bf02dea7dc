"""What a notice comes to: one alert while it lasts, and messages that are worth reading."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from kb_dr.domain.alert import Alert
from kb_dr.domain.alert_book import Book
from kb_dr.domain.alert_kinds import KINDS
from kb_dr.domain.alert_message import describe
from kb_dr.domain.alert_rules import Rules, take_notice
from kb_dr.domain.alert_upkeep import acknowledge, close_by_hand, look_after
from kb_dr.domain.message import What
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity
from kb_dr.scrub import remember
from kb_dr_tests.made_alerts import RPO, START, failed_run, notice, rules_of


class Desk:
    """A book, and the rules of two channels, of which one is told each alert by itself."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.book = Book()
        self.rules = rules or rules_of("slack", "pagerduty", singly=("pagerduty",))

    def take(self, notice: Notice, *, now: float | None = None) -> str:
        at = notice.at if now is None else START + timedelta(seconds=now)
        return take_notice(self.book, notice, at, self.rules)

    def look(self, seconds: float) -> None:
        look_after(self.book, START + timedelta(seconds=seconds), self.rules)

    def said(self, channel: str = "slack") -> list[What]:
        return [each.what for each in self.book.waiting(channel)]

    def read(self) -> None:
        """Everything arrived."""
        self.book.deliveries.clear()

    @property
    def only(self) -> Alert:
        (alert,) = self.book.alerts.values()
        return alert


def test_what_lasts_is_one_alert_and_one_message() -> None:
    desk = Desk()

    came_to = [desk.take(notice(at=minute * 60)) for minute in range(100)]

    assert came_to == ["opened"] + ["folded"] * 99
    assert desk.only.times == 100
    assert desk.said() == desk.said("pagerduty") == [What.OPENED]


def test_the_same_notice_again_changes_nothing() -> None:
    desk = Desk()
    desk.take(notice())
    there = desk.only

    assert desk.take(notice(), now=30) == "known"
    assert desk.only == there


def test_what_mends_is_told_with_how_long_it_was_broken() -> None:
    desk = Desk()
    desk.take(notice())

    assert desk.take(notice(state=State.MENDED, at=720, seen="")) == "closed"

    opened, recovered = (each.message for each in desk.book.waiting("slack"))
    assert (opened.what, recovered.what) == (What.OPENED, What.RECOVERED)
    assert recovered.lasted_seconds == 720
    assert recovered.happened == "back to normal after 12.0 min"
    assert recovered.dedup_key == opened.dedup_key == RPO
    assert recovered.id != opened.id


def test_what_was_never_broken_is_not_told_to_have_mended() -> None:
    desk = Desk()

    assert desk.take(notice(state=State.MENDED)) == "nothing"
    assert not desk.book.changes()


def test_only_what_is_worse_is_told_again() -> None:
    desk = Desk()
    desk.take(notice(severity=Severity.WARNING, subjects=("offsite",)))
    desk.take(notice(severity=Severity.WARNING, subjects=("offsite",), at=60))
    desk.take(notice(severity=Severity.WARNING, subjects=("offsite", "local"), at=120))
    desk.take(notice(severity=Severity.WARNING, subjects=("local",), at=180))
    desk.take(notice(severity=Severity.CRITICAL, subjects=("local",), at=240))
    desk.take(notice(severity=Severity.WARNING, subjects=("local",), at=300))

    assert desk.said() == [What.OPENED, What.WORSE, What.WORSE]
    assert desk.only.severity is Severity.CRITICAL
    assert desk.only.title.endswith(": offsite, local")


def test_of_what_nobody_can_tell_no_more_is_said_until_it_is_known() -> None:
    desk = Desk()
    doubt = notice(seen="offsite: it does not answer", subjects=("RPO of offsite",))
    doubt = replace(doubt, unsure=True)
    desk.take(doubt)
    assert desk.only.title == "Nobody can tell whether RPO holds: offsite"
    assert desk.take(replace(doubt, id="again", at=doubt.at + timedelta(seconds=60))) == "folded"

    known = notice(seen="RPO of offsite: 2 h", subjects=("RPO of offsite",), at=120)
    assert desk.take(known) == "worse"
    assert desk.only.title == "More would be lost than is allowed: offsite"

    # To and fro it is one message: that it cannot be looked at again is no better.
    for minute in range(3, 9):
        again = notice(subjects=("RPO of offsite",), at=minute * 60)
        assert desk.take(replace(again, unsure=bool(minute % 2))) == "folded"
    assert desk.only.title == "More would be lost than is allowed: offsite"
    assert desk.said() == [What.OPENED, What.WORSE]

    more = replace(notice(subjects=("RPO of local",), at=600), unsure=True)
    assert desk.take(more) == "worse"
    assert desk.only.title.startswith("More would be lost than is allowed: ")


def test_what_can_be_told_again_is_not_called_unknown() -> None:
    desk = Desk()
    desk.take(replace(notice(subjects=("RPO of offsite",)), unsure=True))
    desk.take(notice(state=State.MENDED, at=60))

    opened, over = (each.message for each in desk.book.waiting("slack"))
    assert opened.title == "Nobody can tell whether RPO holds: offsite"
    assert over.title == "RPO holds: offsite"


def test_a_channel_hears_of_the_end_only_if_it_heard_of_the_beginning() -> None:
    rules = Rules(
        links=rules_of().links,
        routes={Severity.WARNING: ("slack",), Severity.CRITICAL: ("slack", "pagerduty")},
    )
    desk = Desk(rules)
    desk.take(notice(severity=Severity.WARNING))
    desk.take(notice(state=State.MENDED, severity=Severity.WARNING, at=60))
    assert desk.said("pagerduty") == []

    desk.take(notice(severity=Severity.WARNING, at=120))
    desk.take(notice(severity=Severity.CRITICAL, at=180))
    desk.take(notice(state=State.MENDED, severity=Severity.WARNING, at=240))

    assert desk.said("pagerduty") == [What.WORSE, What.RECOVERED]


def test_a_notice_older_than_the_newest_neither_closes_nor_opens_again() -> None:
    desk = Desk()
    desk.take(notice(at=100))

    assert desk.take(notice(state=State.MENDED, at=50), now=101) == "stale"
    assert desk.only.closed_at is None
    assert desk.take(notice(state=State.MENDED, at=200)) == "closed"
    assert desk.take(notice(at=150), now=201) == "stale"
    assert len(desk.book.alerts) == 1
    assert desk.take(notice(at=250)) == "opened"


def test_an_alert_nobody_can_be_told_of_is_kept() -> None:
    desk = Desk(rules_of())
    desk.take(notice())

    assert desk.only.open
    assert desk.book.deliveries == {}


def test_that_a_channel_fails_is_not_told_by_itself() -> None:
    desk = Desk()
    desk.take(notice("channel/slack", kind="channel_fails", severity=Severity.WARNING))

    assert desk.said("slack") == []
    assert desk.said("pagerduty") == [What.OPENED]


@pytest.mark.parametrize(("wanted", "said"), [(False, []), (True, [What.TOLD])])
def test_successes_are_told_only_where_they_are_wanted(wanted: bool, said: list[What]) -> None:
    desk = Desk(rules_of("slack", successes=wanted))

    desk.take(notice("run/job", State.TOLD, kind="run_succeeded", severity=Severity.INFO))

    assert desk.said() == said


def test_what_is_told_once_is_told_once_and_is_never_open() -> None:
    desk = Desk()
    digest = notice("digest", State.TOLD, kind="weekly_digest", severity=Severity.INFO)

    assert [desk.take(digest), desk.take(digest)] == ["told", "known"]
    assert desk.said() == [What.TOLD]
    assert not desk.only.open


def test_a_kind_nobody_described_is_told_all_the_same() -> None:
    desk = Desk()
    desk.take(notice("check/a/b/brand_new", kind="brand_new"))

    assert desk.book.waiting("slack")[0].message.title == "brand new"


def test_a_message_leads_to_the_runbook_and_to_the_run() -> None:
    desk = Desk()
    failed = failed_run(7)
    desk.take(
        Notice(**{**{name: getattr(failed, name) for name in failed.__slots__}, "run_id": "r1"})
    )

    message = desk.book.waiting("slack")[0].message
    assert message.runbook_url == "https://docs.example/monitoring.md#run_failed"
    assert message.run_url == "https://dagster.example/runs/r1"
    assert message.title == "A run failed: job_007"
    assert message.means
    assert message.do


# what lasts


def test_a_critical_alert_nobody_acknowledged_is_escalated_once() -> None:
    desk = Desk()
    desk.take(notice())
    desk.read()
    desk.look(899)
    assert desk.said() == []

    for second in (900, 960, 3600):
        desk.look(second)

    assert desk.said() == desk.said("pagerduty") == [What.ESCALATED]


def test_an_acknowledged_alert_is_never_escalated_and_reminded_of_daily() -> None:
    desk = Desk()
    desk.take(notice())
    desk.read()
    acknowledge(desk.book, desk.only, START, desk.rules, by="anna", note="on it")
    assert (desk.said(), desk.said("pagerduty")) == ([], [What.ACKNOWLEDGED])
    desk.read()

    for hour in range(1, 50):
        desk.look(hour * 3600)
        desk.take(notice(at=hour * 3600 + 1))

    assert desk.said() == [What.REMINDER]
    desk.read()
    desk.look(72.5 * 3600)
    assert desk.said() == [What.REMINDER]


def test_a_warning_that_lasts_becomes_critical_and_is_escalated_then() -> None:
    desk = Desk()
    desk.take(notice(severity=Severity.WARNING))
    desk.read()
    desk.look(86400)
    assert desk.said() == [What.WORSE]
    assert desk.only.severity is Severity.CRITICAL
    desk.read()

    desk.look(86400 + 900)

    assert desk.said() == [What.ESCALATED]


def test_what_still_waits_is_not_said_louder() -> None:
    desk = Desk()
    desk.take(notice())

    desk.look(3600)
    desk.look(90000)

    assert desk.said() == [What.OPENED]


def test_what_gets_worse_has_to_be_acknowledged_anew() -> None:
    desk = Desk()
    desk.take(notice(severity=Severity.WARNING))
    acknowledge(desk.book, desk.only, START, desk.rules, by="anna", note="")

    desk.take(notice(severity=Severity.CRITICAL, at=60))

    assert desk.only.acknowledged_at is None


def test_what_was_closed_by_hand_opens_again_when_it_breaks_again() -> None:
    desk = Desk()
    desk.take(notice())
    now = START + timedelta(seconds=60)
    close_by_hand(desk.book, desk.only, now, desk.rules, by="anna")
    assert desk.book.waiting("slack")[-1].message.happened.startswith("closed by anna")

    assert desk.take(notice(at=30), now=61) == "stale"
    assert desk.take(notice(at=90)) == "opened"


# clocks


def test_a_notice_from_the_future_is_of_now_and_can_be_mended_now() -> None:
    desk = Desk()
    desk.take(notice(at=7200), now=0)

    assert desk.only.opened_at == START
    assert desk.take(notice(state=State.MENDED, at=60)) == "closed"
    assert desk.only.lasted_seconds == 60


def test_a_clock_that_is_set_back_makes_no_negative_time_and_keeps_nothing_quiet() -> None:
    desk = Desk()
    desk.take(notice(at=7 * 86400))
    desk.read()

    desk.look(0)  # a week back
    desk.look(900)
    assert desk.said() == [What.ESCALATED]
    desk.read()
    desk.look(900 + 86400)
    assert desk.said() == [What.REMINDER]
    assert desk.book.waiting("slack")[0].message.lasted_seconds == 900 + 86400
    assert desk.take(notice(state=State.MENDED, at=90000)) == "closed"
    assert (desk.only.lasted_seconds or 0) >= 0


def test_messages_keep_their_order_when_the_clock_is_set_back() -> None:
    desk = Desk()
    desk.take(failed_run(1, at=1000))
    desk.take(failed_run(2), now=0)

    assert [each.message.title[-3:] for each in desk.book.waiting("slack")] == ["001", "002"]


def test_text_no_database_keeps_is_cleaned() -> None:
    desk = Desk()
    desk.take(notice(seen="a\0b \ud800"))

    assert desk.only.seen == "ab ?"
    assert isinstance(desk.only.opened_at, datetime)


def test_words_that_hold_a_secret_are_kept_without_it_and_names_stay() -> None:
    remember("postgres")
    remember("hush+hush/hush=hush")
    desk = Desk()
    desk.take(
        replace(
            notice(
                "check/postgres/wal_archive/rpo_holds", seen="login hush+hush/hush=hush refused"
            ),
            do="try postgresql://kb:hush%2Bhush%2Fhush%3Dhush@db",
            subjects=("hush+hush/hush=hush",),
            facts=(("url", "https://x/?hush+hush/hush=hush"),),
        )
    )
    acknowledge(desk.book, desk.only, START, desk.rules, by="anna", note="hush+hush/hush=hush?")

    assert "hush+" not in f"{desk.book}"
    assert "hush%2B" not in f"{desk.book}"
    assert desk.only.seen == "login … refused"
    assert desk.only.key == "check/postgres/wal_archive/rpo_holds"


def test_what_was_seen_by_a_clock_that_ran_ahead_can_be_mended_at_once() -> None:
    desk = Desk()
    desk.take(notice(at=7 * 86400))

    assert desk.take(notice(state=State.MENDED, at=60)) == "closed"
    assert desk.only.lasted_seconds == 0


def test_what_nobody_could_look_at_is_not_called_broken_until_it_is_known_to_be() -> None:
    desk = Desk()
    desk.take(replace(notice(severity=Severity.WARNING), unsure=True))
    assert desk.only.title == "Nobody can tell whether RPO holds"
    assert "well or broken" in desk.only.means

    desk.take(notice(severity=Severity.WARNING, at=60))
    assert desk.only.title == KINDS["rpo_holds"].broken
    assert desk.only.means == KINDS["rpo_holds"].means
    desk.take(replace(notice(severity=Severity.CRITICAL, at=120), unsure=True))
    assert desk.only.title == KINDS["rpo_holds"].broken
    assert desk.said() == [What.OPENED, What.WORSE, What.WORSE]


@pytest.mark.parametrize(
    ("subjects", "named"),
    [
        (("newest full backup in primary", "newest full backup in offsite"), ": primary, offsite"),
        (("plain size in primary", "stored size in primary"), ": primary"),
        (("scratch (/var/a long/path)", "state (/var/other)"), ": scratch, state"),
        (("archiver",), ""),
        (("segments waiting to be archived",), ""),
        ((), ""),
    ],
)
def test_a_title_names_copies_and_no_more_of_what_it_says_anyhow(
    subjects: tuple[str, ...], named: str
) -> None:
    title, _, _ = describe(notice(subjects=subjects))
    assert title == KINDS["rpo_holds"].broken + named
