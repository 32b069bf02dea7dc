"""Buckets of their own on Ceph: with versions, and with Object Lock."""

from uuid import uuid4

import pytest

from kb_dr.adapters.s3_bucket import S3Bucket
from kb_dr_tests.ceph import CephStore
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.made_bucket import make_lockable, make_versioned
from kb_dr_tests.object_stores import RunningStore


class OtherPlace(S3Place):
    """A prefix in a bucket of its own kind."""

    def __init__(self, store: RunningStore, bucket: str) -> None:
        super().__init__(store)
        self.bucket = bucket

    def controls(self) -> S3Bucket:
        return S3Bucket(self.store.location(self.bucket, self.prefix))

    def versions(self, key: str = "") -> list[tuple[str, bool]]:
        """Key and whether it is a delete marker, of every version there is."""
        found = self.client.list_object_versions(Bucket=self.bucket, Prefix=f"{self.prefix}/{key}")
        return [(each["Key"], False) for each in found.get("Versions", [])] + [
            (each["Key"], True) for each in found.get("DeleteMarkers", [])
        ]

    def hide(self, key: str) -> None:
        """A plain delete, as somebody with a file browser does it."""
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")


def name() -> str:
    return f"bucket-{uuid4().hex[:12]}"


@pytest.fixture
def versioned(ceph_store: CephStore) -> OtherPlace:
    bucket = name()
    make_versioned(ceph_store, bucket)
    return OtherPlace(ceph_store, bucket)


@pytest.fixture
def lockable(ceph_store: CephStore) -> OtherPlace:
    bucket = name()
    make_lockable(ceph_store, bucket)
    return OtherPlace(ceph_store, bucket)
