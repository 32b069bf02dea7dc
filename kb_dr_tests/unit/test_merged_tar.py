"""The archives of a cluster become one tar that leads nowhere outside the directory it fills."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_dr.adapters.merged_tar import MergedTar, end_of_tar, last_member
from kb_dr.adapters.tar_index import TarDamaged

SPACE = {"PG_16_202307071/5/16390": b"rows" * 5000, "PG_16_202307071/5/16391": b""}
OTHER = {"PG_16_202307071/5/16400": b"x" * 512}
BASE = {
    "backup_label": b"START WAL LOCATION",
    # As PostgreSQL escapes a newline, a backslash and a carriage return in a path.
    "tablespace_map": b"16384 /live/a\\\nb\\\\c\\\r d\n16385 /live/other\n",
    "base/1/1259": bytes(range(256)) * 40,
    "base/5/tablespace_map": b"a file of the same name elsewhere",
}


def archive(members: dict[str, bytes], *, ended: bool) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        end = tar.offset
    whole = packed.getvalue()
    return whole if ended else whole[:end]


def merged(archives: dict[int | None, bytes], sizes: list[int]) -> bytes:
    tar = MergedTar([oid for oid in archives if oid is not None])
    made = b""
    for oid, whole in archives.items():
        made += tar.begin(oid)
        position = 0
        for size in [*sizes, len(whole)]:
            made += b"".join(tar.feed(whole[position : position + size]))
            position += size
        tar.end()
    made += tar.close()
    return made + last_member("backup_manifest", 5) + b"{...}" + end_of_tar(5)


@given(st.lists(st.integers(min_value=1, max_value=3000), max_size=20), st.booleans())
def test_one_tar_holds_everything_in_its_place_wherever_the_pieces_are_cut(
    sizes: list[int], ended: bool
) -> None:
    archives = {
        16384: archive(SPACE, ended=ended),
        16385: archive(OTHER, ended=ended),
        None: archive(BASE, ended=ended),
    }

    made = merged(archives, sizes)

    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        members = {member.name: member for member in tar}
        contents = {
            name: stream.read()
            for name, member in members.items()
            if (stream := tar.extractfile(member) if member.isfile() else None)
        }
    assert contents == {
        **{f"kb_dr_tablespaces/16384/{name}": content for name, content in SPACE.items()},
        **{f"kb_dr_tablespaces/16385/{name}": content for name, content in OTHER.items()},
        **{name: content for name, content in BASE.items() if name != "tablespace_map"},
        "backup_manifest": b"{...}",
    }
    links = {name: member.linkname for name, member in members.items() if member.issym()}
    assert links == {
        "pg_tblspc/16384": "../kb_dr_tablespaces/16384",
        "pg_tblspc/16385": "../kb_dr_tablespaces/16385",
    }
    directories = {name: member.mode for name, member in members.items() if member.isdir()}
    assert directories == {
        "kb_dr_tablespaces": 0o700,
        "kb_dr_tablespaces/16384": 0o700,
        "kb_dr_tablespaces/16385": 0o700,
    }
    assert b"/live/" not in made


@pytest.mark.parametrize("cut", [100, 512, 700])
def test_an_archive_cut_inside_a_member_is_told(cut: int) -> None:
    tar = MergedTar([16384])
    tar.begin(16384)
    list(tar.feed(archive(SPACE, ended=True)[:cut]))

    with pytest.raises(TarDamaged, match="cut short"):
        tar.end()


def test_an_archive_that_did_not_come_is_told() -> None:
    tar = MergedTar([16384, 16385])
    for oid in (16384, None):
        tar.begin(oid)
        tar.end()

    with pytest.raises(TarDamaged, match="16385"):
        tar.close()


@pytest.mark.parametrize("oid", [16384, 99])
def test_an_archive_nobody_announced_is_told(oid: int) -> None:
    tar = MergedTar([16384])
    tar.begin(16384)
    tar.end()

    with pytest.raises(TarDamaged, match="not announced"):
        tar.begin(oid)


def test_a_header_that_is_in_use_where_ours_would_go_is_told() -> None:
    long = {"a" * 90 + "/" + "b" * 90: b""}
    tar = MergedTar([16384])
    tar.begin(16384)

    with pytest.raises(TarDamaged, match="prefix"):
        list(tar.feed(archive(long, ended=True)))
