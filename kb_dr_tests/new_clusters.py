"""New PostgreSQL clusters without the second of CPU that each initdb takes.

What initdb makes is kept, one of each version and kind, and copied; each copy is a cluster of its
own: it gets its own system identifier, where initdb writes it.
"""

import os
import shutil
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import google_crc32c

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.sandbox.postgres_binaries import default_root

_WORDS = ("-U", "postgres", "-A", "trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
_IDENTIFIER = struct.Struct("<Q")
_CRC = struct.Struct("<I")
_IN_SEGMENT = 24
"""Where the first page of a WAL segment names its cluster."""


def make_cluster(programs: PostgresPrograms, data: Path, *kind: str) -> None:
    """Make ``data``, a cluster that was never started, as initdb does with the words ``kind``."""
    made = default_root() / f".tests-{programs.bin_dir.parent.name}{''.join(kind)}"
    if not made.is_dir():
        with _place_beside(made) as place:
            programs.run("initdb", "-D", place, *_WORDS, *kind)
            try:
                place.rename(made)
            except OSError:
                assert made.is_dir(), f"{made} could not be made"  # else another made the same
    # Most of a WAL segment is empty: with holes there, copying it is nearly free.
    subprocess.run(["cp", "-a", "--sparse=always", made, data], check=True)
    _tell_apart(data)


@contextmanager
def _place_beside(made: Path) -> Iterator[Path]:
    made.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=".tests-", dir=made.parent))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _tell_apart(data: Path) -> None:
    """Give a copy its own system identifier, made as PostgreSQL makes it."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    now = seconds << 32 | nanoseconds // 1000 << 12 | os.getpid() & 0xFFF
    new = _IDENTIFIER.pack(now)

    control = data / "global" / "pg_control"
    said = bytearray(control.read_bytes())
    at = _crc_of(said)
    old = bytes(said[: _IDENTIFIER.size])
    said[: _IDENTIFIER.size] = new
    _CRC.pack_into(said, at, google_crc32c.value(bytes(said[:at])))
    control.write_bytes(said)

    renamed = 0
    for segment in (each for each in (data / "pg_wal").iterdir() if each.is_file()):
        with segment.open("r+b") as stream:
            stream.seek(_IN_SEGMENT)
            if stream.read(_IDENTIFIER.size) == old:  # else it is made ready, but empty yet
                stream.seek(_IN_SEGMENT)
                stream.write(new)
                renamed += 1
    assert renamed, f"no WAL in {data} names its cluster"


def _crc_of(control: bytearray) -> int:
    """Where the checksum of pg_control stands: behind its fields, whose number differs by major."""
    for at in range(_IDENTIFIER.size, len(control) - _CRC.size, 4):
        if google_crc32c.value(bytes(control[:at])) == _CRC.unpack_from(control, at)[0]:
            return at
    raise AssertionError("pg_control has no checksum")
