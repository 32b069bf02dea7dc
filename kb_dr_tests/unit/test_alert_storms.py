"""Many at once come as few messages, in which nothing critical is hidden."""

from pathlib import Path

import pytest

from kb_dr.domain.message import What
from kb_dr.domain.notice import State
from kb_dr.domain.severity import Severity
from kb_dr_tests.fake_channels import (
    FakeChannel,
    down,
    refuses_what_is_rich,
)
from kb_dr_tests.made_alerts import AlertSite, MemoryOutbox, deliver_for, failed_run, notice


@pytest.fixture(params=["database", "records"])
def where(request: pytest.FixtureRequest) -> MemoryOutbox | None:
    """Whether a database is configured."""
    return MemoryOutbox() if request.param == "database" else None


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
