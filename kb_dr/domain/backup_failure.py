"""The record of a backup that did not come to its end."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class BackupFailure:
    """One attempt that failed, and why; its chunks are swept later."""

    schema_version: int
    backup_id: str
    attempt: str
    failed_at: datetime
    error: str
    """The error's class."""
    exit_code: int
    message: str
    hint: str
    host: str
