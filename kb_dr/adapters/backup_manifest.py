"""PostgreSQL's backup manifest, read as it passes: its checksum, its WAL range.

Source: PostgreSQL docs, "Backup Manifest Format".
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import zstandard

from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import WalPosition
from kb_dr.errors import PostgresCommandFailed

_TAIL_BYTES = 64 * 1024
"""The WAL ranges are a few hundred bytes at the manifest's end."""

_END = re.compile(rb'"WAL-Ranges":\s*(\[.*\]),?\s*"Manifest-Checksum":\s*"([0-9a-f]{64})"\}\s*\Z',
                  re.DOTALL)  # fmt: skip


class BackupManifestReader:
    """Compresses the manifest and remembers its end; memory grows with 1/20 of its length."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
        self._compressed: list[bytes] = []
        self._digest = hashlib.sha256()
        self._tail = b""

    def feed(self, data: bytes) -> None:
        """The next piece."""
        self._compressed.append(self._compressor.compress(data))
        tail = self._tail + data
        self._digest.update(tail[:-_TAIL_BYTES])
        self._tail = tail[-_TAIL_BYTES:]

    def finish(self) -> tuple[WalPosition, bytes]:
        """The WAL needed, and the manifest compressed.

        Raises PostgresCommandFailed when it is incomplete, damaged, or spans timelines.
        """
        match = _END.search(self._tail)
        if match is None:
            raise PostgresCommandFailed("read backup_manifest: its end is not as expected")
        # The checksum covers everything before its own line, the line's beginning included no more.
        before = self._tail.rindex(b'"Manifest-Checksum"')
        self._digest.update(self._tail[:before])
        if self._digest.hexdigest() != match[2].decode():
            raise PostgresCommandFailed("read backup_manifest: its checksum is wrong")
        self._compressed.append(self._compressor.flush())
        return _position(json.loads(match[1])), b"".join(self._compressed)


@contextmanager
def unpacked_manifest(compressed: bytes, unprivileged: Unprivileged) -> Iterator[IO[bytes]]:
    """A stored manifest in a file without a name, which is gone however this process ends.

    PostgreSQL's programs may open it anew, as /dev/stdin. Raises PostgresCommandFailed when it is
    not what BackupManifestReader made.
    """
    with tempfile.TemporaryFile() as file:
        try:
            for piece in zstandard.ZstdDecompressor().read_to_iter(compressed):
                file.write(piece)
        except zstandard.ZstdError as error:
            raise PostgresCommandFailed(f"read the parent's manifest: {error}") from error
        file.flush()
        file.seek(0)
        unprivileged.give_open(file.fileno())
        yield file


def _position(ranges: list[dict[str, Any]]) -> WalPosition:
    if len(ranges) != 1:
        raise PostgresCommandFailed(
            f"read backup_manifest: WAL of {len(ranges)} timelines, expected 1",
            hint="The server was promoted while it was backed up; start the backup again.",
        )
    found = ranges[0]
    return WalPosition(
        timeline=int(found["Timeline"]),
        start=Lsn.parse(found["Start-LSN"]),
        stop=Lsn.parse(found["End-LSN"]),
    )
