"""A stream of zstd is whole or it is damage, wherever it was cut and however it was fed."""

import hashlib
import io

import pytest
import zstandard

from kb_dr.adapters.zstd_frames import Frames
from kb_dr.errors import ChecksumMismatch

_NOISE = hashlib.shake_256(b"noise").digest(600)
_BODIES = {
    "raw": _NOISE,
    "one byte again and again": bytes(300_000),
    "text": b"".join(b"row %d of the table\n" % number for number in range(200)),
    "a block and a bit": hashlib.shake_256(b"more").digest(700) * 200 + _NOISE,
    "a block of noise and a bit": hashlib.shake_256(b"more").digest(140_000),
    "nothing": b"",
}


def _frame(body: bytes, *, checksum: bool, size: bool = True) -> bytes:
    """``size``: its header says how long the body is; that of a stream does not."""
    compressor = zstandard.ZstdCompressor(level=1, write_checksum=checksum, write_content_size=size)
    return compressor.compress(body)


def _decoded(coded: bytes, piece_bytes: int = 1 << 20) -> bytes:
    sink = io.BytesIO()
    frames = Frames(sink)
    for start in range(0, len(coded), piece_bytes):
        frames.write(coded[start : start + piece_bytes])
    frames.finish()
    assert frames.count == len(sink.getvalue())
    return sink.getvalue()


_NEAR = 700
"""Of a long frame the cuts in the noise within a block are all alike."""


@pytest.mark.parametrize("size", [True, False])
@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize("name", _BODIES)
def test_a_stream_cut_at_any_byte_is_damage(name: str, *, checksum: bool, size: bool) -> None:
    """Also a few bytes before the end of a block, which what we let follow would fill."""
    frame = _frame(_BODIES[name], checksum=checksum, size=size)
    whole = _frame(b"before", checksum=checksum) + frame
    ends = {len(whole) - len(frame), len(whole)}
    block = len(whole) - len(frame) + (1 << 17)

    for cut in range(len(whole) + 1):
        if _NEAR < cut < len(whole) - _NEAR and not block - 100 < cut < block + 100 and cut % 997:
            continue
        if cut in ends:
            _decoded(whole[:cut])
        else:
            with pytest.raises(ChecksumMismatch):
                _decoded(whole[:cut])


@pytest.mark.parametrize("name", _BODIES)
@pytest.mark.parametrize("piece_bytes", [1, 1000, 100_000])
def test_what_comes_out_does_not_depend_on_the_pieces(name: str, piece_bytes: int) -> None:
    coded = _frame(_BODIES[name], checksum=True)

    assert _decoded(coded * 2, piece_bytes) == _BODIES[name] * 2


def test_what_fills_the_buffer_to_the_last_byte_is_not_lost() -> None:
    for size in (1 << 17, 1 << 18, (1 << 18) + 1, 1 << 20):
        body = bytes(size)

        assert _decoded(_frame(body, checksum=False)) == body
        assert _decoded(_frame(body, checksum=True)) == body
