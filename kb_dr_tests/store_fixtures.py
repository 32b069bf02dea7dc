"""One server of each kind for a whole test run; every test takes a prefix of its own in it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr_tests.ceph import CephStore
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.object_stores import MotoStore, RcloneStore


@pytest.fixture(scope="session")
def rclone_store() -> Iterator[RcloneStore]:
    """Checks signatures; lacks put-if-absent. Leave it running."""
    with tempfile.TemporaryDirectory() as directory, RcloneStore(Path(directory)) as store:
        store.make_bucket(S3Place.bucket)
        yield store


@pytest.fixture(scope="session")
def moto_store() -> Iterator[MotoStore]:
    """Enforces put-if-absent; checks no signature. Small objects only."""
    with tempfile.TemporaryDirectory() as directory, MotoStore(Path(directory)) as store:
        store.make_bucket(S3Place.bucket)
        yield store


@pytest.fixture(scope="session")
def ceph_store() -> Iterator[CephStore]:
    """Enforces put-if-absent and checks signatures."""
    with CephStore() as store:
        store.make_bucket(S3Place.bucket)
        yield store
