"""What most verbs begin with: the installation the settings describe, and a progress to watch."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kb_dr.cli.app import configure_logging
from kb_dr.domain.backup_id import BackupId
from kb_dr.errors import ConfigurationError
from kb_dr.settings import COPY_NAMES, Settings, load_settings

if TYPE_CHECKING:
    from kb_dr.installation import Installation
    from kb_dr.ports import Progress

F = TypeVar("F", bound=Callable[..., Any])


def installation() -> Installation:
    """The installation of the environment and ``--env-file``."""
    from kb_dr.installation import open_installation

    return open_installation(read_settings())


def read_settings() -> Settings:
    """The settings; from now on this process logs the way they say."""
    settings = load_settings()
    configure_logging(
        logging.getLogger("kb_dr").level or logging.INFO, settings.log_format, settings.service
    )
    return settings


def progress() -> Progress:
    """A bar on a terminal, plain lines elsewhere; both on stderr."""
    if sys.stderr.isatty():
        from kb_dr.cli.progress_bar import BarProgress

        return BarProgress()
    from kb_dr.adapters.log_progress import LogProgress

    return LogProgress()


def json_option(command: F) -> F:
    """``--json``: one document for machines instead of tables for people."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document.")(command)


def from_option(default: str | None) -> Callable[[F], F]:
    """``--from``: the copy to read."""
    return click.option(
        "--from", "copy", type=click.Choice(COPY_NAMES), default=default, show_default=True,
        help="The copy to read.",
    )  # fmt: skip


def parse_backup_id(text: str) -> BackupId:
    """An id as typed; a ConfigurationError that shows the form otherwise."""
    try:
        return BackupId.parse(text)
    except ValueError as error:
        raise ConfigurationError(str(error), hint="`kb-dr list` shows the ids.") from error
