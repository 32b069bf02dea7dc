"""age's own program decrypts beside us; when it fails nothing is lost, and nothing believed."""

import hashlib
import io
import tempfile
from pathlib import Path

import pyrage
import pytest

from kb_dr.adapters import age_program
from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.errors import ChecksumMismatch, KbDrError, KeyMissing
from kb_dr_tests.contracts.codec_contract import BODIES, CodecContract

_BODY = BODIES["noise"] * 10


@pytest.fixture
def codec() -> AgeCodec:
    identity = pyrage.x25519.Identity.generate()
    return AgeCodec([str(identity.to_public())], [str(identity)])


class TestWithoutTheProgram(CodecContract):
    @pytest.fixture(autouse=True)
    def _no_program(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(age_program, "age_program", lambda: None)

    @pytest.fixture
    def codec(self, codec: AgeCodec) -> AgeCodec:
        return codec


def _instead(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "age"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(age_program, "age_program", lambda: str(program))


def _decoded(codec: AgeCodec, coded: bytes) -> bytes:
    sink = io.BytesIO()
    assert codec.decode_stream(io.BytesIO(coded), sink) == len(sink.getvalue())
    return sink.getvalue()


def test_the_program_is_what_decrypts_a_stream(
    codec: AgeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded = codec.encode(_BODY)
    assert age_program.age_program() is not None, "age is not installed"
    monkeypatch.setattr(AgeCodec, "_decode_here", lambda *_: pytest.fail("the library was asked"))

    assert _decoded(codec, coded) == _BODY


@pytest.mark.parametrize(
    "script",
    ["exit 1", "cat > /dev/null; echo age: error: no such option >&2; exit 1", "kill -9 $$"],
    ids=["at once", "when it has read all", "killed"],
)
def test_a_program_that_gives_nothing_is_done_without(
    codec: AgeCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    coded = codec.encode(_BODY)
    _instead(script, tmp_path, monkeypatch)

    assert _decoded(codec, coded) == _BODY
    with pytest.raises(ChecksumMismatch):
        _decoded(codec, coded[:-1])
    with pytest.raises(KeyMissing):
        _decoded(AgeCodec([], [str(pyrage.x25519.Identity.generate())]), coded)


def test_a_program_that_gives_nothing_and_says_that_all_went_well_is_not_believed(
    codec: AgeCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coded = codec.encode(_BODY)
    _instead("cat > /dev/null", tmp_path, monkeypatch)

    with pytest.raises(ChecksumMismatch, match="cut short"):
        _decoded(codec, coded)


def test_a_program_that_cannot_be_started_is_done_without(
    codec: AgeCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another machine's kind, say; where setpriv does not start it."""
    coded = codec.encode(_BODY)
    program = tmp_path / "age"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    monkeypatch.setattr(age_program, "age_program", lambda: str(program))
    monkeypatch.setattr(Unprivileged, "prefixed", lambda _self, command, _tied: list(command))

    assert _decoded(codec, coded) == _BODY


def test_where_nothing_may_be_written_the_program_is_done_without(
    codec: AgeCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To check a copy in a container whose files are read-only takes no directory for what is
    temporary."""
    monkeypatch.setattr(tempfile, "tempdir", "/proc")

    assert _decoded(codec, codec.encode(_BODY)) == _BODY


def test_a_program_that_dies_on_the_way_has_damaged_nothing(
    codec: AgeCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = age_program.age_program()
    coded = codec.encode(_BODY)
    # The words of the real one: the option, and the name of the pipe the secret comes through.
    _instead(f'{real} "$@" | head -c 200000; kill -9 $$', tmp_path, monkeypatch)

    with pytest.raises(KbDrError, match="signal 9") as raised:
        _decoded(codec, coded)

    assert not isinstance(raised.value, ChecksumMismatch)


def test_the_secret_is_in_no_argument_and_no_environment(
    codec: AgeCodec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = pyrage.x25519.Identity.generate()
    holder = AgeCodec([str(identity.to_public())], [str(identity)])
    told = tmp_path / "told"
    _instead(
        f"cat /proc/$$/cmdline /proc/$$/environ > {told}; cat > /dev/null; exit 1",
        tmp_path,
        monkeypatch,
    )

    assert _decoded(holder, holder.encode(b"body")) == b"body"

    assert b"--identity" in told.read_bytes()
    assert b"AGE-SECRET-KEY" not in told.read_bytes()


def test_an_interrupt_between_two_reads_ends_it_and_is_no_damage(codec: AgeCodec) -> None:
    class Interrupted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise KeyboardInterrupt
            return super().read(500_000)

    with pytest.raises(KeyboardInterrupt):
        codec.decode_stream(Interrupted(codec.encode(_BODY)), io.BytesIO())


def test_damage_is_met_where_it_is_however_far_ahead_was_read(codec: AgeCodec) -> None:
    body = hashlib.shake_256(b"more noise").digest(6_000_000)
    for where in (1_000_000, 3_000_000, 5_500_000):
        coded = bytearray(codec.encode(body))
        coded[where] ^= 1

        with pytest.raises(ChecksumMismatch) as raised:
            codec.decode_stream(io.BytesIO(coded), io.BytesIO())

        assert raised.value.at_byte is not None
        assert abs(raised.value.at_byte - where) < 200_000
