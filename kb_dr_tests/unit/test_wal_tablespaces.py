"""A record that creates a tablespace is found wherever it lies in WAL, and nothing else is."""

import struct

import pytest

from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_tablespaces import CreatedTablespace, TablespaceWatch
from kb_dr_tests.made_wal import SEGMENT_BYTES, WalWriter

PAGE = 8192
FIRST = Segment(1, 2, SEGMENT_BYTES)
TABLESPACES = 5
CREATED = CreatedTablespace(16384, "/live/space")


def payload(location: bytes = b"/live/space", oid: int = 16384) -> bytes:
    return struct.pack("<I", oid) + location + b"\0"


def written_up_to(offset: int) -> WalWriter:
    """WAL whose next record begins at this offset of its first segment."""
    writer = WalWriter(FIRST)
    while (left := offset - len(writer.written)) > 4500:
        writer.record(b"y" * 4000)
    writer.record(b"y" * (left - 29))  # what its headers take
    assert len(writer.written) == offset
    return writer


def seen(content: bytes) -> list[CreatedTablespace | None]:
    watch = TablespaceWatch()
    count = -(-len(content) // SEGMENT_BYTES)
    padded = content.ljust(count * SEGMENT_BYTES, b"\0")
    return [
        watch.passed(padded[at : at + SEGMENT_BYTES]) for at in range(0, len(padded), SEGMENT_BYTES)
    ]


@pytest.mark.parametrize("before_the_page_ends", [8, 16, 24, 32, 40, 56, 200])
@pytest.mark.parametrize("page", [1, 2, 50])
def test_it_is_found_also_across_pages(page: int, before_the_page_ends: int) -> None:
    writer = written_up_to(page * PAGE - before_the_page_ends)
    writer.record(payload(), rmid=TABLESPACES)
    writer.record()

    assert seen(bytes(writer.written)) == [CREATED]


@pytest.mark.parametrize("before_the_segment_ends", [8, 16, 24, 32, 40])
def test_across_segments_it_is_found_in_the_one_it_ends_in(before_the_segment_ends: int) -> None:
    writer = written_up_to(SEGMENT_BYTES - before_the_segment_ends)
    writer.record(payload(), rmid=TABLESPACES)

    assert seen(bytes(writer.written)) == [None, CREATED]


def test_a_path_of_the_greatest_length_is_found() -> None:
    writer = written_up_to(PAGE - 512)
    writer.record(payload(b"/" + b"l" * 1020), rmid=TABLESPACES)

    (found,) = seen(bytes(writer.written))
    assert found is not None
    assert len(found.location) == 1021


@pytest.mark.parametrize(
    ("content", "rmid", "info"),
    [
        (payload(b""), TABLESPACES, 0),  # created inside the data directory
        (payload(), TABLESPACES, 0x10),  # dropped
        (payload(), 4, 0),
        (payload(), 10, 0),
        (b"\x00\x05\x00\x00" * 50, 10, 0),
    ],
    ids=["in place", "dropped", "database", "heap", "looks like it"],
)
def test_other_records_are_passed_over(content: bytes, rmid: int, info: int) -> None:
    writer = WalWriter(FIRST)
    for _ in range(3):
        writer.record(content, rmid=rmid, info=info)

    assert seen(bytes(writer.written)) == [None]


def test_bytes_that_are_no_valid_record_are_passed_over() -> None:
    writer = WalWriter(FIRST)
    end = writer.record(payload(), rmid=TABLESPACES)
    damaged = bytearray(writer.written)
    damaged[end - FIRST.start - 8] ^= 1

    assert seen(bytes(damaged)) == [None]


def test_segments_that_do_not_follow_each_other_are_not_read_as_one() -> None:
    writer = written_up_to(SEGMENT_BYTES - 40)
    writer.record(payload(), rmid=TABLESPACES)
    content = bytes(writer.written).ljust(2 * SEGMENT_BYTES, b"\0")
    watch = TablespaceWatch()

    assert watch.passed(content[:SEGMENT_BYTES]) is None
    watch.forget()
    assert watch.passed(content[SEGMENT_BYTES:]) is None
