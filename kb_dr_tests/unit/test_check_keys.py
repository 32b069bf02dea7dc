"""A lost key is found before the disaster."""

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta

import pyrage
import pytest

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.key_check import KeyCheck
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.errors import ConfigurationError, KeyMissing, WalGap
from kb_dr.operations.catalog import load_catalog, readable, store_manifest
from kb_dr.operations.check_keys import WAL_AT_ONCE, check_keys
from kb_dr.operations.let_go import let_go_in
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.reencrypt_backup import reencrypt_backup
from kb_dr.operations.reencrypt_wal import keys_tag
from kb_dr.operations.tombstones import store_tombstone
from kb_dr.operations.validate_backup import validate_backup
from kb_dr_tests.fakes import FakeClock, MemoryRepository, RecordingProgress
from kb_dr_tests.stored_backups import (
    STARTED,
    SYSTEM,
    encrypted_backup,
    segment,
    segment_content,
    store_segments,
)


class Key:
    """An age key of somebody's."""

    def __init__(self) -> None:
        self.identity = pyrage.x25519.Identity.generate()
        self.public = str(self.identity.to_public())
        self.secret = str(self.identity)


@dataclass
class Site:
    """One copy, and two keys: one of then, one of now."""

    copy: MemoryRepository = field(default_factory=MemoryRepository)
    old: Key = field(default_factory=Key)
    new: Key = field(default_factory=Key)

    def codec(self, to: Key, *held: Key) -> AgeCodec:
        return AgeCodec([to.public], [key.secret for key in held])

    def backed_up(self, to: Key, *, start: int = 2) -> StoredManifest:
        return encrypted_backup(
            self.copy,
            self.codec(to, to),
            started=STARTED + timedelta(days=start - 2),
            start=start,
            stop=start + 1,
        )

    def check(self, *held: Key, every_file: bool = False) -> KeyCheck:
        codec = self.codec(self.new, *held)
        check = KeyCheck(codec.identities)
        check.add_all(check_keys(self.copy, codec, every_file=every_file))
        return check


@pytest.fixture
def site() -> Site:
    return Site()


def test_what_opens_is_counted_by_the_key_that_opens_it(site: Site) -> None:
    site.backed_up(site.old)
    site.backed_up(site.new, start=4)

    found = site.check(site.old, site.new)

    assert found.passed
    # Each backup begins one stream, and needs two segments.
    assert found.opens == {site.old.public: 3, site.new.public: 3}
    assert found.alone == found.opens


def test_a_key_somebody_else_can_stand_in_for_opens_nothing_alone(site: Site) -> None:
    both = AgeCodec([site.old.public, site.new.public], [site.old.secret])
    encrypted_backup(site.copy, both)

    found = site.check(site.old, site.new)

    assert found.passed
    assert set(found.opens) == {site.old.public, site.new.public}
    assert found.alone == {}


def test_a_backup_whose_key_is_lost_is_named(site: Site) -> None:
    lost = site.backed_up(site.old)
    site.backed_up(site.new, start=4)

    found = site.check(site.new)

    assert not found.passed
    assert lost.manifest.id in {each.subject for each in found.bad}
    assert any(layout.wal_file_of(each.key) for each in found.bad)


def test_damage_is_not_taken_for_a_foreign_key(site: Site) -> None:
    stored = site.backed_up(site.new)
    key = stored.manifest.chunks[0].key
    site.copy.bodies[key] = b"x" * len(site.copy.bodies[key])

    found = site.check(site.new)

    assert [each.key for each in found.bad] == [key]
    assert "header" in found.bad[0].problem


def test_a_chunk_that_is_gone_is_no_success(site: Site) -> None:
    stored = site.backed_up(site.new)
    site.copy.delete(stored.manifest.chunks[0].key)

    assert not site.check(site.new).passed


def test_a_manifest_that_cannot_be_read_is_no_success(site: Site) -> None:
    stored = site.backed_up(site.new)
    site.copy.bodies[layout.manifest_key(stored.manifest.backup_id)] = b"{"

    assert not site.check(site.new).passed


def test_nothing_stored_is_no_success(site: Site) -> None:
    assert not site.check(site.new).passed


def test_without_an_identity_nothing_is_said(site: Site) -> None:
    site.backed_up(site.new)

    with pytest.raises(KeyMissing):
        site.check()


def test_a_key_of_one_day_long_ago_is_found_between_two_of_another(site: Site) -> None:
    old, new = site.codec(site.old, site.old), site.codec(site.new, site.new)
    store_segments(site.copy, new, 1, 20)
    store_segments(site.copy, old, 21, WAL_AT_ONCE)
    store_segments(site.copy, new, WAL_AT_ONCE + 1, WAL_AT_ONCE + 20)

    found = site.check(site.new)

    assert found.closed == WAL_AT_ONCE - 20
    assert found.objects == WAL_AT_ONCE + 20


def test_of_wal_with_one_key_only_the_ends_are_fetched(site: Site) -> None:
    store_segments(site.copy, site.codec(site.new, site.new), 1, 2 * WAL_AT_ONCE)

    found = site.check(site.new)

    assert (found.looked, found.objects) == (2, 2 * WAL_AT_ONCE)
    assert site.check(site.new, every_file=True).looked == 2 * WAL_AT_ONCE


def test_a_backup_encrypted_anew_opens_with_the_new_key_alone(site: Site) -> None:
    old = site.backed_up(site.old)
    codec = site.codec(site.new, site.old, site.new)

    done = reencrypt_backup(site.copy, codec, old.manifest.backup_id, RecordingProgress())

    new = done.stored.manifest
    assert (new.replaces, new.started) == (old.manifest.id, STARTED)
    assert new.id > old.manifest.id
    assert done.wal.anew == 2
    alone = site.codec(site.new, site.new)
    assert validate_backup(site.copy, alone, new.backup_id, RecordingProgress(), deep=True).sound
    assert not find_needed_wal(site.copy, new).doubtful
    # The old chunks stay, and only they need the old key.
    assert {each.subject for each in site.check(site.new).bad} == {old.manifest.id}
    assert new.plain_sha256 == old.manifest.plain_sha256


def test_encrypted_anew_twice_is_once(site: Site) -> None:
    old = site.backed_up(site.old)
    codec = site.codec(site.new, site.old, site.new)

    first = reencrypt_backup(site.copy, codec, old.manifest.backup_id, RecordingProgress())
    again = reencrypt_backup(site.copy, codec, old.manifest.backup_id, RecordingProgress())

    assert (again.already, again.stored.digest) == (True, first.stored.digest)
    assert again.wal.anew == 0
    assert len(readable(load_catalog(site.copy))) == 2


def test_cut_off_between_new_and_old_it_goes_on(site: Site) -> None:
    old = site.backed_up(site.old)
    codec = site.codec(site.new, site.old, site.new)
    plain = segment_content(segment(2))
    sha256 = hashlib.sha256(plain).hexdigest()
    # The new one stands beside the old one, as a killed run leaves them.
    site.copy.put(
        layout.wal_key(SYSTEM, segment(2).name, sha256, keys_tag(codec.recipients)),
        codec.encode(plain),
    )
    assert not find_needed_wal(site.copy, old.manifest).doubtful

    done = reencrypt_backup(site.copy, codec, old.manifest.backup_id, RecordingProgress())

    names = [each.key for each in site.copy.list(layout.wal_prefix(SYSTEM))]
    assert len(names) == 2
    assert all(keys_tag(codec.recipients) in name for name in names)
    assert done.wal.files == 3


def test_no_old_file_goes_when_nobody_here_could_open_the_new(site: Site) -> None:
    old = site.backed_up(site.old)
    before = dict(site.copy.bodies)

    with pytest.raises(KeyMissing, match="new recipients"):
        reencrypt_backup(
            site.copy,
            site.codec(site.new, site.old),
            old.manifest.backup_id,
            RecordingProgress(),
        )

    assert site.copy.bodies == before


def test_damage_in_the_old_is_not_encrypted_anew(site: Site) -> None:
    old = site.backed_up(site.old)
    key = old.manifest.chunks[-1].key
    site.copy.bodies[key] = site.copy.bodies[key][:-1] + b"?"

    with pytest.raises(Exception, match=r"base\.tar"):
        reencrypt_backup(
            site.copy,
            site.codec(site.new, site.old, site.new),
            old.manifest.backup_id,
            RecordingProgress(),
        )

    assert len(load_catalog(site.copy)) == 1


def test_a_hole_in_the_old_wal_is_said_before_any_of_it_is_touched(site: Site) -> None:
    old = site.backed_up(site.old)
    gone = find_needed_wal(site.copy, old.manifest).objects[0]
    site.copy.delete(gone.key)

    with pytest.raises(WalGap):
        reencrypt_backup(
            site.copy,
            site.codec(site.new, site.old, site.new),
            old.manifest.backup_id,
            RecordingProgress(),
        )


def test_what_is_encrypted_to_today_s_keys_is_left_alone(site: Site) -> None:
    stored = site.backed_up(site.new)

    with pytest.raises(ConfigurationError, match="already"):
        reencrypt_backup(
            site.copy,
            site.codec(site.new, site.new),
            stored.manifest.backup_id,
            RecordingProgress(),
        )


def test_a_new_id_is_never_one_that_somebody_has(site: Site) -> None:
    old = site.backed_up(site.old)
    taken = BackupId.parse("kb-full-20261120-020001")
    other = encrypted_backup(
        MemoryRepository(), site.codec(site.old, site.old), started=taken.started
    )
    store_manifest(site.copy, other.manifest)

    done = reencrypt_backup(
        site.copy,
        site.codec(site.new, site.old, site.new),
        old.manifest.backup_id,
        RecordingProgress(),
    )

    assert done.stored.manifest.id == "kb-full-20261120-020002"


def test_a_new_id_is_never_that_of_a_backup_a_copy_has_let_go_of(site: Site) -> None:
    """One encrypted anew that failed its proof and expired: its id would reach no copy again."""
    old = site.backed_up(site.old)
    codec = site.codec(site.new, site.old, site.new)
    failed = reencrypt_backup(site.copy, codec, old.manifest.backup_id, RecordingProgress())
    name = failed.stored.manifest.backup_id
    for step in (PurgeStep.EXPIRED, PurgeStep.PURGED):
        store_tombstone(
            MemoryRepository("offsite"), (site.copy,), FakeClock(), name, step,
            reason="its proof failed", digest=failed.stored.digest,
        )  # fmt: skip
    site.copy.delete(layout.manifest_key(name))

    again = reencrypt_backup(site.copy, codec, old.manifest.backup_id, RecordingProgress())

    assert again.stored.manifest.backup_id.started == name.started + timedelta(seconds=1)
    assert str(again.stored.manifest.id) not in let_go_in((site.copy,), "offsite")
