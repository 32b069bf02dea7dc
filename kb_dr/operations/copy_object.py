"""Copy single objects from one repository to another, believing neither."""

import hashlib

from kb_dr.domain import layout
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.domain.wal_names import is_segment
from kb_dr.domain.wal_page import LONG_HEADER_BYTES, check_segment
from kb_dr.errors import ChecksumMismatch, KeyMissing, UnreadableRecord
from kb_dr.ports import Codec, Repository


def copy_recorded(primary: Repository, offsite: Repository, stored: StoredObject) -> bool:
    """Bring over one object whose digest a manifest records; False when it stood there already.

    What stands there already is read and held against the record: its size alone proves nothing.
    Raises ChecksumMismatch naming the end whose bytes are wrong; those are never passed on.
    """
    if offsite.find(stored.key) is not None:
        offsite.get(stored)
        return False
    written = offsite.put(stored.key, primary.get(stored))
    if written != stored:
        raise ChecksumMismatch(
            f"copy {stored.key} to {offsite.name}: stored as {written.sha256} "
            f"({written.size_bytes} bytes), expected {stored.sha256} ({stored.size_bytes} bytes)"
        )
    return True


def copy_wal_object(primary: Repository, offsite: Repository, codec: Codec, listed: Listed) -> bool:
    """Bring over one WAL file; return whether its plain bytes could be checked on the way.

    They are held against the digest in the key, for which an identity is needed; without one the
    bytes are passed on as they are, and False says so. The same bytes already there are a
    success, others raise ObjectConflict. Raises ChecksumMismatch when the primary's are wrong.
    """
    if offsite.find(listed.key) is not None and check_wal_object(
        offsite, codec, listed.key, offsite.read(listed.key)
    ):
        return True
    body = primary.read(listed.key)
    if len(body) != listed.size_bytes:
        raise ChecksumMismatch(
            f"read {listed.key} of {primary.name}: {len(body)} bytes, "
            f"its listing said {listed.size_bytes}"
        )
    checked = check_wal_object(primary, codec, listed.key, body)
    written = offsite.put(listed.key, body)
    if written.size_bytes != len(body) or written.sha256 != hashlib.sha256(body).hexdigest():
        raise ChecksumMismatch(
            f"copy {listed.key} to {offsite.name}: other bytes were stored than were sent"
        )
    return checked


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
