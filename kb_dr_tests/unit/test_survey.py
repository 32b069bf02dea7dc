"""What is said of a copy follows from what stands in it, and nothing is taken on trust."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Proof, Reach, Standing, Verdict
from kb_dr.domain.status import CopyStatus
from kb_dr.errors import KeyMissing, ObjectConflict, RepositoryUnavailable, WalDamaged
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.plan_recovery import plan_recovery
from kb_dr.operations.survey import survey
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import WalWriter
from kb_dr_tests.stored_backups import STARTED, SYSTEM, segment, store_objects, store_wal

CODEC = PlainCodec()
COMMIT = STARTED + timedelta(minutes=30)
DAY = timedelta(days=1)


@pytest.fixture
def repository() -> MemoryRepository:
    made = MemoryRepository()
    init_repository(made, FakeClock(), service="kb", org="default")
    return made


def archive(repository: MemoryRepository, first: int, last: int) -> None:
    """Segments full of records; the last commit is in the last of them."""
    writer = WalWriter(segment(first), system_identifier=SYSTEM)
    while len(writer.written) < (last - first) * writer.size + 0x8000:
        writer.record(b"f" * 30_000)
    writer.commit(COMMIT)
    writer.switch()
    for name, content in writer.segments().items():
        store_wal(repository, CODEC, name, content)


def backup(repository: MemoryRepository, *, day: int = 0, start: int = 2) -> StoredManifest:
    manifest = store_objects(repository, started=STARTED + day * DAY, start=start, stop=start + 1)
    return store_manifest(repository, manifest)


def look(repository: MemoryRepository, *proofs: Proof, codec: PlainCodec = CODEC) -> CopyStatus:
    by_backup: dict[str, list[Proof]] = {}
    for proof in proofs:
        by_backup.setdefault(proof.backup_id, []).append(proof)
    return survey(repository, codec, by_backup, service="kb", org="default", void_through=None)


def proof(
    of: StoredManifest, verdict: Verdict, *, minutes: int = 60, copy: str = "primary"
) -> Proof:
    finished = of.manifest.finished + timedelta(minutes=minutes)
    return Proof(
        schema_version=records.SCHEMA_VERSION,
        id=f"{minutes}",
        backup_id=of.manifest.id,
        manifest_digest=of.digest,
        copy=copy,
        url=f"memory://{copy}",
        started=finished - timedelta(seconds=90),
        finished=finished,
        verdict=verdict,
        reason="",
        checks=(),
        phases=(),
        reach=Reach(1, segment(6).end, 1, segment(6).end, finished),
        tools={},
        host="h",
    )


def test_the_window_reaches_from_the_end_of_the_backup_to_the_newest_commit(
    repository: MemoryRepository,
) -> None:
    stored = backup(repository)
    archive(repository, 2, 6)

    seen = look(repository)

    (window,) = seen.windows
    assert window.end is not None
    assert (window.begins_at, window.begins_lsn) == (
        stored.manifest.finished,
        stored.manifest.wal.stop,
    )
    assert (window.end.at, window.end.what, window.last_segment) == (
        COMMIT,
        "commit",
        segment(6).name,
    )
    assert window.end.lsn == segment(6).end
    assert seen.tip_window == window
    assert seen.problem == ""


def test_two_backups_over_one_archive_share_a_window(repository: MemoryRepository) -> None:
    first, second = backup(repository), backup(repository, day=1, start=5)
    archive(repository, 2, 8)

    (window,) = look(repository).windows

    assert window.backups == (first.manifest.id, second.manifest.id)
    assert window.begins_at == first.manifest.finished


def test_a_gap_makes_two_windows(repository: MemoryRepository) -> None:
    first, second = backup(repository), backup(repository, day=1, start=7)
    archive(repository, 2, 4)
    archive(repository, 6, 9)

    older, newer = look(repository).windows

    assert (older.backups, older.last_segment) == ((first.manifest.id,), segment(4).name)
    assert (newer.backups, newer.last_segment) == ((second.manifest.id,), segment(9).name)


def test_wal_behind_a_gap_does_not_count(repository: MemoryRepository) -> None:
    backup(repository)
    archive(repository, 2, 4)
    archive(repository, 6, 9)

    (window,) = look(repository).windows

    assert window.last_segment == segment(4).name
    assert window.end is not None
    assert window.end.lsn == segment(4).end


def spoil(repository: MemoryRepository, number: int, how: str) -> None:
    """Leave the object of a segment empty, or store it with a second digest."""
    name = segment(number).name
    if how == "empty":
        repository.bodies[next(key for key in repository.bodies if name in key)] = b""
    else:
        store_wal(repository, CODEC, name, b"of another server")


@pytest.mark.parametrize("how", ["empty", "two digests"])
@pytest.mark.parametrize("number", [5, 8], ids=["in the middle", "the newest"])
def test_no_end_is_told_where_a_restore_to_the_newest_is_refused(
    repository: MemoryRepository, how: str, number: int
) -> None:
    stored = backup(repository)
    archive(repository, 2, 8)
    spoil(repository, number, how)

    (window,) = look(repository).windows

    assert window.end is None
    assert segment(number).name in window.problem
    assert window.last_segment == segment(number - 1).name
    with pytest.raises((WalDamaged, ObjectConflict)):
        plan_recovery(repository, CODEC, stored, FakeClock())


@pytest.mark.parametrize("how", ["empty", "two digests"])
def test_a_backup_behind_a_bad_segment_has_a_window_of_its_own(
    repository: MemoryRepository, how: str
) -> None:
    backup(repository)
    second = backup(repository, day=1, start=6)
    archive(repository, 2, 8)
    spoil(repository, 5, how)

    older, newer = look(repository).windows

    assert (older.end, newer.problem) == (None, "")
    assert newer.end is not None
    assert newer.backups == (second.manifest.id,)


@pytest.mark.parametrize("how", ["empty", "two digests"])
def test_a_backup_whose_own_wal_is_bad_is_not_usable(
    repository: MemoryRepository, how: str
) -> None:
    backup(repository)
    archive(repository, 2, 8)
    spoil(repository, 3, how)

    seen = look(repository)

    assert [each.usable for each in seen.backups] == [False]
    assert seen.windows == ()


def test_a_backup_that_lacks_its_own_wal_is_not_usable(repository: MemoryRepository) -> None:
    backup(repository)
    archive(repository, 2, 2)

    seen = look(repository)

    assert [each.usable for each in seen.backups] == [False]
    assert seen.windows == ()
    assert seen.tip_window is None


def test_a_damaged_last_segment_leaves_the_end_unknown(repository: MemoryRepository) -> None:
    backup(repository)
    archive(repository, 2, 5)
    key = next(key for key in repository.bodies if segment(5).name in key)
    repository.bodies[key] = repository.bodies[key][:-1] + b"?"

    (window,) = look(repository).windows

    assert window.end is None
    assert window.problem


def test_without_an_identity_the_end_is_unknown(repository: MemoryRepository) -> None:
    class Keyless(PlainCodec):
        def decode(self, coded: bytes) -> bytes:
            raise KeyMissing("decode: no identity")

    backup(repository)
    archive(repository, 2, 5)

    (window,) = look(repository, codec=Keyless()).windows

    assert window.end is None
    assert "no identity" in window.problem


def test_wal_that_ends_before_the_backup_does_is_no_wal_for_it(
    repository: MemoryRepository,
) -> None:
    backup(repository)
    writer = WalWriter(segment(2), system_identifier=SYSTEM)
    writer.fill(1)
    cut = dict(writer.segments())
    cut[segment(3).name] = cut[segment(3).name][:0x800].ljust(writer.size, b"\0")
    for name, content in cut.items():
        store_wal(repository, CODEC, name, content)

    (window,) = look(repository).windows

    assert window.end is None


@pytest.mark.parametrize(
    ("proofs", "expected"),
    [
        ((), Standing.UNPROVEN),
        (((Verdict.PROVEN, 60, "primary"),), Standing.PROVEN),
        (((Verdict.PROVEN, 60, "offsite"),), Standing.UNPROVEN),
        (((Verdict.PROVEN, 60, "primary"), (Verdict.FAILED, 70, "primary")), Standing.FAILED),
        (((Verdict.FAILED, 60, "primary"), (Verdict.PROVEN, 70, "primary")), Standing.PROVEN),
        (((Verdict.PROVEN, 60, "primary"), (Verdict.NOT_PROVEN, 70, "primary")), Standing.PROVEN),
        (((Verdict.NOT_PROVEN, 60, "primary"),), Standing.UNPROVEN),
    ],
)
def test_the_newest_conclusive_proof_of_this_copy_decides(
    repository: MemoryRepository,
    proofs: tuple[tuple[Verdict, int, str], ...],
    expected: Standing,
) -> None:
    stored = backup(repository)
    archive(repository, 2, 5)

    seen = look(
        repository,
        *(proof(stored, verdict, minutes=at, copy=copy) for verdict, at, copy in proofs),
    )

    assert [each.standing for each in seen.backups] == [expected]
    assert bool(seen.proven) is (expected is Standing.PROVEN)
    assert (seen.tip_window is None) is (expected is Standing.FAILED)


def test_a_proof_of_another_manifest_proves_nothing(repository: MemoryRepository) -> None:
    stored = backup(repository)
    archive(repository, 2, 5)

    seen = look(repository, replace(proof(stored, Verdict.PROVEN), manifest_digest="0" * 64))

    assert seen.proven == ()
    assert seen.newest_proven is None


def test_after_a_failed_newest_backup_an_older_one_still_reaches_the_tip(
    repository: MemoryRepository,
) -> None:
    first, second = backup(repository), backup(repository, day=1, start=5)
    archive(repository, 2, 8)

    seen = look(repository, proof(second, Verdict.FAILED), proof(first, Verdict.PROVEN))

    assert seen.newest_backup is not None
    assert seen.newest_backup.standing is Standing.FAILED
    assert seen.tip_window is not None
    assert seen.tip_window.backups == (first.manifest.id,)
    assert seen.newest_proven is not None
    assert seen.newest_proven.rto_seconds == 90.0


def test_a_place_without_a_marker_is_a_problem_and_not_empty() -> None:
    assert "repository.json" in look(MemoryRepository()).problem


def test_a_repository_that_is_down_is_a_problem(repository: MemoryRepository) -> None:
    repository.failures[""] = RepositoryUnavailable("list: down", hint="wait")

    seen = look(repository)

    assert (seen.problem, seen.hint) == ("list: down", "wait")


def test_an_unreadable_manifest_is_named(repository: MemoryRepository) -> None:
    stored = backup(repository)
    archive(repository, 2, 5)
    backup(repository, day=1, start=4)
    repository.bodies[layout.manifest_key(stored.manifest.backup_id)] = b"{}"

    seen = look(repository)

    assert len(seen.unreadable) == 1
    assert [each.id for each in seen.backups] == ["kb-full-20261121-020000"]


def test_the_answer_can_be_written_as_json(repository: MemoryRepository) -> None:
    stored = backup(repository)
    archive(repository, 2, 5)

    plain = records.as_builtins(look(repository, proof(stored, Verdict.PROVEN)))

    assert plain["windows"][0]["end"]["lsn"] == str(segment(5).end)
