"""A damaged copy is mended from one that is right; nothing right is touched, nothing is greened."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Standing, Verdict
from kb_dr.domain.retention import WalRange
from kb_dr.domain.stored import StoredObject
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.errors import (
    ConfigurationError,
    KbDrError,
    KeyMissing,
    ObjectConflict,
    RepositoryUnavailable,
    UnreadableRecord,
)
from kb_dr.operations.purged_wal import note_purged_wal
from kb_dr.operations.repair_copy import Repair, repair_backup
from kb_dr.operations.repair_wal import repair_wal
from kb_dr.operations.validate_backup import validate_backup
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_copies import QUIET, bodies, bring, damage, let_go
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.stored_backups import (
    SYSTEM,
    segment,
    segment_content,
    store_backup,
    store_segments,
    store_wal,
)


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    """Primary, offsite and local."""
    return MadeInstallation(tmp_path, local=True)


@pytest.fixture
def stored(installation: MadeInstallation) -> StoredManifest:
    """One backup, the same in all three."""
    made = installation.has_backup()
    for copy in installation.further_copies:
        bring(installation, copy)
    return made


def mend(installation: MadeInstallation, stored: StoredManifest, copy: str) -> Repair:
    (done,) = installation.repair(stored.manifest.backup_id, copy, QUIET)
    if isinstance(done, KbDrError):
        raise done
    return done


def is_sound(installation: MadeInstallation, stored: StoredManifest, copy: str) -> bool:
    return validate_backup(
        installation.memory[copy], installation.codec, stored.manifest.backup_id, QUIET, deep=True
    ).sound


DAMAGES = [
    ("base.tar.zst.age.00001", None),
    ("base.tar.zst.age.00001", b"short"),
    ("base.tar.zst.age.00001", "flip"),
    ("backup_manifest.zst", b""),
    ("manifest.json", None),
    ("/manifest.json", b"{ no manifest"),
    ("00000001000000000000000", None),
    ("00000001000000000000000", b""),
    ("00000001000000000000000", "flip"),
]


@pytest.mark.parametrize("copy", ["primary", "offsite", "local"])
@pytest.mark.parametrize(("part", "how"), DAMAGES)
def test_what_differs_is_mended_in_whatever_copy_it_is(
    installation: MadeInstallation,
    stored: StoredManifest,
    copy: str,
    part: str,
    how: bytes | str | None,
) -> None:
    good = bodies(installation, copy)
    key = damage(installation.memory[copy], part, how)

    done = mend(installation, stored, copy)

    assert bodies(installation, copy) == good
    assert [each.split(":")[0] for each in done.mended] == [key]
    assert done.mended[0].endswith(f"taken from {'offsite' if copy == 'primary' else 'primary'}")
    assert (done.left, done.unchecked, done.digest) == ((), 0, stored.digest)
    assert mend(installation, stored, copy).mended == ()


def test_a_source_that_is_damaged_too_is_passed_over(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    good = bodies(installation, "local")
    for memory in (installation.primary, installation.local):
        damage(memory, "base.tar.zst.age.00001", "flip")
        damage(memory, "00000001000000000000000", "flip")

    done = mend(installation, stored, "local")

    assert bodies(installation, "local") == good
    assert [each.rsplit(" ", 1)[1] for each in done.mended] == ["offsite", "offsite"]
    assert not is_sound(installation, stored, "primary"), "only the copy asked for is mended"


def test_what_no_copy_has_right_is_named_and_left_as_it_is(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    for memory in installation.memory.values():
        key = damage(memory, "base.tar.zst.age.00001", "flip")
    damage(installation.local, "/manifest.json", b"damaged")
    bad = installation.local.bodies[key]

    done = mend(installation, stored, "local")

    assert done.mended == ()
    assert installation.local.bodies[key] == bad
    assert [each.split(":")[0] for each in done.left] == [
        key,
        layout.manifest_key(stored.manifest.backup_id),
    ]
    assert "not put before all it names is right" in done.left[1]


def test_the_good_bytes_are_read_before_the_bad_ones_are_deleted(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    key = damage(installation.local, "base.tar.zst.age.00001", "flip")
    bad = installation.local.bodies[key]
    for source in (installation.primary, installation.offsite):
        source.failures[key] = RepositoryUnavailable("down")

    with pytest.raises(RepositoryUnavailable):
        mend(installation, stored, "local")

    assert installation.local.bodies[key] == bad


def test_the_manifest_is_mended_after_all_it_names(stored: StoredManifest) -> None:
    written: list[str] = []

    class Watched(MemoryRepository):
        def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
            written.append(key)
            return super().put(key, body)

    source, target = MemoryRepository("primary"), Watched("offsite")
    backup = store_backup(source, PlainCodec()).manifest.backup_id

    repair_backup([source], target, PlainCodec(), backup, QUIET, parallel=1)

    assert written[-1] == layout.manifest_key(backup)
    assert target.bodies == source.bodies


def test_what_the_store_retains_is_reported_and_the_rest_is_mended(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    retained = damage(installation.local, "base.tar.zst.age.00001", "flip")
    other = damage(installation.local, "base.tar.zst.age.00002", "flip")
    bad = installation.local.bodies[retained]
    installation.local.retained[retained] = datetime(2027, 1, 1, tzinfo=UTC)

    done = mend(installation, stored, "local")

    assert [each.split(":")[0] for each in done.mended] == [other]
    (left,) = done.left
    assert retained in left
    assert "retained until 2027-01-01" in left
    assert installation.local.bodies[retained] == bad


def test_two_manifests_of_one_id_are_refused_and_nothing_is_touched(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    key = layout.manifest_key(stored.manifest.backup_id)
    body = installation.local.bodies[key]
    installation.local.bodies[key] = body.replace(b'"db1"', b'"db2"')
    damage(installation.local, "base.tar.zst.age.00001", "flip")
    before = dict(installation.local.bodies)

    with pytest.raises(ObjectConflict, match="another manifest of this id"):
        mend(installation, stored, "local")
    with pytest.raises(ObjectConflict, match="manifests differ"):
        mend(installation, stored, "offsite")
    assert installation.local.bodies == before


def test_a_manifest_of_a_newer_version_is_not_taken_for_a_damaged_one(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    key = layout.manifest_key(stored.manifest.backup_id)
    body = installation.local.bodies[key]
    newer = body.replace(b'"schema_version": 1', b'"schema_version": 2')
    installation.local.bodies[key] = newer
    assert newer != body

    with pytest.raises(UnreadableRecord, match="schema version 2"):
        mend(installation, stored, "local")
    assert installation.local.bodies[key] == newer


def test_a_red_proof_outlives_the_repair(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    damage(installation.local, "base.tar.zst.age.00001", "flip")
    installation.has_proof(stored, Verdict.FAILED, copy="local")

    mend(installation, stored, "local")

    assert is_sound(installation, stored, "local")
    assert installation.standings(stored, ["local"]) == {"local": Standing.FAILED}
    installation.has_proof(stored, Verdict.PROVEN, copy="local", minutes=20)
    assert installation.standings(stored, ["local"]) == {"local": Standing.PROVEN}


def test_a_segment_with_two_digests_is_left_to_people(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    content = segment_content(segment(3))[:-1] + b"?"
    store_wal(installation.primary, installation.codec, segment(3).name, content)
    before = dict(installation.local.bodies)

    done = mend(installation, stored, "local")

    assert done.left == (f"{segment(3).name}: it stands with two digests",)
    assert installation.local.bodies == before


def test_without_an_identity_wal_is_neither_mended_nor_called_right(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    class Keyless(PlainCodec):
        def decode(self, coded: bytes) -> bytes:
            raise KeyMissing("decode: no identity")

    installation.codec = Keyless()
    damage(installation.local, "00000001000000000000000", "flip")
    before = dict(installation.local.bodies)

    done = mend(installation, stored, "local")

    assert (done.unchecked, done.mended, done.left) == (2, (), ())
    assert installation.local.bodies == before


def test_all_of_a_copy_is_mended_but_what_retention_let_go_of(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    gone, lost = installation.has_backup(days=1), installation.has_backup(days=2)
    let_go(installation, gone, PurgeStep.EXPIRED)
    damage(installation.local, "full/20261120-020000/a1/base.tar.zst.age.00000", "flip")

    done = list(installation.repair(None, "local", QUIET))

    assert all(isinstance(each, Repair) for each in done)
    assert [each.backup_id for each in done if isinstance(each, Repair)] == [
        stored.manifest.id,
        lost.manifest.id,
    ]
    assert is_sound(installation, stored, "local")
    assert installation.has_copy("local", lost)
    assert not installation.has_copy("local", gone)
    with pytest.raises(ConfigurationError, match="retention let go"):
        list(installation.repair(gone.manifest.backup_id, "local", QUIET))


def test_wal_no_backup_needs_is_mended_as_well() -> None:
    codec = PlainCodec()
    source, target = MemoryRepository("primary"), MemoryRepository("local")
    keys = store_segments(source, codec, 1, 200)
    target.bodies = dict(source.bodies)
    for key, how in ((keys[3], b""), (keys[150], b"damaged")):
        target.bodies[key] = how
    target.bodies[keys[7]] = source.bodies[keys[7]] = b"damaged in both"
    target.delete(keys[9])

    done = repair_wal([source], target, codec, SYSTEM, QUIET)

    # What is missing may be what a repair that was cut off had taken away already.
    assert [each.split(":")[0] for each in done.mended] == [keys[3], keys[150], keys[9]]
    assert [each.split(":")[0] for each in done.left] == [keys[7]]
    assert done.looked_at == 200
    assert target.bodies == source.bodies


def test_repair_brings_no_wal_that_was_let_go_of_nor_a_second_version_of_any() -> None:
    codec = PlainCodec()
    source, target = MemoryRepository("primary"), MemoryRepository("local")
    keys = store_segments(source, codec, 1, 20)
    target.bodies = dict(source.bodies)
    for number in (3, 4, 5, 9):
        target.delete(keys[number - 1])
    gone = WalRange(SYSTEM, 1, segment(3).name, segment(4).name, 2, 2)
    note_purged_wal(target, FakeClock(), [gone], {SYSTEM: segment(1).segment_bytes})
    of_another = segment_content(segment(9))[:-1] + b"x"
    store_wal(source, codec, segment(9).name, of_another)
    store_wal(source, codec, segment(12).name, of_another)
    before = dict(target.bodies)

    done = repair_wal([source], target, codec, SYSTEM, QUIET)

    assert [each.split(":")[0] for each in done.mended] == [keys[4]]
    assert target.bodies == before | {keys[4]: source.bodies[keys[4]]}


def test_a_file_encrypted_to_other_keys_stands_beside_the_old_one(
    installation: MadeInstallation, stored: StoredManifest
) -> None:
    name, content = segment(3).name, segment_content(segment(3))
    digest = hashlib.sha256(content).hexdigest()
    key = layout.wal_key(SYSTEM, name, digest, "0123abcd")
    installation.primary.put(key, installation.codec.encode(content))

    done = mend(installation, stored, "local")

    assert done.left == ()
    assert [each.split(":")[0] for each in done.mended] == [key]
    bring(installation, "offsite")
    assert mend(installation, stored, "local").mended == ()
