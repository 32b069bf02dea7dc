"""The words that say what to recover to, shared by every verb that restores."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kb_dr.cli.opened import parse_backup_id
from kb_dr.errors import ConfigurationError
from kb_dr.settings import COPY_NAMES

if TYPE_CHECKING:
    from kb_dr.domain.recovery_target import RecoveryTarget
    from kb_dr.operations.plan_target import Wanted

F = TypeVar("F", bound=Callable[..., Any])

AUTO = "auto"

_OPTIONS = (
    click.option("--latest", is_flag=True, help="To the end of the archive."),
    click.option(
        "--target-time",
        metavar="TIME",
        help="To a moment, with its zone: 2026-11-20T02:03:04Z, or +01:00 instead of Z.",
    ),
    click.option("--target-lsn", metavar="LSN", help="To a position in the WAL: 16/B374D848."),
    click.option("--target-name", metavar="NAME", help="To a restore point."),
    click.option(
        "--exclusive",
        is_flag=True,
        help="Stop just before the time or LSN, not behind it.",
    ),
    click.option(
        "--target-timeline",
        metavar="N",
        type=click.IntRange(min=1),
        help="The timeline; default: the one that was being written then.",
    ),
    click.option(
        "--backup", "backup_id", metavar="ID", help="From this backup; default: the best one."
    ),
    click.option(
        "--from",
        "copy",
        type=click.Choice((AUTO, *COPY_NAMES)),
        default=AUTO,
        show_default=True,
        help="The copy to read.",
    ),
)


def target_options(command: F) -> F:
    """Add all of them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def wanted_of(
    *,
    latest: bool,
    target_time: str | None,
    target_lsn: str | None,
    target_name: str | None,
    exclusive: bool,
    target_timeline: int | None,
    backup_id: str | None,
) -> Wanted:
    """What was typed, as values; ConfigurationError when it says nothing, or two things at once."""
    from kb_dr.operations.plan_target import Wanted

    asked = [target_time, target_lsn, target_name]
    count = sum(each is not None for each in asked) + latest
    if count > 1:
        raise ConfigurationError(
            "restore: more than one target was given",
            hint="Give one of --latest, --target-time, --target-lsn and --target-name.",
        )
    if not count and backup_id is None:
        raise ConfigurationError(
            "restore: no target was given",
            hint="Give --latest, --target-time TIME, --target-lsn LSN or --target-name NAME; "
            "--backup ID alone means: from that backup, to the end of the archive.",
        )
    if exclusive and target_time is None and target_lsn is None:
        raise ConfigurationError(
            "restore: --exclusive goes with --target-time or --target-lsn",
            hint="A restore point and the end of the archive have no other side.",
        )
    backup = parse_backup_id(backup_id) if backup_id is not None else None
    target = _target(target_time, target_lsn, target_name, inclusive=not exclusive)
    return Wanted(target, backup, target_timeline)


def copy_of(word: str) -> str | None:
    """None for ``auto``: the first copy that can serve the target."""
    return None if word == AUTO else word


def _target(
    time: str | None, lsn: str | None, name: str | None, *, inclusive: bool
) -> RecoveryTarget:
    from kb_dr.domain.lsn import Lsn
    from kb_dr.domain.recovery_target import AtLsn, Latest, parse_name, parse_time

    try:
        if time is not None:
            return parse_time(time, inclusive=inclusive)
        if lsn is not None:
            return AtLsn(Lsn.parse(lsn), inclusive)
        if name is not None:
            return parse_name(name)
    except ValueError as error:
        raise ConfigurationError(
            f"restore: {error}", hint="`kb-dr restore --help` shows the form of each target."
        ) from error
    return Latest()
