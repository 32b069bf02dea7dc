"""zstd inside age: what is stored opens with ``age -d | zstd -d`` and nothing of ours."""

import io
import re
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, cast

import pyrage
import zstandard

from kb_dr.adapters.zstd_frames import Frames
from kb_dr.errors import ChecksumMismatch, ConfigurationError, KbDrError, KeyMissing

if TYPE_CHECKING:
    from kb_dr.ports import Readable, Writable

_INTERRUPTED = re.compile(r"\w*Interrupt\w*\b")
"""KeyboardInterrupt, or Dagster's own: pyrage's text begins with the name of what was raised."""

_NO_KEY = "No matching keys found"
"""pyrage has one error for all; this text is what tells a foreign key from damage."""

_NO_PAYLOAD = "age file is truncated"
"""What it says when the header was opened and nothing came after the nonce."""

_VERSION_LINE = b"age-encryption.org/v1\n"
_NONCE_BYTES = 16

_READ_BYTES = 512 * 1024
"""Of a plain stream, at once."""


class AgeCodec:
    """Implements `kb_dr.ports.Codec`.

    ``recipients`` are X25519 public keys (``age1...``), ``identities`` the secret ones
    (``AGE-SECRET-KEY-1...``). A host that only backs up holds no identity: decoding there raises
    KeyMissing. Raises ConfigurationError for texts that are neither.
    """

    def __init__(
        self,
        recipients: Sequence[str],
        identities: Sequence[str] = (),
        *,
        level: int = 1,
        threads: int = 2,
    ) -> None:
        self._recipients = tuple(recipients)
        self._public = [_recipient(text) for text in self._recipients]
        self._secret = [_identity(text) for text in identities]
        self._level = level
        self._threads = threads

    @property
    def recipients(self) -> tuple[str, ...]:
        return self._recipients

    @property
    def identities(self) -> tuple[str, ...]:
        return tuple(str(each.to_public()) for each in self._secret)

    def encode(self, plain: bytes) -> bytes:
        # In one piece: it is in memory anyway, and each step between costs more than its work.
        compressed = zstandard.ZstdCompressor(level=self._level, write_checksum=True)
        try:
            coded: bytes = pyrage.encrypt(compressed.compress(plain), self._required_recipients())
        except pyrage.EncryptError as error:
            raise KbDrError(f"encrypt {len(plain)} bytes: {error}") from None
        return coded

    def decode(self, coded: bytes) -> bytes:
        plain = io.BytesIO()
        self.decode_into(coded, plain)
        return plain.getvalue()

    def decode_into(self, coded: bytes, sink: "Writable") -> int:
        # Piece by piece: as a whole it would be in memory three times, in pages that the kernel
        # clears anew for each WAL segment.
        return self._decode_here(io.BytesIO(coded), sink)

    def openers(self, start: bytes) -> tuple[str, ...]:
        header = _header(start)
        if header is None:
            raise ChecksumMismatch("read an age header: this is none, or it is cut short")
        return tuple(
            str(identity.to_public()) for identity in self._secret if _opens(identity, header)
        )

    def encode_stream(self, plain: "Readable", sink: "Writable") -> int:
        recipients = self._required_recipients()
        source, target = _Source(plain), _Target(sink)
        compressor = zstandard.ZstdCompressor(
            level=self._level, threads=self._threads, write_checksum=True
        )
        # stream_reader asks for a whole file; it only ever calls read().
        compressed = compressor.stream_reader(cast("IO[bytes]", source), read_size=_READ_BYTES)
        try:
            pyrage.encrypt_io(compressed, target, recipients)
        except (pyrage.EncryptError, OSError) as error:
            _raise_ours(source, target, error)
            raise KbDrError(f"encrypt a stream: {error}") from None
        finally:
            _forget(source, target)
        return source.count

    def decode_stream(self, coded: "Readable", sink: "Writable") -> int:
        # No WAL file pushed or fetched needs it.
        from kb_dr.adapters.age_program import age_program, decrypt_beside

        self._required_identities()
        if (program := age_program()) is None:
            return self._decode_here(coded, sink)
        target = Frames(sink)
        try:
            read = decrypt_beside(program, [str(each) for each in self._secret], coded, target)
        finally:
            target.failure = None  # see _forget()
        if read is not None:
            # It could do nothing with it. We find out why, or do without it.
            return self._decode_here(_Again(read, coded), sink)
        target.finish()
        return target.count

    def _decode_here(self, coded: "Readable", sink: "Writable") -> int:
        identities = self._required_identities()
        source, target = _Source(coded), Frames(sink)
        try:
            pyrage.decrypt_io(source, target, identities)
        except (pyrage.DecryptError, OSError) as error:
            _raise_ours(source, target, error)
            raise _not_decrypted(error) from None
        finally:
            _forget(source, target)
        if source.read(1):
            raise ChecksumMismatch("decrypt a stream: bytes follow its end")
        target.finish()
        return target.count

    def _required_recipients(self) -> "list[pyrage.x25519.Recipient]":
        if not self._public:
            raise ConfigurationError(
                "encrypt a backup: no age recipient",
                hint="Set KB_DR_AGE_RECIPIENTS to at least one age1... public key.",
            )
        return self._public

    def _required_identities(self) -> "list[pyrage.x25519.Identity]":
        if not self._secret:
            raise KeyMissing("decrypt a stream: no age identity at hand")
        return self._secret


def _not_decrypted(error: Exception) -> KbDrError:
    if _NO_KEY in str(error):
        return KeyMissing("decrypt a stream: no identity at hand opens it")
    return ChecksumMismatch(f"decrypt a stream: {error}")


def _opens(identity: "pyrage.x25519.Identity", header: bytes) -> bool:
    """Whether this identity opens the header, and finds its MAC to be right.

    Nothing follows the nonce here, so decrypting always ends in an error; which one tells.
    """
    try:
        pyrage.decrypt(header, [identity])
    except pyrage.DecryptError as error:
        if _NO_KEY in str(error):
            return False
        if _NO_PAYLOAD in str(error):
            return True
        raise ChecksumMismatch(f"read an age header: {error}") from None
    return True


def _header(start: bytes) -> bytes | None:
    """The age header at the beginning, with the nonce behind it; None when there is none, whole.

    Source: C2SP, age-encryption.org/v1: the header ends with the line of its MAC, ``--- ``.
    """
    if not start.startswith(_VERSION_LINE):
        return None
    mac = start.find(b"\n--- ")
    end = start.find(b"\n", mac + 1) + 1 if mac >= 0 else 0
    return start[: end + _NONCE_BYTES] if 0 < end <= len(start) - _NONCE_BYTES else None


class _Source:
    """Counts what is read; keeps what the reader raised, which pyrage turns into its own text."""

    def __init__(self, inner: "Readable") -> None:
        self._inner = inner
        self.count = 0
        self.failure: BaseException | None = None

    def read(self, size: int = -1, /) -> bytes:
        try:
            data = self._inner.read(size)
        except BaseException as error:
            self.failure = error
            raise
        self.count += len(data)
        return data


class _Again:
    """What was read already, and then the rest."""

    def __init__(self, read: Sequence[bytes], rest: "Readable") -> None:
        self._read = [io.BytesIO(each) for each in read]
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        while self._read:
            if data := self._read[0].read(size):
                return data
            del self._read[0]
        return self._rest.read(size)


class _Target:
    """Passes on what is written; keeps what the writer raised."""

    def __init__(self, inner: "Writable") -> None:
        self._inner = inner
        self.failure: BaseException | None = None

    def write(self, data: bytes, /) -> int:
        if self.failure is not None:
            raise self.failure
        try:
            return self._inner.write(data)
        except BaseException as error:
            self.failure = error
            raise

    def flush(self) -> None:
        """The owner of the sink flushes it."""


def _raise_ours(source: _Source, target: _Target | Frames, error: Exception) -> None:
    """Raise what our own streams raised, of which pyrage keeps only the text.

    An interrupt may come where no stream of ours can note it. It must not be taken for damage:
    a proof that was stopped would call a good copy bad.
    """
    if source.failure is not None:
        raise source.failure
    if target.failure is not None:
        raise target.failure
    if _INTERRUPTED.match(str(error)):
        raise KeyboardInterrupt from None


def _forget(source: _Source, target: _Target | Frames) -> None:
    """Break the cycle of an exception, the frames it went through, and the streams that hold it.

    Those frames hold buffers of many MiB, which would stay until the next collection.
    """
    source.failure = None
    target.failure = None


def _recipient(text: str) -> "pyrage.x25519.Recipient":
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        # Shown only if it looks public: a secret key put here by mistake must not be.
        shown = repr(text[:80]) if text.startswith("age1") else "that does not begin with age1"
        raise ConfigurationError(
            f"use age recipient {shown}: not an X25519 public key (age1...)"
        ) from None


def _identity(text: str) -> "pyrage.x25519.Identity":
    try:
        return pyrage.x25519.Identity.from_str(text)
    except pyrage.IdentityError:
        raise ConfigurationError(
            "use an age identity: not an X25519 secret key (AGE-SECRET-KEY-1...)",
            hint="Check the identity file; its content is never shown.",
        ) from None
