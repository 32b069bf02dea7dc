"""An audit names what is wrong with an archive, each kind as what it is."""

import hashlib
import os
from pathlib import Path

import pytest

from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.domain.layout import MARKER, wal_key
from kb_dr.domain.wal_archive import WalProblemKind
from kb_dr.domain.wal_names import DEFAULT_SEGMENT_BYTES, Segment
from kb_dr.errors import WrongRepository
from kb_dr.operations.audit_wal import (
    WalAudit,
    audit_wal,
    clusters_present,
    stored_segment_bytes,
)
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, full_segments

SEGMENTS = full_segments(1, 6)
NAMES = list(SEGMENTS)
HISTORY = b"1\t0/400100\tno recovery target specified\n"


def store(repository: MemoryRepository, name: str, plain: bytes, digest: str = "") -> str:
    key = wal_key(SYSTEM_IDENTIFIER, name, digest or hashlib.sha256(plain).hexdigest())
    # Long enough that no whole object is taken for a cut one.
    repository.bodies[key] = PlainCodec().encode(plain)
    return key


@pytest.fixture
def repository() -> MemoryRepository:
    found = MemoryRepository()
    found.put(MARKER, b"{}")
    for name, content in SEGMENTS.items():
        store(found, name, content)
    return found


def audit(repository: MemoryRepository, *, deep: bool = True) -> WalAudit:
    return audit_wal(
        repository,
        system_identifier=SYSTEM_IDENTIFIER,
        segment_bytes=SEGMENT_BYTES,
        codec=PlainCodec(),
        deep=deep,
    )


def problems(found: WalAudit) -> list[tuple[WalProblemKind, str]]:
    return [(each.kind, each.name) for each in found.archive.problems]


@pytest.mark.parametrize("deep", [False, True])
def test_a_good_archive_passes(repository: MemoryRepository, deep: bool) -> None:
    found = audit(repository, deep=deep)

    assert found.passed, found.archive.problems
    assert found.archive.segments == 6
    assert found.read_files == (6 if deep else 0)


def test_an_archive_with_nothing_in_it_does_not_pass() -> None:
    repository = MemoryRepository()
    repository.put(MARKER, b"{}")

    assert not audit(repository).passed


def test_a_place_that_is_no_repository_is_not_audited() -> None:
    with pytest.raises(WrongRepository):
        audit(MemoryRepository())


def _replaced(repository: MemoryRepository, plain: bytes) -> None:
    for key in [key for key in repository.bodies if NAMES[2] in key]:
        del repository.bodies[key]
    store(repository, NAMES[2], plain)


def _damaged(repository: MemoryRepository, body: bytes) -> None:
    key = next(key for key in repository.bodies if NAMES[2] in key)
    repository.bodies[key] = body


@pytest.mark.parametrize("deep", [False, True])
def test_what_a_listing_shows(repository: MemoryRepository, deep: bool) -> None:
    _damaged(repository, b"")
    store(repository, NAMES[4], b"other" * 100, "0" * 64)
    for key in [key for key in repository.bodies if NAMES[3] in key]:
        del repository.bodies[key]

    found = problems(audit(repository, deep=deep))

    assert sorted(found[:3]) == sorted(
        [
            (WalProblemKind.ZERO_BYTES, NAMES[2]),
            (WalProblemKind.GAP, NAMES[3]),
            (WalProblemKind.TWO_DIGESTS, NAMES[4]),
        ]
    )


@pytest.mark.parametrize(
    ("plain", "kind"),
    [
        (b"", WalProblemKind.TRUNCATED),
        (SEGMENTS[NAMES[2]][: SEGMENT_BYTES // 2], WalProblemKind.TRUNCATED),
        (SEGMENTS[NAMES[3]], WalProblemKind.DAMAGED),
        (
            full_segments(3, 1, system_identifier=5)[NAMES[2]],
            WalProblemKind.FOREIGN,
        ),
        (SEGMENTS[NAMES[2]][:-8192] + bytes(8192), WalProblemKind.DAMAGED),
    ],
)
def test_what_only_the_content_shows(
    repository: MemoryRepository, plain: bytes, kind: WalProblemKind
) -> None:
    """The last one is a segment whose end was lost: its header is good, its WAL ends early."""
    _replaced(repository, plain)

    assert problems(audit(repository)) == [(kind, NAMES[2])]


def test_bytes_that_do_not_decode_and_bytes_of_another_digest_are_damage(
    repository: MemoryRepository,
) -> None:
    _damaged(repository, b"no codec wrote this" * 100)
    assert problems(audit(repository)) == [(WalProblemKind.DAMAGED, NAMES[2])]

    _damaged(repository, PlainCodec().encode(SEGMENTS[NAMES[2]] + b"x"))
    assert problems(audit(repository)) == [(WalProblemKind.DAMAGED, NAMES[2])]


def test_a_fork_without_its_history_and_with_a_bad_one(repository: MemoryRepository) -> None:
    later = {
        Segment(2, number, SEGMENT_BYTES).name: content
        for number, content in ((4, SEGMENTS[NAMES[3]]),)
    }
    for name, content in later.items():
        store(repository, name, content)
    assert problems(audit(repository)) == [(WalProblemKind.MISSING_HISTORY, "00000002.history")]

    key = store(repository, "00000002.history", HISTORY * 8)
    assert problems(audit(repository)) == [(WalProblemKind.DAMAGED, "00000002.history")]

    del repository.bodies[key]
    store(repository, "00000002.history", HISTORY + b"# told\n" * 30)
    assert audit(repository).passed


def test_clusters_and_their_segment_size_are_read_from_the_archive(
    repository: MemoryRepository,
) -> None:
    repository.bodies[wal_key(9, "00000002.history", "a" * 64)] = b"x"

    assert clusters_present(repository) == [SYSTEM_IDENTIFIER, 9]
    assert stored_segment_bytes(repository, PlainCodec(), SYSTEM_IDENTIFIER) == SEGMENT_BYTES


def test_fifty_thousand_segments_of_a_directory(tmp_path: Path) -> None:
    repository = DirectoryRepository(tmp_path / "repository", "primary")
    repository.create()
    repository.put(MARKER, b"{}")
    first = wal_key(SYSTEM_IDENTIFIER, Segment(1, 0, DEFAULT_SEGMENT_BYTES).name, "a" * 64)
    repository.put(first, b"x" * 300)
    for number in range(1, 50_000):
        if number != 33_333:
            name = Segment(1, number, DEFAULT_SEGMENT_BYTES).name
            key = wal_key(SYSTEM_IDENTIFIER, name, "a" * 64)
            os.link(tmp_path / "repository" / first, tmp_path / "repository" / key)

    found = audit_wal(
        repository, system_identifier=SYSTEM_IDENTIFIER, segment_bytes=DEFAULT_SEGMENT_BYTES
    )

    missing = Segment(1, 33_333, DEFAULT_SEGMENT_BYTES).name
    assert problems(found) == [(WalProblemKind.GAP, missing)]
    assert found.archive.segments == 49_999
