"""Encrypt the WAL one backup needs anew, to the recipients of today.

Each file is stored beside the old one, under a key that names the recipients, and read back
before the old one goes: at no moment is a segment missing.
"""

import hashlib
import logging
from dataclasses import dataclass

from kb_dr.domain import layout
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.stored import Listed
from kb_dr.errors import ChecksumMismatch, KeyMissing, ObjectRetained, UnreadableRecord, WalGap
from kb_dr.operations.copy_object import check_wal_object
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Codec, Progress, Repository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReencryptedWal:
    """What was done to the WAL of one backup in one copy."""

    copy: str
    files: int
    anew: int
    """Files encrypted anew; the others were already."""


def keys_tag(recipients: tuple[str, ...]) -> str:
    """Eight hex digits for a set of recipients."""
    return hashlib.sha256("\n".join(sorted(recipients)).encode()).hexdigest()[:8]


def reencrypt_wal(
    repository: Repository,
    codec: Codec,
    manifest: Manifest,
    progress: Progress,
    *,
    parallel: int = 4,
) -> ReencryptedWal:
    """Encrypt every WAL file anew that this backup needs to be consistent.

    Interrupted, it goes on where it broke off. Raises WalGap when one is missing, KeyMissing and
    ChecksumMismatch when an old one cannot be read: it then stays as it is.
    """
    needed = find_needed_wal(repository, manifest)
    if needed.missing or needed.doubtful:
        raise WalGap(
            f"re-encrypt WAL of {manifest.id} in {repository.name}: "
            f"{(*needed.missing, *needed.doubtful)[0]} cannot be relied on",
            hint="`kb-dr copy --repair` brings it from another copy first.",
        )
    tag = keys_tag(codec.recipients)
    total = sum(each.size_bytes for each in needed.objects)
    progress.begin(f"re-encrypt WAL of {manifest.id} in {repository.name}", total)

    def anew(listed: Listed) -> bool:
        done = _encrypt_anew(repository, codec, listed, tag)
        progress.advance(listed.size_bytes)
        return done

    try:
        done = run_parallel(needed.objects, anew, at_once=parallel)
    finally:
        progress.end()
    return ReencryptedWal(repository.name, len(done), sum(done))


def _encrypt_anew(repository: Repository, codec: Codec, listed: Listed, tag: str) -> bool:
    parts = layout.wal_file_of(listed.key)
    if parts is None:
        raise UnreadableRecord(f"re-encrypt {listed.key}: not the key of a WAL file")
    system, name, sha256 = parts
    new = layout.wal_key(system, name, sha256, tag)
    if listed.key == new:
        return False
    if repository.find(new) is None:
        plain = codec.decode(repository.read(listed.key))
        if hashlib.sha256(plain).hexdigest() != sha256:
            raise ChecksumMismatch(
                f"re-encrypt {listed.key} of {repository.name}: its plain bytes are not those "
                "its key says"
            )
        repository.put(new, codec.encode(plain))
    if not check_wal_object(repository, codec, new, repository.read(new)):
        raise KeyMissing(
            f"re-encrypt {listed.key} of {repository.name}: {new} opens with no key here"
        )
    try:
        repository.delete(listed.key)
    except ObjectRetained as retained:
        # Both stand, and both can be read: the old one goes with the backups it was made for.
        logger.warning("re-encrypt: the old file stays: %s", retained)
    return True
