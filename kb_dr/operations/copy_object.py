"""Copy single objects from one repository to another, believing neither."""

import hashlib
import logging
from collections.abc import Sequence

from kb_dr.domain import layout
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.domain.wal_names import is_segment
from kb_dr.domain.wal_page import LONG_HEADER_BYTES, check_segment
from kb_dr.errors import (
    ChecksumMismatch,
    KeyMissing,
    ObjectConflict,
    ObjectMissing,
    UnreadableRecord,
    WalDamaged,
    WrongCluster,
)
from kb_dr.ports import Codec, Repository

logger = logging.getLogger(__name__)

BAD_FILE = (ChecksumMismatch, ObjectConflict, ObjectMissing, WalDamaged, WrongCluster)
"""What speaks of one file, and not of a repository."""


def copy_recorded(
    source: Repository,
    target: Repository,
    stored: StoredObject,
    *,
    others: Sequence[Repository] = (),
) -> bool:
    """Bring over one object whose digest a manifest records; False when it stood there already.

    What stands there already is read and held against the record: its size alone proves nothing.
    What ``source`` lacks or has damaged is taken from the first of ``others`` that has it right;
    wrong bytes are never passed on. Raises ChecksumMismatch naming the end whose bytes are wrong.
    """
    if target.find(stored.key) is not None:
        target.get(stored)
        return False
    body, _ = read_good((source, *others), stored)
    put_recorded(target, stored, body)
    return True


def put_recorded(target: Repository, stored: StoredObject, body: bytes) -> None:
    """Store the bytes a manifest records; ChecksumMismatch when they were stored otherwise."""
    written = target.put(stored.key, body)
    # Not their MD5: one kind of store records it, another does not.
    if (written.size_bytes, written.sha256) != (stored.size_bytes, stored.sha256):
        raise ChecksumMismatch(
            f"copy {stored.key} to {target.name}: stored as {written.sha256} "
            f"({written.size_bytes} bytes), expected {stored.sha256} ({stored.size_bytes} bytes)"
        )


def read_good(sources: Sequence[Repository], stored: StoredObject) -> tuple[bytes, Repository]:
    """The bytes recorded, from the first that has them; the first one's error when none does.

    A source that does not answer ends it: whether it has them is not known.
    """
    first: ChecksumMismatch | ObjectMissing | None = None
    for source in sources:
        try:
            return source.get(stored), source
        except (ChecksumMismatch, ObjectMissing) as error:
            logger.warning("%s of %s is not taken: %s", stored.key, source.name, error)
            first = first or error
    raise first or ObjectMissing(f"read {stored.key}: no repository to read it from")


def copy_wal_object(
    source: Repository,
    target: Repository,
    codec: Codec,
    listed: Listed,
    *,
    others: Sequence[Repository] = (),
) -> bool:
    """Bring over one WAL file; return whether its plain bytes could be checked on the way.

    They are held against the digest in the key, for which an identity is needed; without one the
    bytes are passed on as they are, and False says so. The same bytes already there are a
    success, others raise ObjectConflict. When those of ``source`` are wrong the first of
    ``others`` that has them right is read; else ChecksumMismatch.
    """
    if target.find(listed.key) is not None and check_wal_object(
        target, codec, listed.key, target.read(listed.key)
    ):
        return True
    body, checked = read_good_wal(source, codec, listed, others=others)
    put_wal(target, listed.key, body)
    return checked


def put_wal(target: Repository, key: str, body: bytes) -> None:
    """Store a WAL file's bytes; ChecksumMismatch when others were stored than were sent."""
    written = target.put(key, body)
    if written.size_bytes != len(body) or written.sha256 != hashlib.sha256(body).hexdigest():
        raise ChecksumMismatch(
            f"copy {key} to {target.name}: other bytes were stored than were sent"
        )


def read_good_wal(
    source: Repository, codec: Codec, listed: Listed, *, others: Sequence[Repository] = ()
) -> tuple[bytes, bool]:
    """A WAL file's stored bytes, from the first that has them right, and whether it was checked.

    Raises what is wrong with those of ``source`` when nobody has them right.
    """
    try:
        body = source.read(listed.key)
        if len(body) != listed.size_bytes:
            raise ChecksumMismatch(
                f"read {listed.key} of {source.name}: {len(body)} bytes, "
                f"its listing said {listed.size_bytes}"
            )
        return body, check_wal_object(source, codec, listed.key, body)
    except BAD_FILE as error:
        for other in others:
            found = _right_wal(other, codec, listed.key)
            if found is not None:
                logger.warning("%s of %s is not taken: %s", listed.key, source.name, error)
                return found, True
        raise


def _right_wal(repository: Repository, codec: Codec, key: str) -> bytes | None:
    """The file's stored bytes when they are there and known to be right."""
    try:
        if repository.find(key) is None:
            return None
        body = repository.read(key)
        return body if check_wal_object(repository, codec, key, body) else None
    except BAD_FILE:
        return None


def check_wal_object(repository: Repository, codec: Codec, key: str, body: bytes) -> bool:
    """Hold a WAL object against the digest in its key, and a segment's header against its name.

    False when no identity opens it. Raises ChecksumMismatch when the bytes are not what the key
    says, WalDamaged or WrongCluster when they are not WAL of that name and cluster.
    """
    parts = layout.wal_file_of(key)
    if parts is None:
        raise UnreadableRecord(f"read {key} of {repository.name}: not the key of a WAL file")
    try:
        plain = codec.decode(body)
    except KeyMissing:
        return False
    except ChecksumMismatch as error:
        raise ChecksumMismatch(f"read {key} of {repository.name}: {error}") from error
    system, name, recorded = parts
    digest = hashlib.sha256(plain).hexdigest()
    if digest != recorded:
        raise ChecksumMismatch(
            f"read {key} of {repository.name}: its plain bytes have sha256 {digest}"
        )
    if is_segment(name):
        check_segment(name, plain[:LONG_HEADER_BYTES], len(plain), system_identifier=system)
    return True
