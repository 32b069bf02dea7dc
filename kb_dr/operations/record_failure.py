"""Leave a record of a backup that did not come to its end."""

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_failure import BackupFailure
from kb_dr.domain.backup_id import BackupId
from kb_dr.errors import KbDrError
from kb_dr.ports import Clock, Repository


def record_failure(
    repository: Repository,
    clock: Clock,
    backup: BackupId,
    attempt: str,
    host: str,
    error: BaseException,
) -> None:
    """Store why an attempt failed. When that fails too, ``error`` gets a note and stays what
    counts. A process that is killed leaves no record; its leftovers are swept all the same.
    """
    known = error if isinstance(error, KbDrError) else None
    record = BackupFailure(
        schema_version=records.SCHEMA_VERSION,
        backup_id=str(backup),
        attempt=attempt,
        failed_at=clock.now(),
        error=type(error).__name__,
        exit_code=known.exit_code if known else 1,
        # Only our own messages are known to hold no secret.
        message=str(known) if known else type(error).__name__,
        hint=known.hint if known else "",
        host=host,
    )
    try:
        repository.put(layout.failure_key(backup, attempt), records.to_json(record))
    except KbDrError as second:
        error.add_note(f"the failure could not be recorded: {second}")
