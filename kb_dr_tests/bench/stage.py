"""One stage alone, in a process of its own: stage NAME WORDS...; prints its cost as JSON.

The libraries and settings are the product's; what another stage would do is left out: bytes come
from a file in the page cache and go nowhere.
"""

import hashlib
import json
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyrage
import zstandard

from kb_dr import wiring
from kb_dr.adapters.age_program import age_program, decrypt_beside
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.installation import Installation, open_installation
from kb_dr.operations.fetch_backup import CHUNKS_AHEAD
from kb_dr.operations.store_stream import ChunkWriter
from kb_dr.settings import load_settings

_PIECE_BYTES = 1 << 20


def read_server(env_file: str) -> None:
    """A base backup, read and hashed as the product does, and thrown away."""
    program = wiring.base_backup_program(load_settings(env_file=Path(env_file)))
    with program.stream("bench") as stream:
        while stream.read(_PIECE_BYTES):
            pass
        stream.finish()


def digest(plain: str) -> None:
    with open(plain, "rb") as source:
        hashlib.file_digest(source, "sha256")


def compress(plain: str) -> None:
    compressor = zstandard.ZstdCompressor(level=1, threads=2, write_checksum=True)
    with open(plain, "rb") as source, open(os.devnull, "wb") as sink:
        compressor.copy_stream(source, sink, read_size=_PIECE_BYTES)


def decompress(compressed: str) -> None:
    with open(compressed, "rb") as source, open(os.devnull, "wb") as sink:
        zstandard.ZstdDecompressor().copy_stream(source, sink, read_size=_PIECE_BYTES)


def encrypt(compressed: str, recipient: str) -> None:
    key = pyrage.x25519.Recipient.from_str(recipient)
    with open(compressed, "rb") as source, open(os.devnull, "wb") as sink:
        pyrage.encrypt_io(source, sink, [key])


def code(target: str, recipient: str) -> None:
    """Standard input, compressed and encrypted, into a file."""
    key = pyrage.x25519.Recipient.from_str(recipient)
    compressor = zstandard.ZstdCompressor(level=1, threads=2, write_checksum=True)
    with open(target, "wb") as sink, compressor.stream_reader(sys.stdin.buffer) as compressed:
        pyrage.encrypt_io(compressed, sink, [key])


def decrypt(coded: str, identity_file: str) -> None:
    """By age's own program, as the product does where it is installed."""
    program = age_program()
    assert program is not None, "age is not installed"
    identity = Path(identity_file).read_text().strip()
    with open(coded, "rb") as source, open(os.devnull, "wb") as sink:
        decrypt_beside(program, [identity], source, sink)


def upload(coded: str, env_file: str) -> Callable[[], None]:
    opened = _opened(env_file)
    attempt = secrets.token_hex(6)
    backup = BackupId.parse("kb-full-20200101-000000")
    writer = ChunkWriter(
        opened.primary,
        lambda number: layout.chunk_key(backup, attempt, number),
        opened.settings.chunk_bytes,
        opened.settings.transfers,
    )
    with open(coded, "rb") as source, writer:
        while piece := source.read(_PIECE_BYTES):
            writer.write(piece)
        stored = writer.finish()

    def clean_up() -> None:
        # rclone's server hashes whatever it lists: these would slow down what is measured next.
        for chunk in stored:
            opened.primary.delete(chunk.key)

    return clean_up


def fetch(env_file: str, backup: str) -> None:
    opened = _opened(env_file)
    chunks = opened.find_backup(BackupId.parse(backup)).manifest.chunks
    with ThreadPoolExecutor(CHUNKS_AHEAD) as pool:
        running: deque[Future[bytes]] = deque()
        for chunk in chunks:
            if len(running) == CHUNKS_AHEAD:
                running.popleft().result()
            running.append(pool.submit(opened.primary.get, chunk))
        for each in running:
            each.result()


_STAGES: dict[str, Callable[..., Callable[[], None] | None]] = {
    each.__name__: each
    for each in (read_server, digest, compress, decompress, encrypt, decrypt, code, upload, fetch)
}


def _opened(env_file: str) -> Installation:
    return open_installation(load_settings(env_file=Path(env_file)))


def _cpu_now() -> float:
    """Ours, and that of programs we have waited for."""
    return sum(os.times()[:4])


def main(name: str, words: Iterable[str]) -> None:
    """Run one stage; what it took before its first byte (imports) is left out."""
    began, cpu = time.perf_counter(), _cpu_now()
    clean_up = _STAGES[name](*words)
    seconds, cpu_seconds = time.perf_counter() - began, _cpu_now() - cpu
    if clean_up is not None:
        clean_up()
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
