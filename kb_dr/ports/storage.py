"""Where backups live, and how what lies there is sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from kb_dr.domain.space import Space
    from kb_dr.domain.stored import Listed, StoredObject
    from kb_dr.ports.basics import Readable, Writable


HEADER_BYTES = 8192
"""Enough of an encoded object for Codec.openers(): a header with some fifty recipients."""


class Repository(Protocol):
    """A place backups live: a bucket and prefix, or a directory.

    Keys are relative to that place. Every write is atomic and nothing is ever overwritten.
    Each call has a deadline, and retries by itself what a retry can help; what is left over is
    raised as RepositoryUnavailable, RepositoryRefused, BucketMissing or RepositoryError.
    """

    @property
    def name(self) -> str:
        """What people call this copy: ``primary``, ``offsite`` or ``local``."""
        ...

    @property
    def url(self) -> str:
        """Where it is, for people; never with a secret."""
        ...

    def check(self) -> None:
        """Raise what is wrong with this place (unreachable, refused, missing); else return."""
        ...

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        """Store ``body`` and look at what was stored before returning.

        The same bytes again are a success (a lost answer is retried); other bytes under the same
        key raise ObjectConflict and change nothing. A stored size or digest that differs from
        what was sent raises ChecksumMismatch. Two writers that race on a store without
        conditional writes are told apart by what is read back. Without ``digest`` the answer has
        no SHA-256, which takes a sixth of what a WAL segment costs, and records nothing.
        """
        ...

    def get(self, stored: StoredObject) -> bytes:
        """The bytes recorded; ChecksumMismatch when size or SHA-256 differ, ObjectMissing."""
        ...

    def read(self, key: str) -> bytes:
        """The bytes under a key whose digest nobody recorded; ObjectMissing only when the store
        answered, the bucket is there and the key is not.
        """
        ...

    def read_start(self, listed: Listed, count: int) -> bytes:
        """The first ``count`` bytes of a listed object, or all of a shorter one; as read().

        What is fetched grows with ``count``, not with the object.
        """
        ...

    def find(self, key: str) -> Listed | None:
        """What stands under exactly this key; None only when certainly absent, as in read()."""
        ...

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        """Every object whose key starts with ``prefix``, in order of key, in bounded memory.

        A prefix is text, not a folder. A listing that breaks off raises; it never just ends.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove one object for good; already absent is a success.

        Where the store keeps versions every version of exactly this key goes, delete markers
        last, so that a removal cut off in the middle brings no older bytes back. A version that
        is retained raises ObjectRetained: the newest bytes stand as they did. Retention is never
        bypassed.
        """
        ...

    def retained_until(self, prefix: str) -> datetime | None:
        """Until when something under ``prefix`` cannot be deleted; None when all of it can.

        The newest object is asked first and the search ends at the first one that is retained:
        others may be retained longer. A legal hold has no end: ``stored.NO_END``. Where the store
        has no Object Lock nothing is asked of its objects. What could not be told is raised.
        """
        ...

    def space(self) -> Space | None:
        """How much room this place has; None where the store has no bound."""
        ...


class Codec(Protocol):
    """Compression and encryption, in formats that restore without us: ``age -d | zstd -d``."""

    @property
    def recipients(self) -> tuple[str, ...]:
        """The public keys anything encoded is encrypted to."""
        ...

    @property
    def identities(self) -> tuple[str, ...]:
        """The public keys of the identities at hand; a host that only backs up holds none."""
        ...

    def encode(self, plain: bytes) -> bytes:
        """Compress and encrypt a small thing. The result differs at each call."""
        ...

    def decode(self, coded: bytes) -> bytes:
        """Undo encode(); KeyMissing when no identity fits, ChecksumMismatch when damaged."""
        ...

    def decode_into(self, coded: bytes, sink: Writable) -> int:
        """Undo encode() into ``sink``, piece by piece; return the plain length.

        Raises as decode() does, and what ``sink`` raises: only when it returns is what was
        written all of it, and right.
        """
        ...

    def openers(self, start: bytes) -> tuple[str, ...]:
        """Which identities at hand open something encoded, told from its first HEADER_BYTES.

        By their public keys, in the order they were given; none when it is for others. Raises
        ChecksumMismatch when this is no beginning of anything encoded.
        """
        ...

    def encode_stream(self, plain: Readable, sink: Writable) -> int:
        """Compress and encrypt until ``plain`` ends, in bounded memory; return its length."""
        ...

    def decode_stream(self, coded: Readable, sink: Writable) -> int:
        """Undo encode_stream(); return the plain length. Raises as decode() does.

        A stream cut short raises ChecksumMismatch: it is never taken for a short one.
        """
        ...
