"""One member is taken out of a passing tar, and a tar cut short is told from a whole one."""

import hashlib
import io
import tarfile

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kb_dr.adapters.backup_manifest import BackupManifestReader
from kb_dr.adapters.tar_index import MemberTap, TarDamaged
from kb_dr.domain.lsn import Lsn
from kb_dr.errors import PostgresCommandFailed

MEMBERS = {
    "backup_label": b"START WAL LOCATION",
    "base/1/1259": bytes(range(256)) * 40,
    "backup_manifest": b'{"x":1}' * 300,
    "empty": b"",
}


def tar_of(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        folder = tarfile.TarInfo("base")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def fed(tar: bytes, sizes: list[int]) -> tuple[MemberTap, bytes]:
    taken: list[bytes] = []
    tap = MemberTap("backup_manifest", taken.append)
    position = 0
    for size in sizes:
        tap.feed(tar[position : position + size])
        position += size
    tap.feed(tar[position:])
    return tap, b"".join(taken)


@given(st.lists(st.integers(min_value=1, max_value=3000), max_size=30))
def test_the_member_is_the_same_wherever_the_pieces_are_cut(sizes: list[int]) -> None:
    tap, taken = fed(tar_of(MEMBERS), sizes)

    tap.finish()
    assert taken == MEMBERS["backup_manifest"]
    assert (tap.seen, tap.members) == (1, 5)


@pytest.mark.parametrize("cut", [512, 700, 5000, 12000])
def test_a_tar_cut_short_is_told(cut: int) -> None:
    tap, _ = fed(tar_of(MEMBERS)[:cut], [])

    with pytest.raises(TarDamaged, match="cut short"):
        tap.finish()


def test_what_is_no_tar_is_told_at_once() -> None:
    with pytest.raises(TarDamaged, match="no tar header"):
        fed(b"\x28\xb5\x2f\xfd" * 200, [])


def test_a_damaged_header_is_told() -> None:
    tar = bytearray(tar_of(MEMBERS))
    tar[512 + 130] ^= 1

    with pytest.raises(TarDamaged):
        fed(bytes(tar), [])


def manifest(ranges: str, files: int = 5000) -> bytes:
    lines = ",\n".join(
        f'{{ "Path": "base/1/{n}", "Size": 8192, "Checksum": "ab" }}' for n in range(files)
    )
    body = (
        f'{{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [\n{lines}\n],\n'
        f'"WAL-Ranges": [\n{ranges}\n],\n'
    ).encode()
    return body + b'"Manifest-Checksum": "' + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


RANGE = '{ "Timeline": 3, "Start-LSN": "1A/2000028", "End-LSN": "1A/2000138" }'


@given(st.integers(min_value=1, max_value=400_000))
def test_wal_positions_come_from_the_manifests_end(cut: int) -> None:
    text = manifest(RANGE)
    reader = BackupManifestReader()

    reader.feed(text[:cut])
    reader.feed(text[cut:])
    wal, compressed = reader.finish()

    assert (wal.timeline, wal.start, wal.stop) == (
        3,
        Lsn.parse("1A/2000028"),
        Lsn.parse("1A/2000138"),
    )
    assert zstandard.ZstdDecompressor().decompressobj().decompress(compressed) == text


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (manifest(RANGE).replace(b"base/1/7", b"base/1/8", 1), "checksum"),
        (manifest(RANGE)[:-30], "its end"),
        (manifest(f"{RANGE},\n{RANGE}"), "2 timelines"),
        (b"", "its end"),
    ],
)
def test_a_manifest_that_is_not_whole_is_refused(text: bytes, seen: str) -> None:
    reader = BackupManifestReader()
    reader.feed(text)

    with pytest.raises(PostgresCommandFailed, match=seen):
        reader.finish()
