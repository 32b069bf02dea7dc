"""A real dump in another region: the very same manifest, every byte right, kept and let go of."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Verdict
from kb_dr.installation import Installation
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.proofs import store_proof
from kb_dr.operations.purge_backup import Outcome
from kb_dr.settings import load_settings
from kb_dr_tests.dumped_service import DumpedService, places
from kb_dr_tests.fakes import FakeClock
from kb_dr_tests.made_dumps import store_dump
from kb_dr_tests.made_installation import made_proof
from kb_dr_tests.object_stores import RcloneStore
from kb_dr_tests.protected_service import BUCKET

QUIET = SilentProgress()
DAY = timedelta(days=1)


@dataclass
class Region:
    """The dump in a directory, and a bucket that it is brought to."""

    installation: Installation
    clock: FakeClock
    bucket: Path
    """The bucket's own directory."""
    dump: StoredManifest

    @property
    def backup(self) -> BackupId:
        return self.dump.manifest.backup_id

    def is_stored_again(self, stored: StoredManifest, at: datetime) -> None:
        """As if the objects of a backup had come at that moment."""
        prefix = layout.backup_prefix(stored.manifest.backup_id)
        for file in (self.bucket / "org" / prefix).rglob("*"):
            os.utime(file, (at.timestamp(), at.timestamp()))

    def names(self) -> set[str]:
        """The objects of the dump in the bucket."""
        repository = self.installation.repository("offsite")
        return {each.key for each in repository.list(layout.backup_prefix(self.backup))}


@pytest.fixture(scope="module")
def region(
    dumped_service: DumpedService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Region]:
    directory = tmp_path_factory.mktemp("dump_copies")
    shutil.copytree(dumped_service.directory / "primary", directory / "primary")
    with ExitStack() as stack:
        store = stack.enter_context(RcloneStore(directory / "region"))
        store.make_bucket(BUCKET)
        settings = dumped_service.settings | places(directory)
        settings |= {
            "KB_DR_OFFSITE_URL": f"s3://{BUCKET}/org",
            "KB_DR_OFFSITE_ENDPOINT_URL": store.endpoint_url,
            "KB_DR_OFFSITE_ACCESS_KEY_ID": store.access_key_id,
            "KB_DR_OFFSITE_SECRET_ACCESS_KEY": store.secret_access_key,
        }
        for tier in ("HOURLY_HOURS", "WEEKLY_WEEKS", "MONTHLY_MONTHS", "QUARTERLY_YEARS"):
            settings[f"KB_DR_OFFSITE_RETENTION_{tier}"] = "0"
        settings["KB_DR_OFFSITE_RETENTION_DAILY_DAYS"] = "5"
        clock = FakeClock(datetime.now(UTC))
        installation = Installation(load_settings(settings), clock)
        installation.initialise("offsite")
        dump = read_manifest(
            installation.checked("primary"), BackupId.parse(dumped_service.backup_id)
        )
        yield Region(installation, clock, store.buckets / BUCKET, dump)


def test_it_is_brought_whole_and_under_one_digest(region: Region) -> None:
    installation = region.installation
    assert installation.lacking("offsite").wanted == (region.backup,)

    copied = installation.copy_backup(region.backup, "offsite", QUIET)
    again = installation.copy_backup(region.backup, "offsite", QUIET)

    key = layout.manifest_key(region.backup)
    here, there = (installation.repository(copy) for copy in ("primary", "offsite"))
    assert copied.digest == region.dump.digest
    assert here.read(key) == there.read(key)
    assert (copied.wal_files, again.already_complete, again.copied_objects) == (0, True, 0)
    found = installation.validate(region.backup, "offsite", deep=True, progress=QUIET)
    assert found.sound, found.findings
    assert found.objects == len(region.dump.manifest.objects)
    assert [each.subject for each in found.findings] == ["objects"]


def test_a_chunk_damaged_there_is_named_and_mended(region: Region) -> None:
    installation = region.installation
    installation.copy_backup(region.backup, "offsite", QUIET)
    file = region.bucket / "org" / region.dump.manifest.chunks[-1].key
    file.write_bytes(file.read_bytes()[:-1] + b"?")

    spoilt = installation.validate(region.backup, "offsite", deep=True, progress=QUIET)
    (mended,) = installation.repair(region.backup, "offsite", QUIET)

    assert [each.subject for each in spoilt.findings] == [region.dump.manifest.chunks[-1].key]
    assert not isinstance(mended, Exception)
    assert mended.left == ()
    assert installation.validate(region.backup, "offsite", deep=True, progress=QUIET).sound


def test_it_expires_comes_back_and_is_purged_in_its_time(region: Region) -> None:
    installation, clock = region.installation, region.clock
    installation.copy_backup(region.backup, "offsite", QUIET)
    offsite = installation.checked("offsite")
    whole = region.names()
    clock.pass_time(40 * DAY)
    newer = store_dump(offsite, installation.codec, started=clock.now() - DAY)
    region.is_stored_again(newer, clock.now())

    unproven = installation.plan_retention("offsite")
    assert unproven.plan.expire == ()
    assert unproven.plan.prove_next == (newer.manifest.id,)

    proof = made_proof(newer, Verdict.PROVEN, copy="offsite")
    store_proof(offsite, replace(proof, url=offsite.url))
    applied = installation.apply_retention(installation.plan_retention("offsite"), QUIET)

    assert [(each.backup_id, each.outcome) for each in applied.dealt] == [
        (str(region.backup), Outcome.EXPIRED)
    ]
    assert region.names() == whole - {layout.manifest_key(region.backup)}
    installation.undelete(region.backup, "offsite", "wanted again")
    assert region.names() == whole
    assert read_manifest(offsite, region.backup).digest == region.dump.digest
    assert installation.validate(region.backup, "offsite", deep=True, progress=QUIET).sound

    held = installation.apply_retention(installation.plan_retention("offsite"), QUIET)
    assert held.dealt == (), "undelete has put it on hold"
    installation.release(region.backup, "no longer")
    installation.apply_retention(installation.plan_retention("offsite"), QUIET)
    clock.pass_time(9 * DAY)
    region.is_stored_again(newer, clock.now())
    purged = installation.apply_retention(installation.plan_retention("offsite"), QUIET)

    assert [each.outcome for each in purged.dealt] == [Outcome.PURGED]
    assert region.names() == set()
    assert read_manifest(installation.checked("primary"), region.backup) == region.dump
