"""The form of `restore_database` at the Launchpad, and what is wrong with one that is filled in.

What Dagster can refuse before the launch is in the types: a word that is none of the choices, a
time that is missing, a confirmation that is missing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import dagster as dg
from pydantic import Field

from kb_dr.defs.copies import CopyRead
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.recovery_target import AtLsn, Latest, RecoveryTarget, parse_name, parse_time
from kb_dr.errors import ConfigurationError
from kb_dr.operations.plan_target import Wanted

EXCLUSIVE = "true: stop just before it instead of behind it."


class DryRun(dg.Config):
    """Show the plan; change nothing."""

    kind: Literal["dry_run"] = "dry_run"


class Execute(dg.Config):
    """Restore."""

    kind: Literal["execute"] = "execute"
    confirm_target: str = Field(
        description="Type the directory of `into` once more. Without it nothing can be launched."
    )


class ToLatest(dg.Config):
    """To the end of the archive."""

    kind: Literal["latest"] = "latest"


class ToTime(dg.Config):
    """To what was committed by a moment."""

    kind: Literal["time"] = "time"
    at: str = Field(
        description="The moment, with its zone: 2026-11-20T02:03:04Z, or 2026-11-20T03:03:04+01:00."
    )
    exclusive: bool = Field(default=False, description=EXCLUSIVE)


class ToLsn(dg.Config):
    """To a position in the WAL."""

    kind: Literal["lsn"] = "lsn"
    lsn: str = Field(description="The position: 16/B374D848.")
    exclusive: bool = Field(default=False, description=EXCLUSIVE)


class ToName(dg.Config):
    """To a restore point."""

    kind: Literal["name"] = "name"
    name: str = Field(description="What pg_create_restore_point() was given: before_the_upgrade.")


class RestoreForm(dg.Config):
    """What to restore, where to, and whether to do it or to show the plan."""

    action: DryRun | Execute = Field(
        default=DryRun(),
        discriminator="kind",
        description="`dry_run: {}` shows the plan and changes nothing. "
        "`execute: {confirm_target: /the/directory}` restores.",
    )
    target: ToLatest | ToTime | ToLsn | ToName = Field(
        default=ToLatest(),
        discriminator="kind",
        description="What to recover to, one of: `latest: {}` | `time: {at: 2026-11-20T02:03:04Z}` "
        "| `lsn: {lsn: 16/B374D848}` | `name: {name: before_the_upgrade}`.",
    )
    into: str = Field(
        description="The directory the cluster is put into, absolute; not there yet, or empty. "
        "It appears as the last step, on the machine the run works on."
    )
    copy_read: CopyRead = Field(
        default=CopyRead.auto,
        description="The copy to read: `auto` is the nearest that can serve the target.",
    )
    timeline: int | None = Field(
        default=None,
        description="The timeline; empty: the one that was being written then.",
    )
    backup_id: str | None = Field(
        default=None,
        description="From this backup, such as kb-full-20261120-020000; empty: the best one.",
    )


PREFILLED = {
    "action": {"dry_run": {}},
    "target": {"latest": {}},
    "into": "/var/lib/postgresql/restored",
    "copy_read": CopyRead.auto.value,
}
"""What stands in the Launchpad: to launch it as it is shows a plan, and changes nothing."""


def refuse_environment(given: object) -> None:
    """Return unless a field, as it was filled in, names a variable of the environment.

    Dagster puts its value in the place of ``env: NAME``, and what is asked for is shown on the
    pages: a secret would be, too.
    """
    for value in given.values() if isinstance(given, Mapping) else ():
        if isinstance(value, Mapping) and set(value) == {"env"}:
            raise ConfigurationError(
                "restore: a field is taken from the environment of the process",
                hint="Type the value itself: all of the form is shown on the pages.",
            )
        refuse_environment(value)


def check_confirmation(form: RestoreForm) -> None:
    """Return unless the form says `execute` and does not repeat the directory."""
    if isinstance(form.action, Execute) and form.action.confirm_target != form.into:
        raise ConfigurationError(
            f"restore into {form.into!r}: confirmed {form.action.confirm_target!r}",
            hint="confirm_target has to repeat `into`, letter by letter.",
        )


def directory_of(form: RestoreForm) -> Path:
    """Where to; ConfigurationError for a path that is not absolute."""
    into = Path(form.into)
    if not into.is_absolute():
        raise ConfigurationError(
            f"restore into {form.into!r}: expected an absolute path",
            hint="The run works in a directory of its own: a relative path would lead there.",
        )
    return into


def wanted_of(form: RestoreForm) -> Wanted:
    """What is asked for, as values; ConfigurationError for words that are none."""
    if form.timeline is not None and form.timeline < 1:
        raise ConfigurationError(
            f"restore: timeline {form.timeline}, expected 1 or more", hint="Leave it empty."
        )
    try:
        backup = BackupId.parse(form.backup_id) if form.backup_id else None
        return Wanted(_target(form.target), backup, form.timeline)
    except ValueError as error:
        raise ConfigurationError(
            f"restore: {error}", hint="The Launchpad shows the form of each field."
        ) from error


def _target(asked: ToLatest | ToTime | ToLsn | ToName) -> RecoveryTarget:
    match asked:
        case ToLatest():
            return Latest()
        case ToTime():
            return parse_time(asked.at, inclusive=not asked.exclusive)
        case ToLsn():
            return AtLsn(Lsn.parse(asked.lsn), not asked.exclusive)
        case ToName():
            return parse_name(asked.name)
