"""`kb-dr alerts`: what is the matter, who takes care of it, and whether anybody is told."""

import getpass
from datetime import datetime

import click

from kb_dr.cli.opened import installation, json_option
from kb_dr.cli.output import age, moment, print_json, print_table, say
from kb_dr.domain.alert import Alert
from kb_dr.domain.delivery import Delivery
from kb_dr.domain.proof import Outcome
from kb_dr.errors import ChannelRefused, ChannelUnavailable, ConfigurationError

_DEAD_SECONDS = 900.0
"""The watch runs each minute; KbDrWatchDead waits as long."""


@click.group("alerts")
def command() -> None:
    """What is the matter, who takes care of it, and whether anybody is told."""


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that are over as well.")
@json_option
def list_alerts(everything: bool, as_json: bool) -> None:
    """The alerts that are open, and messages that have not arrived."""
    opened = installation()
    found, unsent = opened.alerts(all=everything), opened.undelivered()
    watched = opened.last_watch()
    if as_json:
        print_json({"alerts": found, "undelivered": unsent, "watched_at": watched})
        return
    now = opened.clock.now()
    # What is over stands below what is not; of each the worst first, then the oldest.
    found = tuple(sorted(found, key=lambda each: (not each.open, -each.severity.rank)))
    print_table(
        f"{sum(each.open for each in found)} alerts are open",
        ("alert", "severity", "since", "what", "seen"),
        (
            (
                each.id,
                each.severity,
                _since(each, now),
                each.title,
                each.seen,
            )
            for each in found
        ),
    )
    if unsent:
        _print_deliveries("Messages that have not arrived", unsent)
    # No alert says so: a dead watch opens none, and closes none.
    if watched is None:
        say("no complete watch is known here: what is broken may not be listed; see `kb-dr watch`")
    elif (silent := (now - watched).total_seconds()) > _DEAD_SECONDS:
        say(
            f"the watch was complete last {age(silent)} ago: what broke or mended since is not "
            "listed; does Dagster's daemon run? `kb-dr watch` looks now"
        )


@command.command("show")
@click.argument("alert_id", metavar="ID")
@json_option
def show(alert_id: str, as_json: bool) -> None:
    """One alert, and what became of each of its messages."""
    opened = installation()
    alert, deliveries = opened.alert(alert_id)
    if as_json:
        print_json({"alert": alert, "deliveries": deliveries})
        return
    runbook = opened.alert_rules.links.runbook(alert.kind)
    print_table(
        f"{alert.severity}: {alert.title}",
        ("", ""),
        (
            ("state", _state(alert)),
            ("opened", moment(alert.opened_at)),
            ("last seen", f"{moment(alert.last_seen_at)}, {alert.times} times"),
            ("closed", moment(alert.closed_at)),
            ("seen", alert.seen),
            ("means", alert.means),
            ("do", alert.do),
            ("key", alert.key),
            ("run", alert.run_id or "-"),
            ("runbook", runbook),
            *alert.facts,
        ),
    )
    _print_deliveries("Its messages", deliveries)


@command.command("ack")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--by", metavar="NAME", help="Who takes care of it; you, if not given.")
@click.option("--note", default="", metavar="TEXT", help="For whoever reads it later.")
@json_option
def ack(ids: tuple[str, ...], by: str | None, note: str, as_json: bool) -> None:
    """Say that somebody takes care of it: no more escalations, a reminder a day."""
    done = installation().acknowledge(ids, by=by or _me(), note=note)
    if as_json:
        print_json(done)
        return
    for each in done:
        say(f"acknowledged: {each.id} {each.title} ({each.acknowledged_by})")


@command.command("close")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option("--by", metavar="NAME", help="Who says so; you, if not given.")
@json_option
def close(ids: tuple[str, ...], by: str | None, as_json: bool) -> None:
    """End an alert that nothing will mend by itself. What breaks again opens a new one."""
    done = installation().close_alerts(ids, by=by or _me())
    if as_json:
        print_json(done)
        return
    for each in done:
        say(f"closed: {each.id} {each.title}")


@command.command("test")
@click.argument("names", metavar="[CHANNEL...]", nargs=-1)
@json_option
def test(names: tuple[str, ...], as_json: bool) -> None:
    """Send a test to each channel. 91: one does not answer; 92: one refuses us."""
    findings = installation().test_channels(names)
    if not findings:
        raise ConfigurationError(
            "test the channels: none is configured",
            hint="Set KB_DR_SLACK_WEBHOOK_URL or another channel; .env.example lists them.",
        )
    if as_json:
        print_json(findings)
    else:
        print_table(
            "A test of each channel",
            ("channel", "outcome", "seen", "what to do"),
            ((each.subject, each.outcome, each.seen, each.hint) for each in findings),
        )
    bad = [each for each in findings if not each.good]
    if bad:
        names_of_bad = ", ".join(each.subject for each in bad)
        down = all(each.outcome is Outcome.COULD_NOT_RUN for each in bad)
        kind = ChannelUnavailable if down else ChannelRefused
        raise kind(f"test the channels: not taken by {names_of_bad}", hint=bad[0].hint)


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"  # a container may run as a user without a name


def _since(alert: Alert, now: datetime) -> str:
    """For how long, and who takes care of it; few words, since a terminal is narrow."""
    if not alert.open:
        return f"{moment(alert.opened_at)}, {_state(alert)}"
    lasts = age(max(0.0, (now - alert.opened_at).total_seconds()))
    return lasts if _state(alert) == "open" else f"{lasts}, {_state(alert)}"


def _state(alert: Alert) -> str:
    if not alert.open:
        return "told" if alert.is_told_once else f"over after {age(alert.lasted_seconds)}"
    if alert.acknowledged_at is not None:
        return f"{alert.acknowledged_by} takes care of it"
    return "escalated" if alert.escalated_at is not None else "open"


def _print_deliveries(title: str, deliveries: tuple[Delivery, ...]) -> None:
    print_table(
        title,
        ("message", "channel", "state", "tried", "since", "last error"),
        (
            (
                f"{each.what}: {each.message.title}",
                each.channel,
                each.state,
                each.attempts,
                moment(each.created_at),
                each.last_error or "-",
            )
            for each in deliveries
        ),
    )
