"""What every codec promises."""

import errno
import hashlib
import io
from typing import Any

import pytest

from kb_dr.errors import ChecksumMismatch, NotEnoughSpace, RepositoryUnavailable
from kb_dr.ports import Codec

BODIES = {
    "nothing": b"",
    "one byte": b"x",
    "zeros": bytes(3_000_000),
    "noise": hashlib.shake_256(b"noise").digest(300_000),
    "text": b"INSERT INTO knowledge_entries VALUES (1);\n" * 20_000,
}


class BrokenReader(io.BytesIO):
    """A source that fails after so many bytes."""

    def __init__(self, body: bytes, good_bytes: int) -> None:
        super().__init__(body)
        self._good_bytes = good_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= self._good_bytes:
            raise RepositoryUnavailable("get chunk 7: no answer")
        return super().read(min(10_000, size) if size and size > 0 else 10_000)


class FullSink(io.BytesIO):
    """A sink without room."""

    def write(self, data: object, /) -> int:
        raise NotEnoughSpace("write a file: no space left")


class FillingSink(io.BytesIO):
    """A sink that runs out of room half-way."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self._room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


class CodecContract:
    """Subclass it with a fixture ``codec``, one that can decode."""

    @pytest.mark.parametrize("name", BODIES)
    def test_what_goes_in_comes_out(self, codec: Codec, name: str) -> None:
        body = BODIES[name]

        assert codec.decode(codec.encode(body)) == body

    @pytest.mark.parametrize("name", BODIES)
    def test_streams_say_their_plain_length(self, codec: Codec, name: str) -> None:
        coded, plain = io.BytesIO(), io.BytesIO()

        assert codec.encode_stream(io.BytesIO(BODIES[name]), coded) == len(BODIES[name])
        assert codec.decode_stream(io.BytesIO(coded.getvalue()), plain) == len(BODIES[name])
        assert plain.getvalue() == BODIES[name]

    @pytest.mark.parametrize("name", BODIES)
    def test_a_stream_cut_anywhere_is_damage_and_never_a_shorter_one(
        self, codec: Codec, name: str
    ) -> None:
        coded = codec.encode(BODIES[name])

        for left in {0, 1, len(coded) // 2, len(coded) - 2, len(coded) - 1}:
            with pytest.raises(ChecksumMismatch):
                codec.decode(coded[:left])

    @pytest.mark.parametrize("more", [b"x", b"x" * 100_000, bytes(64)])
    def test_bytes_after_the_end_are_damage(self, codec: Codec, more: bytes) -> None:
        with pytest.raises(ChecksumMismatch):
            codec.decode(codec.encode(BODIES["noise"]) + more)

    def test_a_flipped_bit_is_damage(self, codec: Codec) -> None:
        coded = bytearray(codec.encode(BODIES["noise"]))
        coded[len(coded) // 2] ^= 1

        with pytest.raises(ChecksumMismatch):
            codec.decode(bytes(coded))

    def test_what_is_no_coded_stream_is_damage(self, codec: Codec) -> None:
        for junk in (b"", b"junk" * 100, b"{}"):
            with pytest.raises(ChecksumMismatch):
                codec.decode(junk)

    def test_errors_of_the_streams_pass_through_as_they_are(self, codec: Codec) -> None:
        noise = BODIES["noise"]
        coded = codec.encode(noise)

        for good_bytes in (0, 60_000):
            with pytest.raises(RepositoryUnavailable, match="chunk 7"):
                codec.encode_stream(BrokenReader(noise, good_bytes), io.BytesIO())
            with pytest.raises(RepositoryUnavailable, match="chunk 7"):
                codec.decode_stream(BrokenReader(coded, good_bytes), io.BytesIO())
        with pytest.raises(NotEnoughSpace):
            codec.encode_stream(io.BytesIO(noise), FullSink())
        with pytest.raises(NotEnoughSpace):
            codec.decode_stream(io.BytesIO(coded), FullSink())

    def test_a_sink_that_fills_half_way_is_not_taken_for_damage(self, codec: Codec) -> None:
        # What unpacks to many times its size is written in many pieces.
        coded = codec.encode(b"the same again\n" * 4_000_000)

        with pytest.raises(OSError, match="No space left"):
            codec.decode_stream(io.BytesIO(coded), FillingSink(1_000_000))

    def test_who_may_read_is_known(self, codec: Codec) -> None:
        assert codec.recipients
