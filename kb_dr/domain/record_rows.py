"""One record of the buckets, one row of the catalog."""

from kb_dr.domain.backup_failure import BackupFailure
from kb_dr.domain.catalog_rows import FailureRow, HoldRow, ManifestRow, ProofRow, PurgeRow
from kb_dr.domain.hold import HoldEvent
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.proof import Proof, Void, is_void
from kb_dr.domain.tombstone import Tombstone


def manifest_row(manifest: Manifest, digest: str) -> ManifestRow:
    """What a backup is made of; the digest is of the manifest's bytes."""
    return ManifestRow(
        backup_id=manifest.id,
        digest=digest,
        kind=str(manifest.kind),
        engine=manifest.engine,
        parent=manifest.parent,
        parent_digest=manifest.parent_digest,
        replaces=manifest.replaces,
        started=manifest.started,
        finished=manifest.finished,
        host=manifest.host,
        source_host=manifest.source.host,
        database=manifest.source.database,
        server_version=manifest.source.server_version,
        system_identifier=manifest.source.system_identifier,
        timeline=manifest.wal.timeline,
        wal_start=manifest.wal.start,
        wal_stop=manifest.wal.stop,
        restore_point=manifest.fingerprint.restore_point,
        restore_lsn=manifest.fingerprint.lsn,
        schema_version=manifest.source.schema_version,
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        objects=len(manifest.objects),
    )


def proof_row(proof: Proof, void: Void | None) -> ProofRow:
    """One proof; void when it is green by a verifier that was blind then."""
    reach = proof.reach
    return ProofRow(
        id=proof.id,
        backup_id=proof.backup_id,
        copy=proof.copy,
        url=proof.url,
        digest=proof.manifest_digest,
        verdict=str(proof.verdict),
        void=is_void(proof, void),
        to_the_end=proof.to_the_end,
        started=proof.started,
        finished=proof.finished,
        rto_seconds=proof.rto_seconds,
        reached_timeline=reach.reached_timeline if reach else None,
        reached_lsn=reach.reached_lsn if reach else None,
        expected_lsn=reach.expected_lsn if reach else None,
        newest_commit=reach.newest_commit if reach else None,
        asked=reach.asked if reach else None,
        reason=proof.reason,
        host=proof.host,
    )


def hold_row(event: HoldEvent, in_force: set[str]) -> HoldRow:
    """One hold or release."""
    return HoldRow(
        id=event.id,
        backup_id=event.backup_id,
        action=str(event.action),
        at=event.at,
        reason=event.reason,
        host=event.host,
        releases=event.releases,
        in_force=event.id in in_force,
    )


def purge_row(step: Tombstone) -> PurgeRow:
    """One step on the way out of a copy, or back."""
    return PurgeRow(
        id=step.id,
        backup_id=step.backup_id,
        copy=step.copy,
        step=str(step.step),
        at=step.at,
        reason=step.reason,
        host=step.host,
        digest=step.digest,
    )


def failure_row(failure: BackupFailure) -> FailureRow:
    """One attempt that did not come to its end."""
    return FailureRow(
        backup_id=failure.backup_id,
        attempt=failure.attempt,
        failed_at=failure.failed_at,
        error=failure.error,
        exit_code=failure.exit_code,
        message=failure.message,
        hint=failure.hint,
        host=failure.host,
    )
