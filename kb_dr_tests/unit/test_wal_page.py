"""A segment is held against its own header before it is archived or replayed."""

import pytest

from kb_dr.domain.wal_names import Segment
from kb_dr.domain.wal_page import check_pages, check_segment
from kb_dr.errors import WalDamaged, WrongCluster
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, WalWriter, full_segments

NAME = Segment(1, 3, SEGMENT_BYTES).name
CONTENT = full_segments(3, 1)[NAME]


def test_a_good_segment_says_what_it_is() -> None:
    header = check_segment(NAME, CONTENT[:40], len(CONTENT), system_identifier=SYSTEM_IDENTIFIER)

    assert header.major == 16
    assert header.system_identifier == SYSTEM_IDENTIFIER
    assert header.segment_bytes == SEGMENT_BYTES
    assert str(header.address) == "0/300000"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "zero bytes"),
        (bytes(SEGMENT_BYTES), "all zeros"),
        (CONTENT[:30], "truncated"),
        (CONTENT[:-1], "truncated"),
        (CONTENT + b"x", "too long"),
        (b"\x01\x02" + CONTENT[2:], "page magic"),
        (full_segments(4, 1)[Segment(1, 4, SEGMENT_BYTES).name], "first page is of 0/400000"),
        (full_segments(3, 1, timeline=2)[Segment(2, 3, SEGMENT_BYTES).name], "timeline 2"),
    ],
)
def test_what_is_not_this_segment_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(WalDamaged, match=words):
        check_segment(NAME, content[:40], len(content))


def test_another_clusters_segment_is_refused() -> None:
    with pytest.raises(WrongCluster, match=str(SYSTEM_IDENTIFIER)):
        check_segment(NAME, CONTENT, len(CONTENT), system_identifier=SYSTEM_IDENTIFIER + 1)


def test_the_first_segment_of_a_timeline_may_begin_with_pages_of_its_parent() -> None:
    check_pages(Segment(2, 3, SEGMENT_BYTES).name, CONTENT)


@pytest.mark.parametrize("major", [(0xD10D, 14), (0xD110, 15), (0xD116, 17), (0xD118, 18)])
def test_every_supported_major_version_is_known(major: tuple[int, int]) -> None:
    writer = WalWriter(Segment(1, 3, SEGMENT_BYTES), magic=major[0])
    writer.fill(1)
    content = writer.segments()[NAME]

    assert check_segment(NAME, content, len(content)).major == major[1]


def test_zeros_may_end_a_segment_but_never_stand_inside_it() -> None:
    switched = WalWriter(Segment(1, 3, SEGMENT_BYTES))
    switched.record()
    switched.switch()
    check_pages(NAME, switched.segments()[NAME])

    hole = CONTENT[:81920] + bytes(8192) + CONTENT[81920 + 8192 :]
    with pytest.raises(WalDamaged, match="hole of zeros from 0/314000"):
        check_pages(NAME, hole)


def test_a_page_of_an_older_use_of_the_file_is_found() -> None:
    old = full_segments(2, 1)[Segment(1, 2, SEGMENT_BYTES).name]

    with pytest.raises(WalDamaged, match="no page of 0/380000 there"):
        check_pages(NAME, CONTENT[: SEGMENT_BYTES // 2] + old[SEGMENT_BYTES // 2 :])
