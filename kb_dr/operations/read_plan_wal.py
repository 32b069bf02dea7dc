"""Read one WAL file of a recovery plan."""

import io
from datetime import UTC, datetime

from kb_dr.domain.recovery import WalFile
from kb_dr.domain.stored import Listed
from kb_dr.errors import (
    ChecksumMismatch,
    ObjectMissing,
    RepositoryError,
    WalDamaged,
    WalGap,
    WrongCluster,
)
from kb_dr.operations.partial_wal import read_planned_partial
from kb_dr.operations.read_wal import read_wal_into
from kb_dr.ports import Codec, Repository, Writable

_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)


def read_plan_wal(
    repository: Repository, codec: Codec, file: WalFile, *, system_identifier: int
) -> bytes:
    """The plain bytes of a planned file; raises as read_plan_wal_into() does."""
    plain = io.BytesIO()
    read_plan_wal_into(repository, codec, file, plain, system_identifier=system_identifier)
    return plain.getvalue()


def read_plan_wal_into(
    repository: Repository, codec: Codec, file: WalFile, sink: Writable, *, system_identifier: int
) -> int:
    """Write the plain bytes of a planned file into ``sink``; of a partial segment, all that was
    planned of it. Returns how many; they are checked when it does, and not before.

    WalDamaged when it is not what was archived: empty, cut short, changed, or of another cluster;
    WalGap when it has been removed since the plan was made. Anything that only keeps us from
    reading it is raised as the repository and codec raise it, and what ``sink`` raises.
    """
    listed = Listed(file.key, file.stored_bytes, _UNKNOWN)
    try:
        if file.partial:
            return sink.write(read_planned_partial(repository, codec, file.key))
        return read_wal_into(
            repository,
            codec,
            listed,
            file.name,
            file.sha256,
            sink,
            system_identifier=system_identifier,
        )
    except (ChecksumMismatch, WrongCluster) as error:
        raise WalDamaged(
            f"read WAL file {file.name} of {repository.url}: {error}",
            hint=(
                error.hint
                if file.partial
                else "This copy's WAL is damaged: restore from another copy."
            ),
        ) from error
    except RepositoryError as error:
        if isinstance(error.__cause__, ObjectMissing):
            raise WalGap(
                f"read WAL file {file.name} of {repository.url}: it is no longer there",
                hint="Find out what removes WAL from this copy; restore from another one.",
            ) from error
        raise
