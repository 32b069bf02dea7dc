"""`kb-dr status`: can we recover now?"""

import click

from kb_dr.cli.opened import installation, json_option
from kb_dr.cli.output import age, moment, print_json, print_table, say
from kb_dr.domain.status import CopyStatus, Status
from kb_dr.errors import ObjectiveBroken


@click.command("status")
@json_option
def command(as_json: bool) -> None:
    """Can we recover now, to when, from which copy, and is it proven?

    Exits 0 only when every objective holds; what cannot be told does not hold.
    """
    status = installation().status()
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
    if status.rto is not None:
        print_table(
            f"Recovery time, as measured: {age(status.rto.seconds)} "
            f"({status.rto.backup_id} from {status.rto.copy})",
            ("phase", "seconds"),
            ((phase.name, phase.seconds) for phase in status.rto.phases),
        )
    for note in status.notes:
        say(f"note: {note}")


def _copy_row(copy: CopyStatus, status: Status) -> tuple[object, ...]:
    window = copy.tip_window
    rpo = next((each for each in status.rpo if each.copy == copy.copy), None)
    return (
        f"{copy.copy} ({copy.url})",
        copy.problem or len(copy.backups),
        copy.newest_backup.id if copy.newest_backup else None,
        copy.newest_proven.id if copy.newest_proven else "none",
        f"{moment(window.end.at)} ({window.end.lsn}, timeline {window.end.timeline})"
        if window and window.end
        else (window.problem if window else "nothing"),
        age(rpo.seconds) if rpo and rpo.seconds is not None else "not known",
    )
