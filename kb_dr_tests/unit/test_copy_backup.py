"""A copy exists only when all of it is there, checked at both ends; and copying never harms."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import (
    ChecksumMismatch,
    CopyIncomplete,
    KeyMissing,
    NoUsableBackup,
    ObjectConflict,
    RepositoryUnavailable,
    WalDamaged,
    WalGap,
)
from kb_dr.operations.catalog import load_catalog, read_manifest
from kb_dr.operations.copy_backup import BackupCopy, copy_backup
from kb_dr.operations.copy_wal import WalCopy, copy_wal, recent_wal
from kb_dr.operations.validate_backup import validate_backup
from kb_dr_tests.fakes import MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.stored_backups import (
    STARTED,
    SYSTEM,
    segment,
    segment_content,
    store_backup,
    store_objects,
    store_segments,
    store_wal,
)

CODEC = PlainCodec()


class Keyless(PlainCodec):
    """A codec on a host that holds no identity."""

    def decode(self, coded: bytes) -> bytes:
        raise KeyMissing("decode: no identity")


class Counting(MemoryRepository):
    """Remembers what was read."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.got: list[str] = []

    def get(self, stored: StoredObject) -> bytes:
        self.got.append(stored.key)
        return super().get(stored)


def pair() -> tuple[MemoryRepository, MemoryRepository]:
    return MemoryRepository("primary"), MemoryRepository("offsite")


def copy(
    primary: MemoryRepository, offsite: MemoryRepository, backup: StoredManifest
) -> BackupCopy:
    return copy_backup(primary, offsite, CODEC, backup.manifest.backup_id, RecordingProgress())


def follow(primary: MemoryRepository, offsite: MemoryRepository, since: str = "") -> WalCopy:
    return copy_wal(primary, offsite, CODEC, SYSTEM, RecordingProgress(), since=since)


def test_a_copy_holds_the_same_bytes_and_the_same_digest() -> None:
    primary, offsite = pair()
    backup = store_backup(primary, CODEC)

    done = copy(primary, offsite, backup)

    assert offsite.bodies == primary.bodies
    assert read_manifest(offsite, backup.manifest.backup_id).digest == backup.digest == done.digest
    assert (done.copied_objects, done.wal_files, done.wal_unchecked) == (4, 2, 0)
    assert done.copied_bytes == sum(each.size_bytes for each in backup.manifest.objects)


def test_a_copy_of_a_copy_is_the_same_backup() -> None:
    primary, offsite = pair()
    third = MemoryRepository("third")
    backup = store_backup(primary, CODEC)
    copy(primary, offsite, backup)

    done = copy(offsite, third, backup)

    assert done.digest == backup.digest
    assert third.bodies == primary.bodies


@pytest.mark.parametrize("cut", range(7))
def test_a_copy_cut_off_anywhere_is_no_backup_and_the_next_one_finishes_it(cut: int) -> None:
    primary = MemoryRepository("primary")
    backup = store_backup(primary, CODEC)

    class Dying(MemoryRepository):
        puts = 0

        def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
            if self.puts == cut:
                raise RepositoryUnavailable("put: the region is down")
            self.puts += 1
            return super().put(key, body)

    offsite = Dying("offsite")
    with pytest.raises(RepositoryUnavailable):
        copy_backup(
            primary, offsite, CODEC, backup.manifest.backup_id, RecordingProgress(), parallel=1
        )
    assert load_catalog(offsite) == ()
    assert len(offsite.bodies) == cut

    offsite.puts = -100
    done = copy(primary, offsite, backup)

    assert offsite.bodies == primary.bodies
    assert done.copied_objects == max(4 - cut, 0)


def test_the_manifest_is_the_last_thing_written() -> None:
    written: list[str] = []

    class Watched(MemoryRepository):
        def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
            written.append(key)
            return super().put(key, body)

    primary, offsite = MemoryRepository("primary"), Watched("offsite")
    backup = store_backup(primary, CODEC)
    store_segments(primary, CODEC, 4, 6)

    copy(primary, offsite, backup)

    assert written[-1] == layout.manifest_key(backup.manifest.backup_id)
    assert len(written) == len(set(written)) == len(primary.bodies)


def test_a_damaged_chunk_is_never_passed_on() -> None:
    primary, offsite = pair()
    backup = store_backup(primary, CODEC)
    bad = backup.manifest.chunks[1].key
    primary.bodies[bad] = b"?" + primary.bodies[bad][1:]

    with pytest.raises(ChecksumMismatch, match="primary"):
        copy(primary, offsite, backup)

    assert bad not in offsite.bodies
    assert load_catalog(offsite) == ()


def test_what_stands_offsite_is_read_before_it_is_believed() -> None:
    primary, offsite = pair()
    backup = store_backup(primary, CODEC)
    bad = backup.manifest.chunks[1].key
    offsite.bodies[bad] = b"?" + primary.bodies[bad][1:]

    with pytest.raises(ChecksumMismatch, match="offsite"):
        copy(primary, offsite, backup)

    assert load_catalog(offsite) == ()


def test_a_store_that_keeps_other_bytes_than_it_was_sent_is_found_out() -> None:
    class Lying(MemoryRepository):
        def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
            return super().put(key, body[:-1] if "base.tar" in key else body)

    primary, offsite = MemoryRepository("primary"), Lying("offsite")
    backup = store_backup(primary, CODEC)

    with pytest.raises(ChecksumMismatch):
        copy(primary, offsite, backup)

    assert load_catalog(offsite) == ()


def test_chunks_that_are_there_are_not_read_from_the_primary_again() -> None:
    primary, offsite = Counting("primary"), MemoryRepository("offsite")
    backup = store_backup(primary, CODEC)
    first = backup.manifest.chunks[0].key
    offsite.bodies[first] = primary.bodies[first]

    copy(primary, offsite, backup)

    assert first not in primary.got
    assert len(primary.got) == 3


def test_a_finished_copy_gets_back_only_what_it_lost() -> None:
    primary, offsite = Counting("primary"), MemoryRepository("offsite")
    backup = store_backup(primary, CODEC)
    copy(primary, offsite, backup)
    lost = backup.manifest.chunks[2].key
    offsite.delete(lost)
    primary.got.clear()

    done = copy(primary, offsite, backup)

    assert (done.already_complete, primary.got) == (True, [lost])
    assert offsite.bodies == primary.bodies


def test_another_backup_of_the_same_id_offsite_is_a_conflict() -> None:
    primary, offsite = pair()
    backup = store_backup(primary, CODEC)
    store_backup(offsite, CODEC, chunks=2)

    with pytest.raises(ObjectConflict):
        copy(primary, offsite, backup)


def test_a_backup_without_its_wal_is_not_copied() -> None:
    primary, offsite = pair()
    backup = store_backup(primary, CODEC, start=2, stop=5)
    primary.delete(next(key for key in primary.bodies if segment(4).name in key))

    with pytest.raises(WalGap, match=segment(4).name):
        copy(primary, offsite, backup)

    assert load_catalog(offsite) == ()


def test_a_needed_segment_with_two_digests_is_not_copied() -> None:
    primary, offsite = pair()
    backup = store_backup(primary, CODEC)
    store_wal(primary, CODEC, segment(3).name, segment_content(segment(3))[:-1] + b"?")

    with pytest.raises(WalDamaged, match="two digests"):
        copy(primary, offsite, backup)


def test_an_unknown_backup_is_not_copied() -> None:
    primary, offsite = pair()
    manifest = store_objects(primary)

    with pytest.raises(NoUsableBackup):
        copy_backup(primary, offsite, CODEC, manifest.backup_id, RecordingProgress())


def test_a_host_without_identities_copies_and_says_what_it_could_not_check() -> None:
    primary, offsite = pair()
    backup = store_backup(primary, CODEC)

    done = copy_backup(primary, offsite, Keyless(), backup.manifest.backup_id, RecordingProgress())

    assert done.wal_unchecked == done.wal_files == 2
    assert offsite.bodies == primary.bodies


def test_wal_follows_and_nothing_is_brought_twice() -> None:
    primary, offsite = pair()
    store_segments(primary, CODEC, 1, 5)
    assert follow(primary, offsite).copied == 5
    store_segments(primary, CODEC, 6, 7)

    done = follow(primary, offsite)

    assert (done.copied, done.already, done.newest) == (2, 5, segment(7).name)
    assert offsite.bodies == primary.bodies


def test_a_segment_that_arrived_late_is_brought_by_the_whole_comparison() -> None:
    primary, offsite = pair()
    keys = store_segments(primary, CODEC, 1, 5)
    late = primary.bodies.pop(keys[2])
    follow(primary, offsite)
    primary.bodies[keys[2]] = late

    follow(primary, offsite)

    assert offsite.bodies == primary.bodies


def test_bad_wal_is_named_and_holds_up_nothing_else() -> None:
    primary, offsite = pair()
    keys = store_segments(primary, CODEC, 1, 6)
    primary.bodies[keys[1]] = b""
    primary.bodies[keys[2]] = primary.bodies[keys[2]][:-1] + b"?"
    other = layout.wal_key(SYSTEM, segment(4).name, "f" * 64)
    primary.bodies[other] = CODEC.encode(segment_content(segment(4)))
    foreign = store_wal(primary, CODEC, segment(7).name, segment_content(segment(7), system=5))
    cut = store_wal(primary, CODEC, segment(8).name, segment_content(segment(8))[:-8192])

    with pytest.raises(CopyIncomplete) as caught:
        follow(primary, offsite)

    assert set(offsite.bodies) == {keys[0], keys[3], keys[4], keys[5]}
    assert "4 copied, 5 could not be" in str(caught.value)
    for bad in (keys[1], keys[2], other, segment(7).name, segment(8).name):
        assert bad in str(caught.value)
    assert foreign not in offsite.bodies
    assert cut not in offsite.bodies


def test_wal_of_another_size_offsite_is_named_and_left_alone() -> None:
    primary, offsite = pair()
    keys = store_segments(primary, CODEC, 1, 3)
    offsite.bodies[keys[1]] = b"short"

    with pytest.raises(CopyIncomplete, match=segment(2).name):
        follow(primary, offsite)

    assert offsite.bodies[keys[1]] == b"short"
    assert {keys[0], keys[2]} < set(offsite.bodies)


def test_what_the_primary_lost_stays_offsite() -> None:
    primary, offsite = pair()
    keys = store_segments(primary, CODEC, 1, 5)
    follow(primary, offsite)
    for key in keys[:4]:
        primary.delete(key)

    follow(primary, offsite)

    assert set(offsite.bodies) == set(keys)


@pytest.mark.parametrize("down", ["primary", "offsite"])
def test_a_repository_that_is_down_ends_the_copy_at_once(down: str) -> None:
    primary, offsite = pair()
    store_segments(primary, CODEC, 1, 3)
    {"primary": primary, "offsite": offsite}[down].failures[""] = RepositoryUnavailable("down")

    with pytest.raises(RepositoryUnavailable):
        follow(primary, offsite)


def test_wal_between_two_backups_is_brought_before_the_second_ones_manifest() -> None:
    primary, offsite = pair()
    copy(primary, offsite, store_backup(primary, CODEC, start=2, stop=3))
    store_segments(primary, CODEC, 4, 9)
    second = store_backup(primary, CODEC, started=STARTED + timedelta(days=1), start=10, stop=11)

    copy(primary, offsite, second)

    assert offsite.bodies == primary.bodies
    since = recent_wal(offsite, SYSTEM)
    store_segments(primary, CODEC, 12, 13)
    assert follow(primary, offsite, since).already == 2
    assert offsite.bodies == primary.bodies


def test_bad_wal_nobody_needs_does_not_hold_up_a_backup_and_is_named() -> None:
    primary, offsite = pair()
    backup = store_backup(primary, CODEC)
    bad = store_segments(primary, CODEC, 4, 4)[0]
    primary.bodies[bad] = b"damaged"

    done = copy(primary, offsite, backup)

    assert len(done.wal_problems) == 1
    assert segment(4).name in done.wal_problems[0]
    assert bad not in offsite.bodies


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_backup_is_sound(deep: bool) -> None:
    repository = MemoryRepository()
    backup = store_backup(repository, CODEC)

    seen = validate_backup(
        repository, CODEC, backup.manifest.backup_id, RecordingProgress(), deep=deep
    )

    assert seen.sound
    assert seen.digest == backup.digest


@pytest.mark.parametrize(
    ("which", "change", "needs_reading"),
    [
        ("base.tar.zst.age.00001", None, False),
        ("base.tar.zst.age.00001", b"short", False),
        ("base.tar.zst.age.00001", "flip", True),
        ("backup_manifest.zst", None, False),
        ("0000000100000000000000", None, False),
        ("0000000100000000000000", b"", False),
        ("0000000100000000000000", "flip", True),
    ],
)
def test_a_backup_that_lost_something_is_not_sound(
    which: str, change: bytes | str | None, needs_reading: bool
) -> None:
    repository = MemoryRepository()
    backup = store_backup(repository, CODEC)
    key = next(key for key in repository.bodies if which in key)
    if change is None:
        repository.delete(key)
    elif isinstance(change, bytes):
        repository.bodies[key] = change
    else:
        repository.bodies[key] = repository.bodies[key][:-1] + b"?"

    def sound(*, deep: bool) -> bool:
        name = backup.manifest.backup_id
        return validate_backup(repository, CODEC, name, RecordingProgress(), deep=deep).sound

    assert not sound(deep=True)
    assert sound(deep=False) is needs_reading


def test_wal_that_no_identity_opens_is_not_called_sound() -> None:
    repository = MemoryRepository()
    backup = store_backup(repository, CODEC)

    seen = validate_backup(
        repository, Keyless(), backup.manifest.backup_id, RecordingProgress(), deep=True
    )

    assert not seen.sound


class Purging(MemoryRepository):
    """Retention beside a copy: what no manifest speaks for goes right before one does."""

    def __init__(self, going: str, times: int) -> None:
        super().__init__("offsite")
        self._going = going
        self._times = times

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        if key.endswith("manifest.json"):
            self._purge()
        return super().put(key, body)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        if any(each.endswith("manifest.json") for each in self.bodies) and self._times > 1:
            self._purge()
        return super().list(prefix, start_after=start_after)

    def _purge(self) -> None:
        for key in [each for each in self.bodies if self._going in each]:
            self.delete(key)


@pytest.mark.parametrize("going", [segment(2).name, "base.tar.zst.age.00001"])
def test_what_goes_beside_a_copy_is_brought_again(going: str) -> None:
    primary, offsite = MemoryRepository("primary"), Purging(going, times=1)
    stored = store_backup(primary, CODEC)

    copied = copy_backup(primary, offsite, CODEC, stored.manifest.backup_id, RecordingProgress())

    assert not copied.already_complete
    assert validate_backup(offsite, CODEC, stored.manifest.backup_id, RecordingProgress()).sound
    assert set(primary.bodies) == set(offsite.bodies)


def test_a_copy_of_which_something_goes_again_and_again_is_no_success() -> None:
    primary, offsite = MemoryRepository("primary"), Purging(segment(2).name, times=2)
    stored = store_backup(primary, CODEC)

    with pytest.raises(CopyIncomplete, match="went from offsite while it was copied"):
        copy_backup(primary, offsite, CODEC, stored.manifest.backup_id, RecordingProgress())
