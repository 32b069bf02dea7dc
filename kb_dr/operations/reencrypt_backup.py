"""Encrypt a retained backup anew, to the recipients of today.

The new backup bears an id of its own, one second or more after the old one's, and names the old
one: nothing is overwritten, and both can be restored until retention lets go of the old one, which
it does only once the new one is proven.
"""

import secrets
from dataclasses import dataclass, replace
from datetime import timedelta

from kb_dr import __version__
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.dump import DumpFacts
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import ChecksumMismatch, ConfigurationError, KeyMissing
from kb_dr.operations.catalog import load_catalog, read_manifest, readable, store_manifest
from kb_dr.operations.fetch_backup import fetch_backup
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr.operations.reencrypt_wal import ReencryptedWal, reencrypt_wal
from kb_dr.operations.store_stream import DEFAULT_CHUNK_BYTES, ChunkWriter
from kb_dr.operations.stream_pipe import StreamPipe
from kb_dr.ports import Codec, Progress, Repository, Writable


@dataclass(frozen=True, slots=True)
class Reencrypted:
    """A backup encrypted anew, and the WAL it needs."""

    old: str
    stored: StoredManifest
    already: bool
    """Whether an earlier run had stored it."""
    wal: ReencryptedWal


def reencrypt_backup(
    repository: Repository,
    codec: Codec,
    backup: BackupId,
    progress: Progress,
    *,
    chunk_bytes: int = DEFAULT_CHUNK_BYTES,
    parallel: int = 4,
) -> Reencrypted:
    """Store the same bytes under a new id, encrypted to the codec's recipients; then its WAL.

    An interrupted run leaves chunks no manifest names, which are swept; the next one begins anew.
    The old backup stays as it is. Raises ConfigurationError for what cannot be encrypted anew,
    KeyMissing without an identity for the old one and for the new one, ChecksumMismatch when its
    bytes are not those recorded.
    """
    old = read_manifest(repository, backup).manifest
    check_reencryptable(old, codec)
    stored = _made_earlier(repository, old, codec)
    already = stored is not None
    if stored is None:
        stored = _store(repository, codec, old, progress, chunk_bytes, parallel)
    wal = reencrypt_wal(repository, codec, stored.manifest, progress, parallel=parallel)
    return Reencrypted(str(backup), stored, already, wal)


def check_reencryptable(old: Manifest, codec: Codec) -> None:
    """Raise ConfigurationError or KeyMissing when there is nothing to do, or not by us."""
    if old.kind not in (BackupKind.FULL, BackupKind.DUMP):
        raise ConfigurationError(
            f"re-encrypt {old.id}: only a full backup can be, and its WAL with it, or a dump",
            hint="Incrementals are kept for days: keep the old key until they have expired.",
        )
    if set(old.recipients) == set(codec.recipients):
        raise ConfigurationError(
            f"re-encrypt {old.id}: it is encrypted to the recipients configured already",
            hint="Put the new public key into KB_DR_AGE_RECIPIENTS first.",
        )
    if not set(codec.identities) & set(codec.recipients):
        # Its WAL is read back before the old goes; and nobody wants to find out later.
        raise KeyMissing(
            f"re-encrypt {old.id}: no identity here opens what is encrypted to the new recipients",
            hint="Add the new identity to the file of KB_DR_AGE_IDENTITY_FILE, beside the old one.",
        )


def _made_earlier(repository: Repository, old: Manifest, codec: Codec) -> StoredManifest | None:
    for each in readable(load_catalog(repository, kinds=ALL_KINDS)):
        same = set(each.manifest.recipients) == set(codec.recipients)
        if each.manifest.replaces == old.id and same:
            return each
    return None


def _store(
    repository: Repository,
    codec: Codec,
    old: Manifest,
    progress: Progress,
    chunk_bytes: int,
    parallel: int,
) -> StoredManifest:
    new, attempt = _free_id(repository, old.backup_id), secrets.token_hex(6)

    def fill(sink: Writable) -> None:
        fetch_backup(repository, codec, old, sink, progress=progress)

    writer = ChunkWriter(
        repository, lambda number: layout.chunk_key(new, attempt, number), chunk_bytes, parallel
    )
    with StreamPipe(fill) as plain, writer:
        # fetch_backup() ends well only when every byte was the one recorded; the pipe raises what
        # it raises, and so nothing is finished of a stream that was not whole.
        count = codec.encode_stream(plain, writer)
        if count != old.plain_bytes:
            raise ChecksumMismatch(
                f"re-encrypt {old.id}: {count} bytes passed, expected {old.plain_bytes}"
            )
        chunks = writer.finish()
    manifest = replace(
        old,
        id=str(new),
        attempt=attempt,
        chunks=chunks,
        postgres_manifest=_postgres_manifest(repository, old, new, attempt),
        configuration=_anew(
            repository, codec, old.configuration, layout.configuration_key(new, attempt)
        ),
        dump=_dump(repository, codec, old, layout.globals_key(new, attempt)),
        recipients=codec.recipients,
        replaces=old.id,
        tools={**old.tools, "kb-dr": __version__},
        notes=(*old.notes, f"{old.id}, encrypted anew"),
    )
    return store_manifest(repository, manifest)


def _postgres_manifest(
    repository: Repository, old: Manifest, new: BackupId, attempt: str
) -> StoredObject | None:
    if old.postgres_manifest is None:
        return None
    body = repository.get(old.postgres_manifest)  # compressed, never encrypted
    return repository.put(layout.postgres_manifest_key(new, attempt), body)


def _anew(
    repository: Repository, codec: Codec, old: StoredObject | None, key: str
) -> StoredObject | None:
    if old is None:
        return None
    return repository.put(key, codec.encode(codec.decode(repository.get(old))))


def _dump(repository: Repository, codec: Codec, old: Manifest, key: str) -> DumpFacts | None:
    if old.dump is None:
        return None
    return replace(old.dump, globals=_anew(repository, codec, old.dump.globals, key))


def _free_id(repository: Repository, old: BackupId) -> BackupId:
    """The first id after the old one's that nobody has or had: order by id stays order by time.

    What a copy has let go of is never brought to it again, so neither would one of the same id.
    """
    new = old
    while _is_taken(repository, new):
        new = BackupId.of(old.service, old.kind, new.started + timedelta(seconds=1))
    return new


def _is_taken(repository: Repository, backup: BackupId) -> bool:
    if repository.find(layout.manifest_key(backup)) is not None:
        return True
    return next(iter(repository.list(layout.tombstones_prefix(backup))), None) is not None
