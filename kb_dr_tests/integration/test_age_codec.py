"""What we write, `age -d | zstd -d` reads, and the other way; keys; bounded memory."""

import gc
import io
import subprocess
import tracemalloc
import weakref
from pathlib import Path

import pyrage
import pytest
import zstandard

from kb_dr.adapters import age_codec, age_program
from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.errors import ChecksumMismatch, ConfigurationError, KeyMissing, NotEnoughSpace
from kb_dr_tests.contracts.codec_contract import BODIES, CodecContract, FullSink


class Key:
    """A key pair."""

    def __init__(self) -> None:
        identity = pyrage.x25519.Identity.generate()
        self.identity = str(identity)
        self.recipient = str(identity.to_public())


@pytest.fixture(scope="module")
def key() -> Key:
    return Key()


class TestAgeCodec(CodecContract):
    @pytest.fixture
    def codec(self, key: Key) -> AgeCodec:
        return AgeCodec([key.recipient], [key.identity])


@pytest.fixture
def identity_file(key: Key, tmp_path: Path) -> Path:
    path = tmp_path / "identity.txt"
    path.write_text(key.identity + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("name", BODIES)
def test_the_command_line_reads_what_we_write(key: Key, identity_file: Path, name: str) -> None:
    coded = AgeCodec([key.recipient]).encode(BODIES[name])

    opened = subprocess.run(
        ["bash", "-o", "pipefail", "-c", 'age -d -i "$0" | zstd -d', str(identity_file)],
        input=coded,
        capture_output=True,
        check=True,
    )

    assert opened.stdout == BODIES[name]


@pytest.mark.parametrize("name", BODIES)
def test_we_read_what_the_command_line_writes(key: Key, name: str) -> None:
    made = subprocess.run(
        ["bash", "-o", "pipefail", "-c", 'zstd -q -3 -T2 | age -r "$0"', key.recipient],
        input=BODIES[name],
        capture_output=True,
        check=True,
    )

    assert AgeCodec([], [key.identity]).decode(made.stdout) == BODIES[name]


def test_any_one_of_the_recipients_opens_it() -> None:
    first, second, stranger = Key(), Key(), Key()
    codec = AgeCodec([first.recipient, second.recipient])
    coded = codec.encode(b"body")

    assert codec.recipients == (first.recipient, second.recipient)
    for holder in (first, second):
        assert AgeCodec([], [stranger.identity, holder.identity]).decode(coded) == b"body"


def test_without_the_right_identity_the_key_is_missing_and_nothing_is_damaged(key: Key) -> None:
    coded = AgeCodec([key.recipient]).encode(b"body")

    with pytest.raises(KeyMissing):
        AgeCodec([key.recipient], [Key().identity]).decode(coded)
    with pytest.raises(KeyMissing):
        AgeCodec([key.recipient]).decode(coded)


def test_without_a_recipient_nothing_is_written() -> None:
    sink = io.BytesIO()

    with pytest.raises(ConfigurationError):
        AgeCodec([]).encode_stream(io.BytesIO(b"body"), sink)

    assert sink.getvalue() == b""


def test_keys_that_are_none_are_refused_and_secrets_not_shown(key: Key) -> None:
    with pytest.raises(ConfigurationError, match="age1nonsense"):
        AgeCodec(["age1nonsense"])
    with pytest.raises(ConfigurationError) as raised:
        AgeCodec([], [key.identity[:-1]])
    assert key.identity[:-1] not in str(raised.value) + raised.value.hint
    with pytest.raises(ConfigurationError):
        AgeCodec([key.identity])


def test_a_secret_given_as_a_recipient_is_not_shown(key: Key) -> None:
    with pytest.raises(ConfigurationError) as raised:
        AgeCodec([key.identity])

    assert key.identity[20:40] not in str(raised.value)


def test_frames_may_follow_one_another_and_must_end(key: Key) -> None:
    def sealed(body: bytes) -> bytes:
        return bytes(pyrage.encrypt(body, [pyrage.x25519.Recipient.from_str(key.recipient)]))

    codec = AgeCodec([], [key.identity])
    frame = zstandard.compress(BODIES["noise"])

    assert codec.decode(sealed(frame + frame)) == BODIES["noise"] * 2
    # age is whole in each: only zstd can tell that the compressor died.
    for broken in (b"", frame[:100_000], frame + frame[:-1], frame + frame[:2], frame + b"junk"):
        with pytest.raises(ChecksumMismatch):
            codec.decode(sealed(broken))


class Zeros:
    """A long run of zeros: 32,000 times smaller once compressed."""

    def __init__(self, size: int) -> None:
        self._left = size

    def read(self, size: int = -1, /) -> bytes:
        size = min(self._left, 65536 if size < 0 else size)
        self._left -= size
        return bytes(size)


class Counter:
    """A sink that keeps nothing."""

    def __init__(self) -> None:
        self.count = 0
        self.longest = 0

    def write(self, data: bytes, /) -> int:
        self.count += len(data)
        self.longest = max(self.longest, len(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept."""


def test_memory_stays_small_however_much_comes_out_of_a_few_bytes(key: Key) -> None:
    size = 1 << 28
    codec, coded, sink = AgeCodec([key.recipient], [key.identity]), io.BytesIO(), Counter()
    codec.encode_stream(Zeros(size), coded)
    assert len(coded.getvalue()) < 200_000

    tracemalloc.start()
    try:
        codec.decode_stream(io.BytesIO(coded.getvalue()), sink)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sink.count == size
    assert sink.longest <= 40 << 20
    assert peak < 100 << 20


def test_an_error_does_not_keep_the_streams_alive(key: Key) -> None:
    codec = AgeCodec([key.recipient], [key.identity])
    coded = codec.encode(BODIES["noise"])

    def fail() -> weakref.ref[io.BytesIO]:
        class Held(io.BytesIO):
            pass

        held = Held(coded)
        with pytest.raises(NotEnoughSpace):
            codec.decode_stream(held, FullSink())
        return weakref.ref(held)

    gc.disable()
    try:
        left = fail()
        assert left() is None, "a cycle holds it until the next collection"
    finally:
        gc.enable()


@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_an_interrupt_between_two_reads_is_no_damage(
    direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = pyrage.x25519.Identity.generate()
    codec = AgeCodec([str(identity.to_public())], [str(identity)])
    coded = codec.encode(b"plain")

    def interrupted(*_: object) -> bytes:
        raise KeyboardInterrupt

    # It is the library that hides it.
    monkeypatch.setattr(age_program, "age_program", lambda: None)
    monkeypatch.setattr(age_codec._Source, "read", interrupted)

    stream = codec.encode_stream if direction == "encode" else codec.decode_stream
    with pytest.raises(KeyboardInterrupt):
        stream(io.BytesIO(coded), io.BytesIO())
