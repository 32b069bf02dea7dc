"""zstd undone as it is written, in bounded memory, and told whether it ended where it should."""

import os
from typing import TYPE_CHECKING

import zstandard

from kb_dr.errors import ChecksumMismatch

if TYPE_CHECKING:
    from kb_dr.ports import Writable

_OUT_BYTES = 1 << 18
"""The most that is passed on at once. zstd shrinks a run of zeros 32,000 times: what comes out is
bounded here, not by how little is fed."""

_FED_BYTES = 1 << 16
"""Smaller pieces are gathered before they are decompressed: each costs as much as a large one."""

_ENDING_BYTES = 4096

_SKIPPED_BYTES = 0x2FFFF
_WALL = b"".join(
    (
        (0x184D2A50).to_bytes(4, "little"),
        _SKIPPED_BYTES.to_bytes(4, "little"),
        b"\xff" * _SKIPPED_BYTES,
    )
)
"""A skippable frame, longer than any block. Between frames it comes to nothing. Wherever in it a
block that was cut short takes its last byte, what follows is no header of a block: of a reserved
type, or longer than a block may be (RFC 8878, 3.1.1.2)."""


class Frames:
    """Decompresses what is written, frame after frame, and knows whether the last one ended.

    ``failure`` is what the sink raised, or the ChecksumMismatch that was raised; whoever writes
    after it gets it again.
    """

    def __init__(self, inner: "Writable") -> None:
        self._sink = _Counting(inner)
        self._writer = zstandard.ZstdDecompressor().stream_writer(
            self._sink,  # type: ignore[arg-type]  # it asks for a file; it only ever calls write()
            write_size=_OUT_BYTES,
            closefd=False,
        )
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._seen = False
        self.failure: BaseException | None = None

    @property
    def count(self) -> int:
        """Plain bytes passed on."""
        return self._sink.count

    def write(self, data: bytes, /) -> int:
        """Take a piece of the stream."""
        if self.failure is not None:
            # pyrage may write once more after an error. What is met then is none of the stream's:
            # a disk that filled would be called damage.
            raise self.failure
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes >= _FED_BYTES:
            self._feed()
        return len(data)

    def flush(self) -> None:
        """The owner of the sink flushes it."""

    def finish(self) -> None:
        """Raise ChecksumMismatch unless a whole number of frames, at least one, was seen.

        The library does not say where a frame ended. So frames of our own follow. The first is an
        error within any other frame. The second comes out as it went in only where a new one may
        begin, and is random: one to be skipped that was cut short would swallow both.
        """
        self._feed()
        if not self._seen:
            raise ChecksumMismatch("decompress a stream: cut short")
        ending = os.urandom(16) * (_ENDING_BYTES // 16)
        came = self._sink.hold_back()
        # In two pieces: a whole frame in one is decoded at once, even behind half a header
        # (ZSTD_decompressStream, the single pass), and that half is forgotten.
        for frame in (_WALL, zstandard.compress(ending)):
            self._decompress(frame[:3])
            self._decompress(frame[3:])
        text = b"".join(came)
        if not text.endswith(ending):
            self.failure = ChecksumMismatch("decompress a stream: cut short")
            raise self.failure
        # What zstd had still held when the last piece was fed.
        self._sink.pass_on(text[: -len(ending)])

    def _feed(self) -> None:
        if not self._held_bytes:
            return
        data = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held.clear()
        self._held_bytes = 0
        self._seen = True
        self._decompress(data)

    def _decompress(self, data: bytes) -> None:
        try:
            self._writer.write(data)
        except zstandard.ZstdError as error:
            self.failure = ChecksumMismatch(f"decompress a stream: {error}")
            raise self.failure from None
        except BaseException as error:
            self.failure = error
            raise


class _Counting:
    """Passes on what comes out, or holds it back."""

    def __init__(self, inner: "Writable") -> None:
        self._inner = inner
        self._back: list[bytes] | None = None
        self.count = 0

    def write(self, data: bytes, /) -> int:
        if self._back is not None:
            self._back.append(data)
            return len(data)
        self._inner.write(data)
        self.count += len(data)
        return len(data)

    def flush(self) -> None:
        """The owner of the sink flushes it."""

    def hold_back(self) -> list[bytes]:
        """From now on nothing is passed on; what comes out is found in the list."""
        self._back = []
        return self._back

    def pass_on(self, data: bytes) -> None:
        """Pass on what was held back after all."""
        self._back = None
        if data:
            self.write(data)
