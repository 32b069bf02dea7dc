"""One sandbox with its pages and all who are told, for the tests of a module."""

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Page

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.domain.backup_id import BackupId
from kb_dr.sandbox.bring_up import state_of
from kb_dr.sandbox.clusters import query
from kb_dr.sandbox.dagster_questions import (
    back_up_now,
    launch,
    launch_and_wait,
    wait_for_run,
    wait_for_run_of,
)
from kb_dr.sandbox.story import archive
from kb_dr_tests.end_to_end.pages import Pages, ProvenBackup, browser
from kb_dr_tests.end_to_end.told import Told
from kb_dr_tests.object_stores import MotoStore
from kb_dr_tests.sinks import SnsSink
from kb_dr_tests.sinks.ping_sink import PingSink
from kb_dr_tests.spread_directories import spread


@pytest.fixture(scope="module")
def sns(moto_store: MotoStore) -> Iterator[SnsSink]:
    with SnsSink(moto_store) as sink:
        yield sink


@pytest.fixture(scope="module")
def switch() -> Iterator[PingSink]:
    """A dead man's switch that is told of the watch."""
    with PingSink() as sink:
        yield sink


@pytest.fixture(scope="module")
def pages(sns: SnsSink, switch: PingSink) -> Iterator[Pages]:
    """Every channel leads somewhere: SNS and the switch here, the others to the sandbox's sinks."""
    settings = {
        "KB_DR_SNS_TOPIC_ARN": sns.topic_arn,
        "KB_DR_SNS_ENDPOINT_URL": sns.url,
        "KB_DR_PING_WATCH_URL": switch.url("watch"),
        # Whatever the hour: one more backup would be as young, and nothing red.
        "KB_BACKUP_SCHEDULE": f"0 {(datetime.now(UTC).hour + 12) % 24} * * *",
    }
    # The path of a socket may be 107 bytes long; pytest's directories are longer than that.
    directory = Path(tempfile.mkdtemp(prefix="kbdr-ui-", dir="/tmp"))
    spread(directory)
    try:
        with Pages(directory / "sandbox", settings, sns.environment) as made:
            yield made
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as started:
        yield started.new_page(viewport={"width": 1500, "height": 1000})


@pytest.fixture(scope="module")
def told(pages: Pages, sns: SnsSink) -> Told:
    return Told(pages, sns)


@pytest.fixture(scope="module")
def backup(pages: Pages) -> ProvenBackup:
    """Asked for on the page, copied offsite by the sensor, proven from there."""
    backup_id, taken = back_up_now(pages.url)
    assert taken["status"] == "SUCCESS"
    copied = wait_for_run_of(pages.url, "offsite_copy_job", backup_id)
    assert copied["status"] == "SUCCESS"
    proven = launch_and_wait(pages.url, "verify_job", partition=backup_id)
    assert proven["status"] == "SUCCESS"
    stored = pages.installation.find_backup(BackupId.parse(backup_id))
    return ProvenBackup(backup_id, stored.digest)


@pytest.fixture(scope="module")
def place(pages: Pages) -> Path:
    """Where restores go to."""
    made = pages.directory / "restored"
    made.mkdir()
    return made


@pytest.fixture(scope="module")
def point(pages: Pages, backup: ProvenBackup) -> ProvenBackup:
    """A recovery point on top of the backup, proven from region B, and retention looked at it."""
    taken = pages.installation.back_up_incremental(None, SilentProgress())
    state = state_of(pages.directory)
    query(state, "production", "create table later as select now()")
    archive(state)
    pages.installation.copy_wal(SilentProgress(), "offsite")
    assert taken.manifest.parent == backup.id
    point = ProvenBackup(taken.manifest.id, taken.digest)
    assert wait_for_run_of(pages.url, "offsite_copy_job", point.id)["status"] == "SUCCESS"
    runs = [
        launch(pages.url, "verify_job", partition=point.id),
        launch(pages.url, "retention_job"),
    ]
    for run in runs:
        assert wait_for_run(pages.url, run, timeout_seconds=600)["status"] == "SUCCESS"
    return point
