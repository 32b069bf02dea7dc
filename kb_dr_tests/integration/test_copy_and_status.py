"""A real backup, copied between real stores: the same at both ends, whatever breaks on the way."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import pyrage
import pytest

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.adapters.s3_repository import S3Repository
from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.status import CopyStatus
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import ChecksumMismatch, RepositoryUnavailable
from kb_dr.operations.base_backup import BackupTools, take_base_backup
from kb_dr.operations.catalog import load_catalog, read_manifest, readable
from kb_dr.operations.copy_backup import copy_backup
from kb_dr.operations.copy_wal import copy_wal, recent_wal
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.repair_copy import repair_backup
from kb_dr.operations.survey import survey
from kb_dr.operations.validate_backup import validate_backup
from kb_dr.ports import Repository
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.object_stores import RcloneStore
from kb_dr_tests.postgres_servers import RunningCluster, source_settings
from kb_dr_tests.push_wal import archive_command

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())
CODEC = AgeCodec([RECIPIENT], [str(IDENTITY)])


@dataclass(frozen=True)
class BackedUp:
    """A running cluster with one backup, and its WAL, in a directory."""

    cluster: RunningCluster
    primary: DirectoryRepository
    root: Path
    backup: StoredManifest

    def copy_to(self, offsite: Repository, *, parallel: int = 2) -> str:
        done = copy_backup(
            self.primary,
            offsite,
            CODEC,
            self.backup.manifest.backup_id,
            SilentProgress(),
            parallel=parallel,
        )
        assert done.wal_unchecked == 0
        assert done.wal_problems == ()
        return done.digest

    def commit(self) -> tuple[datetime, datetime]:
        """Commit and archive it; the server's clock just before and after."""
        before = self.cluster.value("select clock_timestamp()")
        self.cluster.archive_everything()
        after = self.cluster.value("select clock_timestamp()")
        return before, after

    def look(self, repository: Repository) -> CopyStatus:
        return survey(repository, CODEC, {}, service="kb", org="default", void_through=None)


@pytest.fixture(scope="module")
def backed_up(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackedUp]:
    root = tmp_path_factory.mktemp("primary") / "repository"
    primary = DirectoryRepository(root, "primary")
    primary.create()
    init_repository(primary, SystemClock(), service="kb", org="default")
    with RunningCluster(
        postgres_programs,
        tmp_path_factory.mktemp("source"),
        archive_command=archive_command(root, RECIPIENT),
    ) as cluster:
        cluster.query("create table kept (n int primary key)")
        cluster.query("insert into kept select generate_series(1, 5000)")
        settings = source_settings(cluster)
        backup = take_base_backup(
            primary,
            CODEC,
            PostgresSource(settings),
            PgBaseBackup(postgres_programs, settings),
            SystemClock(),
            SilentProgress(),
            BackupTools("kb", "default", "test-host", chunk_bytes=512 * 1024),
        )
        yield BackedUp(cluster, primary, root, backup)


def made(repository: Repository) -> Repository:
    init_repository(repository, SystemClock(), service="kb", org="default")
    return repository


@pytest.fixture
def offsite(rclone_store: RcloneStore) -> Repository:
    return made(S3Repository(rclone_store.location(S3Place.bucket, uuid4().hex), "offsite"))


def test_the_copy_in_the_other_region_is_whole_and_the_same_backup(
    backed_up: BackedUp, offsite: Repository
) -> None:
    digest = backed_up.copy_to(offsite)

    name = backed_up.backup.manifest.backup_id
    assert digest == backed_up.backup.digest == read_manifest(offsite, name).digest
    seen = validate_backup(offsite, CODEC, name, SilentProgress(), deep=True)
    assert seen.sound, seen.findings


def test_a_copy_of_the_copy_is_whole_as_well(
    backed_up: BackedUp, offsite: Repository, tmp_path: Path
) -> None:
    backed_up.copy_to(offsite)
    third = DirectoryRepository(tmp_path / "third", "third")
    third.create()
    made(third)
    name = backed_up.backup.manifest.backup_id

    done = copy_backup(offsite, third, CODEC, name, SilentProgress())

    assert done.digest == backed_up.backup.digest
    assert validate_backup(third, CODEC, name, SilentProgress(), deep=True).sound


def test_a_region_down_in_the_middle_leaves_no_backup_and_the_next_copy_finishes(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    with RcloneStore(tmp_path) as store:
        store.make_bucket("offsite")
        location = store.location("offsite", timeout_seconds=5.0, deadline_seconds=5.0)

        class GoesDown(S3Repository):
            puts = 0

            def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
                if self.puts == 3:
                    store.stop()
                self.puts += 1
                return super().put(key, body)

        with pytest.raises(RepositoryUnavailable):
            backed_up.copy_to(GoesDown(location, "offsite"), parallel=1)

        store.start()
        offsite = made_later(S3Repository(store.location("offsite"), "offsite"))
        assert load_catalog(offsite) == ()
        assert backed_up.copy_to(offsite) == backed_up.backup.digest
        assert len(readable(load_catalog(offsite))) == 1


def made_later(repository: Repository) -> Repository:
    """The copy went into a place without a marker, which init refuses now: it is not empty."""
    assert next(iter(repository.list("full/")), None) is not None
    return repository


def test_a_flipped_byte_at_the_primary_is_not_copied(
    backed_up: BackedUp, offsite: Repository
) -> None:
    chunk = backed_up.backup.manifest.chunks[1]
    with flipped(backed_up.root / chunk.key), pytest.raises(ChecksumMismatch):
        backed_up.copy_to(offsite)

    assert load_catalog(offsite) == ()
    assert offsite.find(chunk.key) is None


@pytest.fixture
def local(tmp_path: Path) -> DirectoryRepository:
    repository = DirectoryRepository(tmp_path / "local", "local")
    repository.create()
    made(repository)
    return repository


def test_a_local_copy_is_whole_though_the_primary_is_damaged(
    backed_up: BackedUp, offsite: Repository, local: DirectoryRepository
) -> None:
    backed_up.copy_to(offsite)
    name = backed_up.backup.manifest.backup_id
    with flipped(backed_up.root / backed_up.backup.manifest.chunks[1].key):
        done = copy_backup(
            backed_up.primary, local, CODEC, name, SilentProgress(), others=[offsite]
        )

    assert (done.source, done.digest) == ("primary", backed_up.backup.digest)
    assert validate_backup(local, CODEC, name, SilentProgress(), deep=True).sound


def test_damage_in_a_bucket_and_in_a_directory_is_mended_from_the_other(
    backed_up: BackedUp, offsite: Repository, local: DirectoryRepository
) -> None:
    backed_up.copy_to(offsite)
    backed_up.copy_to(local)
    manifest = backed_up.backup.manifest
    first, second = manifest.chunks[0], manifest.chunks[1]
    wal = find_needed_wal(offsite, manifest).objects[0].key
    for key in (first.key, wal, layout.manifest_key(manifest.backup_id)):
        offsite.delete(key)
        if key != first.key:
            offsite.put(key, b"damaged")
    flip(Path(local.url) / second.key)

    for target, sources in ((offsite, [local]), (local, [offsite])):
        done = repair_backup(sources, target, CODEC, manifest.backup_id, SilentProgress())

        assert done.left == ()
        assert len(done.mended) == (3 if target is offsite else 1)
        seen = validate_backup(target, CODEC, manifest.backup_id, SilentProgress(), deep=True)
        assert (seen.sound, seen.digest) == (True, backed_up.backup.digest)


def flip(path: Path) -> bytes:
    """Change one byte of a file; return what it held."""
    good = path.read_bytes()
    path.write_bytes(good[:1000] + bytes([good[1000] ^ 1]) + good[1001:])
    return good


@contextmanager
def flipped(path: Path) -> Iterator[None]:
    """One byte of a file is wrong for a while."""
    good = flip(path)
    try:
        yield
    finally:
        path.write_bytes(good)


def test_the_window_follows_commits_once_they_are_in_that_copy(
    backed_up: BackedUp, offsite: Repository
) -> None:
    backed_up.copy_to(offsite)
    before, after = backed_up.commit()

    ahead, behind = backed_up.look(backed_up.primary).tip_window, backed_up.look(offsite).tip_window
    system = backed_up.backup.manifest.source.system_identifier
    copy_wal(
        backed_up.primary,
        offsite,
        CODEC,
        system,
        SilentProgress(),
        since=recent_wal(offsite, system),
    )
    caught_up = backed_up.look(offsite).tip_window

    assert ahead is not None
    assert ahead.end is not None
    assert behind is not None
    assert behind.end is not None
    assert caught_up is not None
    assert caught_up.end is not None
    assert before <= ahead.end.at <= after
    assert behind.end.at < before
    assert before <= caught_up.end.at
    assert caught_up.begins_at == backed_up.backup.manifest.finished


def test_the_source_says_what_it_is_and_how_far_its_wal_reaches(backed_up: BackedUp) -> None:
    backed_up.commit()

    seen = PostgresSource(source_settings(backed_up.cluster)).facts()

    manifest = backed_up.backup.manifest
    assert isinstance(seen, SourceFacts)
    assert seen.system_identifier == manifest.source.system_identifier
    assert seen.segment_bytes == manifest.source.segment_bytes
    assert (seen.major, seen.is_standby, seen.may_replicate) == (16, False, True)
    assert seen.timeline == 1
    assert seen.waiting_segments is not None
    window = backed_up.look(backed_up.primary).tip_window
    assert window is not None
    assert window.end is not None
    assert window.end.lsn > manifest.wal.stop
    assert seen.written_lsn > manifest.wal.stop
