"""Digests of bytes in memory, and the check of bytes that were read."""

import hashlib

from kb_dr.domain.stored import StoredObject
from kb_dr.errors import ChecksumMismatch


def described(key: str, body: bytes, *, sha256: bool = True, md5: bool = False) -> StoredObject:
    """What a repository records of ``body``; its MD5, twice as dear as the rest, if needed."""
    return StoredObject(
        key=key,
        size_bytes=len(body),
        sha256=hashlib.sha256(body).hexdigest() if sha256 else "",
        md5=hashlib.md5(body, usedforsecurity=False).hexdigest() if md5 else "",
    )


def require_recorded(where: str, stored: StoredObject, body: bytes) -> None:
    """Raise ChecksumMismatch unless ``body`` has the size and SHA-256 recorded."""
    if len(body) != stored.size_bytes:
        raise ChecksumMismatch(
            f"get {where}: {len(body)} bytes, expected {stored.size_bytes} bytes"
        )
    seen = hashlib.sha256(body).hexdigest()
    if seen != stored.sha256:
        raise ChecksumMismatch(f"get {where}: sha256 {seen[:16]}, expected {stored.sha256[:16]}")
