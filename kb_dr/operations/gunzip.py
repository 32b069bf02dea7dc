"""Reads gzip piece by piece, to its very end, in bounded memory."""

import zlib
from collections.abc import Iterator

from kb_dr.errors import ChecksumMismatch

_PIECE_BYTES = 1 << 20
_HINT = "Use another file: this one is damaged."
_MAGIC = b"\x1f\x8b"


class Gunzip:
    """One gzip file. Raises ChecksumMismatch for damage, an early end, and what stands behind."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._begun = False

    def feed(self, coded: bytes) -> Iterator[bytes]:
        """What the next piece of the file holds, in pieces of a MiB at most."""
        plain = b""
        # A full piece may leave more of it inside, though all of the file was taken.
        while coded or len(plain) == _PIECE_BYTES:
            if self._member.eof:
                if not coded:
                    return
                self._next_member(coded)
            self._begun = True
            try:
                plain = self._member.decompress(coded, _PIECE_BYTES)
            except zlib.error as error:
                raise ChecksumMismatch(f"gunzip: {error}", hint=_HINT) from error
            if plain:
                yield plain
            coded = self._member.unused_data or self._member.unconsumed_tail

    def finish(self) -> None:
        """It must have ended here, and with its checksum."""
        if not self._member.eof:
            seen = "unexpected end of file" if self._begun else "it is empty"
            raise ChecksumMismatch(f"gunzip: {seen}", hint=_HINT)

    def _next_member(self, coded: bytes) -> None:
        # gzip allows one after the other, and nothing else behind the last.
        if not _MAGIC.startswith(coded[:2]):
            raise ChecksumMismatch(
                "gunzip: something that is no gzip stands behind its end", hint=_HINT
            )
        self._member = zlib.decompressobj(wbits=31)
