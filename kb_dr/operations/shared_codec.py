"""Encode WAL once for several repositories."""

import hashlib
import threading
from pathlib import Path

from kb_dr.ports import Codec, Readable, Writable


class SharedCodec:
    """Implements `kb_dr.ports.Codec`: every repository is given the same coded bytes.

    age's output differs each time, in its length too; a copy that differs from the primary could
    not be told from a damaged one by who holds no identity. What was encoded is kept in a
    directory until forget(): a copy may be down for long, and we may be started anew meanwhile.
    """

    def __init__(self, codec: Codec, directory: Path) -> None:
        self._codec = codec
        self._directory = directory
        self._lock = threading.Lock()
        directory.mkdir(mode=0o700, exist_ok=True)

    @property
    def recipients(self) -> tuple[str, ...]:
        return self._codec.recipients

    @property
    def identities(self) -> tuple[str, ...]:
        return self._codec.identities

    def encode(self, plain: bytes) -> bytes:
        digest = hashlib.sha256(plain).hexdigest()
        with self._lock:
            body = self._kept(digest)
            if body is None:
                body = self._codec.encode(plain)
                unfinished = self._directory / f".{digest}"
                unfinished.write_bytes(hashlib.sha256(body).digest() + body)
                unfinished.replace(self._directory / digest)
            return body

    def decode(self, coded: bytes) -> bytes:
        return self._codec.decode(coded)

    def decode_into(self, coded: bytes, sink: Writable) -> int:
        return self._codec.decode_into(coded, sink)

    def openers(self, start: bytes) -> tuple[str, ...]:
        return self._codec.openers(start)

    def encode_stream(self, plain: Readable, sink: Writable) -> int:
        return self._codec.encode_stream(plain, sink)

    def decode_stream(self, coded: Readable, sink: Writable) -> int:
        return self._codec.decode_stream(coded, sink)

    def forget(self, digest: str) -> None:
        """Of these plain bytes nothing will be asked any more."""
        (self._directory / digest).unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Nothing that was kept will be asked for any more."""
        for path in self._directory.iterdir():
            path.unlink()

    def _kept(self, digest: str) -> bytes | None:
        try:
            kept = (self._directory / digest).read_bytes()
        except FileNotFoundError:
            return None
        body = kept[32:]
        return body if hashlib.sha256(body).digest() == kept[:32] else None
