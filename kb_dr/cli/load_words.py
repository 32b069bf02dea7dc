"""The words of `kb-dr restore` that go with dumps and local files, and which of both is meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kb_dr.cli.opened import parse_backup_id
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import ConfigurationError

if TYPE_CHECKING:
    from kb_dr.cli.replace import Consent

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """What was typed of them."""

    file: Path | None
    dump: bool
    tables: tuple[str, ...]
    schemas: tuple[str, ...]
    jobs: int | None
    no_owners: bool
    no_grants: bool
    make_roles: bool
    no_checksum: bool

    @property
    def given(self) -> list[str]:
        """Those that mean nothing for a backup of files."""
        said = {
            "--table": self.tables,
            "--schema": self.schemas,
            "--jobs": self.jobs,
            "--no-owners": self.no_owners,
            "--no-grants": self.no_grants,
            "--globals": self.make_roles,
            "--no-checksum": self.no_checksum,
        }
        return [name for name, value in said.items() if value]


_OPTIONS = (
    click.option(
        "--file",
        "file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="A local dump instead of a backup: .sql.gz, .sql, .dump or .dir.",
    ),
    click.option("--dump", is_flag=True, help="The newest logical dump."),
    click.option(
        "--table", "tables", metavar="TABLE", multiple=True, help="Of a dump: this table alone."
    ),
    click.option(
        "--schema", "schemas", metavar="SCHEMA", multiple=True, help="Of a dump: this schema alone."
    ),
    click.option(
        "--jobs", type=click.IntRange(1, 64), help="Of a dump: connections that load at once."
    ),
    click.option("--no-owners", is_flag=True, help="Of a dump: all belongs to who restores."),
    click.option("--no-grants", is_flag=True, help="Of a dump: nobody is granted anything."),
    click.option(
        "--globals", "make_roles", is_flag=True, help="Of a dump: create missing roles, no login."
    ),
    click.option("--no-checksum", is_flag=True, help="With --file: without its .sha256."),
)


def load_options(command: F) -> F:
    """Add all of them, handed to the command as one ``load``."""

    @wraps(command)
    def gathered(**words: Any) -> Any:
        names = LoadOptions.__dataclass_fields__
        load = LoadOptions(**{name: words.pop(name) for name in names})
        return command(load=load, **words)

    for option in reversed(_OPTIONS):
        gathered = option(gathered)
    return gathered  # type: ignore[return-value]  # click's commands are called by their words


def is_load(load: LoadOptions, backup_id: str | None, into: str | None) -> bool:
    """Whether a dump or a file is to go into a database, and not files into a directory."""
    from kb_dr.domain.database_url import is_database_url

    return (
        load.file is not None
        or load.dump
        or (into is not None and is_database_url(into))
        or (backup_id is not None and parse_backup_id(backup_id).kind is BackupKind.DUMP)
    )


def require_no_load_words(load: LoadOptions) -> None:
    """Refuse words of a dump with a backup of files."""
    if load.given:
        raise ConfigurationError(
            f"restore: {', '.join(load.given)} go{'' if load.given[1:] else 'es'} with a dump",
            hint="Name one with --backup kb-dump-…, --dump (the newest) or --file FILE. A backup "
            "of files gives back the whole cluster.",
        )


def require_load_words(
    load: LoadOptions,
    backup_id: str | None,
    into: str | None,
    consent: Consent,
    words: dict[str, Any],
) -> BackupId | None:
    """The dump that was named; ConfigurationError for words that do not go together."""
    from kb_dr.domain.database_url import is_database_url

    if into is not None and not is_database_url(into):
        raise ConfigurationError(
            "restore --into: a directory, and a dump goes into a database",
            hint="Leave --into out (a database beside that under protection), or give "
            "postgresql://USER@HOST:PORT/NAME.",
        )
    asked = [
        f"--{name.replace('_', '-')}"
        for name in (
            "latest",
            "target_time",
            "target_lsn",
            "target_name",
            "exclusive",
            "target_timeline",
        )
        if words.get(name)
    ]
    if asked:
        raise ConfigurationError(
            f"restore: {', '.join(asked)} with a dump, which has one moment alone: its own",
            hint="For a point in time restore a backup of files: --into DIRECTORY and the target. "
            "For a dump leave the target out; --dump is the newest.",
        )
    if load.no_checksum and load.file is None:
        raise ConfigurationError(
            "restore: --no-checksum goes with --file",
            hint="A dump of the repository is always held against its manifest.",
        )
    if (
        not consent.replace
        and not consent.roll_back
        and (consent.force_production or consent.confirm_service is not None or consent.yes)
    ):
        raise ConfigurationError(
            "restore: --force-production, --confirm-service and --yes go with --replace",
            hint="A restore beside asks nothing and replaces nothing.",
        )
    chosen = [load.file is not None, load.dump, backup_id is not None]
    if consent.roll_back:
        if any(chosen) or load.given or consent.replace:
            raise ConfigurationError(
                "restore --roll-back: no dump goes with it, and no --replace",
                hint="Give --roll-back --into postgresql://…/NAME alone.",
            )
        return None
    if sum(chosen) != 1:
        raise ConfigurationError(
            "restore: " + ("more than one dump was named" if any(chosen) else "no dump was named"),
            hint="Give one of --backup kb-dump-…, --dump (the newest) and --file FILE.",
        )
    return parse_backup_id(backup_id) if backup_id is not None else None
