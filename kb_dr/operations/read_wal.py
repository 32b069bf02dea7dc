"""Read one stored WAL file and hold it against the digest in its key."""

import hashlib
import io
from contextlib import AbstractContextManager, nullcontext

from kb_dr.domain.stored import Listed
from kb_dr.domain.wal_names import is_partial, is_segment
from kb_dr.domain.wal_page import LONG_HEADER_BYTES, check_segment
from kb_dr.errors import ChecksumMismatch, ObjectMissing, RepositoryError
from kb_dr.ports import Codec, Repository, Writable


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

    Raises as read_wal_into() does.
    """
    plain = io.BytesIO()
    read_wal_into(
        repository, codec, listed, name, sha256, plain, system_identifier=system_identifier
    )
    return plain.getvalue()


def read_wal_into(
    repository: Repository,
    codec: Codec,
    listed: Listed,
    name: str,
    sha256: str,
    sink: Writable,
    *,
    system_identifier: int | None = None,
    turn: AbstractContextManager[object] | None = None,
) -> int:
    """Write the plain bytes of a listed WAL file into ``sink``; return how many.

    They are checked when this returns, and nothing is known of them before. Piece by piece they
    stay in the processor's cache; in one they cost twice as much. They are decoded in ``turn``,
    so that the memory for it is not taken by all readers at once.

    Raises ChecksumMismatch when they are not what was pushed, WalDamaged or WrongCluster when a
    segment's header does not fit its name, RepositoryError when it was listed but is gone: that is
    never "absent", which would end a recovery. What ``sink`` raises passes through.
    """
    try:
        coded = repository.read(listed.key)
    except ObjectMissing as error:
        raise RepositoryError(
            f"read WAL file {name} of {repository.url}: it was listed, then it was gone"
        ) from error
    digested = _Digested(sink)
    with turn or nullcontext():
        codec.decode_into(coded, digested)
    seen = digested.sha256.hexdigest()
    if seen != sha256:
        raise ChecksumMismatch(
            f"read WAL file {name} of {repository.url}: sha256 {seen[:12]}…, "
            f"expected {sha256[:12]}…"
        )
    if is_segment(name) or is_partial(name):
        check_segment(name, digested.head, digested.count, system_identifier=system_identifier)
    return digested.count


class _Digested:
    """Passes on what is written, and digests it."""

    def __init__(self, inner: Writable) -> None:
        self._inner = inner
        self.sha256 = hashlib.sha256()
        self.head = b""
        """The first bytes, as many as the header of a segment has."""
        self.count = 0

    def write(self, data: bytes, /) -> int:
        self.sha256.update(data)
        if len(self.head) < LONG_HEADER_BYTES:
            self.head += data[: LONG_HEADER_BYTES - len(self.head)]
        self.count += len(data)
        return self._inner.write(data)

    def flush(self) -> None:
        """The owner of the sink flushes it."""
