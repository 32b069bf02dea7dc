"""Every repository keeps the contract: a directory, and three S3 servers that differ."""

from pathlib import Path

import pytest

from kb_dr_tests.ceph import CephStore
from kb_dr_tests.contracts.places import DirectoryPlace, Place, S3Place
from kb_dr_tests.contracts.repository_contract import (
    PagesContract,
    PutIfAbsentContract,
    RepositoryContract,
)
from kb_dr_tests.object_stores import MotoStore, RcloneStore


class TestDirectory(RepositoryContract, PutIfAbsentContract, PagesContract):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return DirectoryPlace(tmp_path)


class TestRclone(RepositoryContract, PagesContract):
    @pytest.fixture
    def place(self, rclone_store: RcloneStore) -> Place:
        return S3Place(rclone_store)


class TestMoto(RepositoryContract, PutIfAbsentContract):
    @pytest.fixture
    def place(self, moto_store: MotoStore) -> Place:
        return S3Place(moto_store)


class TestCeph(RepositoryContract, PutIfAbsentContract, PagesContract):
    @pytest.fixture
    def place(self, ceph_store: CephStore) -> Place:
        return S3Place(ceph_store)
