"""`kb-dr status`: can we recover now?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kb_dr.cli.opened import installation, json_option
from kb_dr.cli.output import age, moment, print_json, print_table, say
from kb_dr.errors import ObjectiveBroken

if TYPE_CHECKING:
    from kb_dr.domain.status import CopyStatus, Status, WindowStatus


@click.command("status")
@click.option(
    "--everything",
    is_flag=True,
    help="Look at every backup and all of its WAL; else at the newest, as far back as it takes.",
)
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
    help="Draw what is proven, recoverable or a gap, of each copy, into FILE. Reads everything.",
)  # fmt: skip
@click.option(
    "--nagios",
    is_flag=True,
    help="One line with performance data, for Nagios and cron; exits 0 OK, 1 WARNING, "
    "2 CRITICAL, 3 UNKNOWN.",
)
@click.option(
    "--timeout", "timeout_seconds", type=click.FloatRange(min=0.1), metavar="SECONDS",
    help="With --nagios: UNKNOWN when it has taken so long.",
)  # fmt: skip
@json_option
def command(
    everything: bool,
    plot: Path | None,
    nagios: bool,
    timeout_seconds: float | None,
    as_json: bool,
) -> int | None:
    """Can we recover now, to when, from which copy, and is it proven?

    Exits 0 only when every objective holds; what cannot be told does not hold.
    """
    from kb_dr.cli.nagios import check_status

    if nagios:
        if plot is not None or as_json:
            raise click.UsageError("--nagios goes with --everything and --timeout alone")
        return check_status(everything=everything, timeout_seconds=timeout_seconds)
    if timeout_seconds is not None:
        raise click.UsageError("--timeout goes with --nagios")
    opened = installation()
    status = opened.status(everything=everything)
    if plot is not None:
        plot.write_bytes(opened.draw_window(opened.bands(), status.now))
    if as_json:
        print_json(status)
    else:
        _print(status)
    if not status.holds:
        broken = [each.subject for each in status.objectives if not each.good]
        raise ObjectiveBroken(
            f"status: {len(broken)} of {len(status.objectives)} objectives do not hold: "
            + ", ".join(broken),
            hint="The table above says what was seen, and what to do.",
        )
    return None


def _print(status: Status) -> None:
    say(f"recoverable: {'yes' if status.recoverable else 'NO'} (looked at {moment(status.now)})")
    print_table(
        "Copies",
        ("copy", "backups", "newest", "newest proven", "recoverable to", "lost if disaster now"),
        (_copy_row(copy, status) for copy in status.copies),
    )
    print_table(
        "Objectives",
        ("objective", "outcome", "seen", "what to do"),
        ((each.subject, each.outcome, each.seen, each.hint) for each in status.objectives),
    )
    print_table(
        "Recoverable",
        ("copy", "from", "to", "timeline", "backups", "proven base"),
        (_window_row(each) for each in status.windows),
        caption="" if status.windows else "to no moment at all",
    )
    _print_times(status)
    for note in status.notes:
        say(f"note: {note}")


def _window_row(window: WindowStatus) -> tuple[object, ...]:
    base = window.base
    return (
        window.copy,
        f"{moment(window.begins_at)} or earlier" if window.or_earlier else window.begins_at,
        window.ends_at or window.problem or "not known",
        window.timeline,
        window.backups,
        f"{base.id}, from {base.proven_in}" if base else "none",
    )


def _print_times(status: Status) -> None:
    """The restore as it was measured, beside what one would take now."""
    from kb_dr.domain.forecast import BETWEEN, phase_of

    rto, told = status.rto, [each for each in status.forecasts if each.forecast.phases]
    ready = (
        f"in about {age(each.forecast.seconds)} from {each.copy}"
        if each.forecast.seconds is not None
        else f"not known from {each.copy}"
        for each in status.forecasts
    )
    measured: dict[str, float] = {}
    for phase in rto.phases if rto else ():
        name = phase_of(phase.name)
        measured[name] = measured.get(name, 0.0) + phase.seconds
    if rto is not None:
        measured[BETWEEN] = rto.seconds - sum(measured.values())
    forecasts = [{part.name: part.seconds for part in each.forecast.phases} for each in told]
    names = dict.fromkeys([*measured, *(name for each in forecasts for name in each)])
    print_table(
        f"Disaster now: ready {', '.join(ready) or 'never'}",
        (
            "seconds of",
            f"measured ({rto.backup_id} from {rto.copy})" if rto else "never measured",
            *(f"forecast ({each.backup_id} from {each.copy})" for each in told),
        ),
        (
            *(
                (name, measured.get(name), *(each.get(name) for each in forecasts))
                for name in names
            ),
            ("all", rto.seconds if rto else None, *(each.forecast.seconds for each in told)),
        ),
        caption="; ".join(f"{each.copy}: {each.forecast.basis}" for each in status.forecasts),
    )


def _none_proven(copy: CopyStatus) -> str:
    from kb_dr.domain.proof import Standing

    void = sum(1 for each in copy.backups if each.standing is Standing.VOID)
    return f"none ({void} void)" if void else "none"


def _copy_row(copy: CopyStatus, status: Status) -> tuple[object, ...]:
    window = copy.tip_window
    rpo = next((each for each in status.rpo if each.copy == copy.copy), None)
    return (
        f"{copy.copy} ({copy.url})",
        copy.problem or f"{len(copy.backups)}{' looked at' if copy.looked_since else ''}",
        copy.newest_backup.id if copy.newest_backup else None,
        copy.newest_proven.id if copy.newest_proven else _none_proven(copy),
        f"{moment(window.end.at)} ({window.end.lsn}, timeline {window.end.timeline})"
        if window and window.end
        else (window.problem if window else "nothing"),
        age(rpo.seconds) if rpo and rpo.seconds is not None else "not known",
    )
