"""Read one stored WAL file and hold it against the digest in its key."""

import hashlib

from kb_dr.domain.stored import Listed
from kb_dr.domain.wal_names import is_partial, is_segment
from kb_dr.domain.wal_page import check_segment
from kb_dr.errors import ChecksumMismatch, ObjectMissing, RepositoryError
from kb_dr.ports import Codec, Repository


def read_wal(
    repository: Repository,
    codec: Codec,
    listed: Listed,
    name: str,
    sha256: str,
    *,
    system_identifier: int | None = None,
) -> bytes:
    """The plain bytes of a listed WAL file, checked.

    Raises ChecksumMismatch when they are not what was pushed, WalDamaged or WrongCluster when a
    segment's header does not fit its name, RepositoryError when it was listed but is gone: that is
    never "absent", which would end a recovery.
    """
    try:
        coded = repository.read(listed.key)
    except ObjectMissing as error:
        raise RepositoryError(
            f"read WAL file {name} of {repository.url}: it was listed, then it was gone"
        ) from error
    plain = codec.decode(coded)
    seen = hashlib.sha256(plain).hexdigest()
    if seen != sha256:
        raise ChecksumMismatch(
            f"read WAL file {name} of {repository.url}: sha256 {seen[:12]}…, "
            f"expected {sha256[:12]}…"
        )
    if is_segment(name) or is_partial(name):
        check_segment(name, plain[:40], len(plain), system_identifier=system_identifier)
    return plain
