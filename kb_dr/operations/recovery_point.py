"""Take a recovery point: no files, but a named state that its parent's WAL leads to."""

import hashlib
from collections.abc import Callable
from dataclasses import replace

from kb_dr import records
from kb_dr.domain.increment import RECOVERY_POINT
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Manifest, StoredManifest, WalPosition
from kb_dr.errors import PostgresError
from kb_dr.operations.await_wal import await_wal
from kb_dr.operations.backup_run import (
    BackupRun,
    complete,
    refuse_no_archive,
    refuse_other_tablespaces,
    store_configuration,
    switch_wal,
)
from kb_dr.operations.name_backup import clock_notes

_NOTHING = hashlib.sha256().hexdigest()


def take_recovery_point(
    run: BackupRun, parent: StoredManifest, *, last_question: Callable[[], None] = lambda: None
) -> StoredManifest:
    """Fingerprint the source around a restore point, and commit to the WAL that leads there.

    It needs everything its parent does, and every segment from the parent's start through its
    own restore point; all of that stands in the repository when this returns. Raises as
    take_base_backup() does.
    """
    refuse_no_archive(run)
    described = run.source.describe()
    base = parent.manifest
    if described.tablespaces != base.source.tablespaces:
        raise PostgresError(
            f"back up {run.backup}: other tablespaces than those of {base.id}",
            hint="Start the backup again: it will be a full one.",
        )
    run.progress.begin("fingerprint")
    ends: list[Lsn] = []
    fingerprint, notes = run.source.fingerprint(
        str(run.backup), run.tools.critical_tables, lambda lsn: ends.append(switch_wal(run, lsn))
    )
    refuse_other_tablespaces(run, described)
    configuration, unread = store_configuration(run)
    _refuse_other_line(run, base, described.system_identifier)
    manifest = Manifest(
        schema_version=records.SCHEMA_VERSION,
        id=str(run.backup),
        attempt=run.attempt,
        kind=run.backup.kind,
        engine=RECOVERY_POINT,
        service=run.tools.service,
        org=run.tools.org,
        started=run.started,
        finished=run.started,
        wal=WalPosition(base.wal.timeline, base.wal.start, ends[0]),
        source=described,
        fingerprint=fingerprint,
        chunks=(),
        plain_bytes=0,
        plain_sha256=_NOTHING,
        postgres_manifest=None,
        compression="zstd",
        recipients=run.codec.recipients,
        tools=run.versions(),
        host=run.tools.host,
        configuration=configuration,
        parent=base.id,
        parent_digest=parent.digest,
        notes=(*run.notes, *clock_notes(run.repository, run.backup, run.started), *notes, *unread),
    )
    _await_end(run, manifest)
    return complete(run, manifest, last_question)


def _refuse_other_line(run: BackupRun, base: Manifest, system_identifier: int) -> None:
    """Asked after the restore point was written: the WAL it is in continues the parent's."""
    facts = run.source.facts()
    seen = (system_identifier, facts.system_identifier, facts.timeline)
    system = base.source.system_identifier
    if seen != (system, system, base.wal.timeline):
        raise PostgresError(
            f"back up {run.backup}: cluster {facts.system_identifier} on timeline "
            f"{facts.timeline}, expected {system} on timeline {base.wal.timeline}",
            hint="The server was promoted or replaced meanwhile; start the backup again.",
        )


def _await_end(run: BackupRun, manifest: Manifest) -> None:
    """Wait for the last segments alone: a listing from the parent's start may be a long one."""
    end = replace(manifest, wal=replace(manifest.wal, start=manifest.fingerprint.lsn))
    run.progress.begin("await WAL")
    await_wal(
        run.repository,
        end,
        run.source,
        run.lock,
        run.clock,
        deadline_seconds=run.tools.wal_deadline_seconds,
    )
