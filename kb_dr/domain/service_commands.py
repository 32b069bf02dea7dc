"""The operator's own commands that stop, start and check the service around a cluster."""

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

_PROGRAM = re.compile(r"[\w./+-]+")
"""A first word that cannot hold a secret: no assignment, no address."""


class Command(StrEnum):
    """Each command, by the setting that holds it."""

    APP_STOP = "KB_DR_APP_STOP_COMMAND"
    APP_START = "KB_DR_APP_START_COMMAND"
    POSTGRES_STOP = "KB_DR_POSTGRES_STOP_COMMAND"
    POSTGRES_START = "KB_DR_POSTGRES_START_COMMAND"
    MIGRATIONS = "KB_DR_MIGRATIONS_COMMAND"
    MIGRATIONS_CHECK = "KB_DR_MIGRATIONS_CHECK_COMMAND"
    HEALTH = "KB_DR_HEALTH_COMMAND"


@dataclass(frozen=True, slots=True)
class ServiceCommands:
    """Lines for a shell; None where there is nothing to run."""

    app_stop: str | None = None
    app_start: str | None = None
    postgres_stop: str | None = None
    postgres_start: str | None = None
    migrations: str | None = None
    """Brings the schema of the database its environment names to what the application expects."""
    migrations_check: str | None = None
    health: str | None = None
    health_url: str | None = None
    """Answers with a status of 200 to 299 while the service is well."""
    seconds: float = 300.0
    """Deadline of one command, and of waiting for the server or the service to be well."""

    def line(self, command: Command) -> str | None:
        """What is run."""
        return {
            Command.APP_STOP: self.app_stop,
            Command.APP_START: self.app_start,
            Command.POSTGRES_STOP: self.postgres_stop,
            Command.POSTGRES_START: self.postgres_start,
            Command.MIGRATIONS: self.migrations,
            Command.MIGRATIONS_CHECK: self.migrations_check,
            Command.HEALTH: self.health,
        }[command]

    def told(self, command: Command) -> str:
        """A command for people: its setting, and its first word; secrets may stand in the rest."""
        words = (self.line(command) or "").split()
        if not words or not _PROGRAM.fullmatch(words[0]):
            return f"{command}"
        return f"{command}: {words[0]}{' …' if words[1:] else ''}"

    @property
    def drives_server(self) -> bool:
        """Whether the server is stopped and started by us; both commands are there, or none."""
        return self.postgres_stop is not None

    @property
    def checks_health(self) -> bool:
        """Whether anything says that the service is well."""
        return self.health is not None or self.health_url is not None


def is_health_address(url: str) -> bool:
    """Whether it can be asked: http or https, a host, no user, nothing that must be escaped."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
        named = parts.scheme in ("http", "https") and host and parts.port != 0
    except ValueError:
        return False
    return bool(named) and parts.username is None and re.fullmatch(r"[!-~]+", url) is not None
