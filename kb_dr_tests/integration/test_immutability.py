"""What a bucket with versions or Object Lock retains, nobody loses; what is deleted is gone."""

import hashlib
import io
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from kb_dr.adapters.s3_repository import S3Repository
from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.object_lock import LockMode, ObjectLock
from kb_dr.domain.stored import NO_END
from kb_dr.errors import (
    ObjectConflict,
    ObjectMissing,
    ObjectRetained,
    RepositoryError,
    RepositoryRefused,
    RepositoryUnavailable,
)
from kb_dr.operations.catalog import load_catalog, store_manifest
from kb_dr.operations.fetch_backup import fetch_backup
from kb_dr.operations.lock_bucket import lock_bucket
from kb_dr_tests.ceph import CephStore
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.contracts.repository_contract import PagesContract, RepositoryContract
from kb_dr_tests.fakes import PlainCodec, RecordingProgress
from kb_dr_tests.faults.s3_proxy import Fault, Kind, S3Proxy
from kb_dr_tests.made_bucket import A_DAY
from kb_dr_tests.own_buckets import OtherPlace, lockable, versioned
from kb_dr_tests.stored_backups import store_objects, store_segments

FIRM_DAY = ObjectLock(LockMode.COMPLIANCE, 1)
CODEC = PlainCodec()
PLAIN = b"the tar of a base backup" * 100

__all__ = ["lockable", "versioned"]  # fixtures of these tests


class TestVersioned(RepositoryContract, PagesContract):
    """A bucket with versions is a repository like any other."""

    @pytest.fixture
    def place(self, versioned: OtherPlace) -> OtherPlace:
        return versioned


def stored_backup(repository: S3Repository) -> StoredManifest:
    """A backup whose bytes can be fetched, with its WAL."""
    coded = CODEC.encode(PLAIN)
    manifest = store_objects(repository)
    base = layout.attempt_prefix(manifest.backup_id, "a2")
    chunks = tuple(
        repository.put(f"{base}base.tar.zst.age.{number:05d}", coded[start : start + 1000])
        for number, start in enumerate(range(0, len(coded), 1000))
    )
    store_segments(repository, CODEC, 2, 3)
    return store_manifest(
        repository,
        replace(
            manifest,
            attempt="a2",
            chunks=chunks,
            plain_bytes=len(PLAIN),
            plain_sha256=hashlib.sha256(PLAIN).hexdigest(),
        ),
    )


def fetched(repository: S3Repository, stored: StoredManifest) -> bytes:
    sink = io.BytesIO()
    fetch_backup(repository, CODEC, stored.manifest, sink, progress=RecordingProgress())
    return sink.getvalue()


@pytest.mark.parametrize("lock", [A_DAY, FIRM_DAY], ids=str)
def test_a_locked_backup_is_retained_stays_listed_and_comes_back(
    lockable: OtherPlace, lock: ObjectLock
) -> None:
    assert lock_bucket(lockable.controls(), lock, name="primary") == lock
    repository = lockable.repository()
    before = datetime.now(UTC)
    stored = stored_backup(repository)
    keys = [listed.key for listed in repository.list("")]

    until = repository.retained_until(layout.backup_prefix(stored.manifest.backup_id))
    for key in keys:
        with pytest.raises(ObjectRetained, match="retained until") as raised:
            repository.delete(key)
        assert raised.value.exit_code == 50

    assert until is not None
    assert timedelta(hours=23) < until - before < timedelta(hours=25)
    other = lockable.repository()
    assert [listed.key for listed in other.list("")] == keys
    assert load_catalog(other) == (stored,)
    assert fetched(other, stored) == PLAIN
    assert len(lockable.versions()) == len(keys), "no marker, no second version"


def test_governance_is_never_bypassed_though_it_could_be(lockable: OtherPlace) -> None:
    lock_bucket(lockable.controls(), A_DAY, name="primary")
    repository = lockable.repository()
    repository.put("full/1/chunk", b"x")
    (version,) = lockable.client.list_object_versions(Bucket=lockable.bucket)["Versions"]

    with pytest.raises(ObjectRetained):
        repository.delete("full/1/chunk")

    assert repository.read("full/1/chunk") == b"x"
    lockable.client.delete_object(
        Bucket=lockable.bucket,
        Key=version["Key"],
        VersionId=version["VersionId"],
        BypassGovernanceRetention=True,
    )
    assert repository.find("full/1/chunk") is None, "these credentials could have"


def test_compliance_is_bypassed_by_nobody(lockable: OtherPlace) -> None:
    lock_bucket(lockable.controls(), FIRM_DAY, name="primary")
    repository = lockable.repository()
    repository.put("full/1/chunk", b"x")
    (version,) = lockable.client.list_object_versions(Bucket=lockable.bucket)["Versions"]

    with pytest.raises(ClientError, match="AccessDenied"):
        lockable.client.delete_object(
            Bucket=lockable.bucket,
            Key=version["Key"],
            VersionId=version["VersionId"],
            BypassGovernanceRetention=True,
        )
    with pytest.raises(ObjectRetained):
        repository.delete("full/1/chunk")


def test_a_few_calls_tell_that_something_is_retained(
    lockable: OtherPlace, ceph_store: CephStore
) -> None:
    for number in range(30):
        lockable.repository().put(f"full/1/{number:02d}", b"before there was a lock")
    lock_bucket(lockable.controls(), A_DAY, name="primary")
    plain = OtherPlace(ceph_store, S3Place.bucket)
    with S3Proxy(ceph_store.port) as proxy:
        repository = lockable.repository(endpoint_url=proxy.endpoint_url)

        assert repository.retained_until("full/1/") is None
        asked_each = [method for method, _ in proxy.requests].count("HEAD")
        lockable.repository().put("full/1/manifest.json", b"x")
        proxy.requests.clear()
        assert repository.retained_until("full/1/") is not None
        asked_newest = list(proxy.requests)
        proxy.requests.clear()
        assert plain.repository(endpoint_url=proxy.endpoint_url).retained_until("") is None
        without_versions = list(proxy.requests)

    assert asked_each == 30
    assert [method for method, _ in asked_newest] == ["GET", "HEAD"]
    assert without_versions == [("GET", f"/{plain.bucket}?versioning")]


def test_what_was_retained_can_go_when_its_time_is_over(lockable: OtherPlace) -> None:
    repository = lockable.repository()
    repository.put("full/1/chunk", b"x")
    lockable.client.put_object_retention(
        Bucket=lockable.bucket,
        Key=f"{lockable.prefix}/full/1/chunk",
        Retention={
            "Mode": "COMPLIANCE", "RetainUntilDate": datetime.now(UTC) + timedelta(seconds=3)
        },
    )  # fmt: skip
    assert repository.retained_until("full/1/") is not None
    with pytest.raises(ObjectRetained):
        repository.delete("full/1/chunk")

    deadline = time.monotonic() + 60
    while repository.retained_until("full/1/") is not None:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    repository.delete("full/1/chunk")

    assert lockable.versions() == []


def test_a_legal_hold_has_no_end(lockable: OtherPlace) -> None:
    repository = lockable.repository()
    for key in ("full/1/a", "full/1/b", "full/1/c"):
        repository.put(key, b"x")
    lockable.client.put_object_legal_hold(
        Bucket=lockable.bucket, Key=f"{lockable.prefix}/full/1/a", LegalHold={"Status": "ON"}
    )

    assert repository.retained_until("full/1/") == NO_END
    with pytest.raises(ObjectRetained, match="under legal hold"):
        repository.delete("full/1/a")
    repository.delete("full/1/b")
    assert repository.retained_until("full/1/c") is None


def test_a_deleted_object_leaves_no_version(versioned: OtherPlace) -> None:
    for body in (b"one", b"two", b"three"):
        versioned.replace("full/1/chunk", body)
    versioned.hide("full/1/chunk")
    versioned.replace("full/1/chunk", b"four")
    versioned.replace("full/1/chunk2", b"another key")
    repository = versioned.repository()

    repository.delete("full/1/chunk")
    repository.delete("full/1/chunk")

    assert repository.find("full/1/chunk") is None
    assert versioned.versions() == [(f"{versioned.prefix}/full/1/chunk2", False)]
    assert repository.retained_until("") is None


def test_what_is_hidden_is_deleted_for_good(versioned: OtherPlace) -> None:
    repository = versioned.repository()
    repository.put("full/1/chunk", b"x")
    versioned.hide("full/1/chunk")

    repository.delete("full/1/chunk")

    assert versioned.versions() == []


@pytest.mark.parametrize("gone", range(5))
def test_a_deletion_cut_off_brings_no_older_bytes_to_light(
    versioned: OtherPlace, ceph_store: CephStore, gone: int
) -> None:
    for body in (b"old", b"older", b"newest"):
        versioned.replace("record", body)
    versioned.hide("record")
    versioned.replace("record", b"newest")
    with S3Proxy(ceph_store.port) as proxy:
        proxy.inject(Fault(Kind.PASS_THEN, "DELETE", times=gone))
        proxy.inject(Fault(Kind.ANSWER, "DELETE", times=99, status=400, code="Cut"))
        with pytest.raises(RepositoryError, match="Cut"):
            versioned.repository(endpoint_url=proxy.endpoint_url).delete("record")

    assert versioned.repository().read("record") == b"newest"
    versioned.repository().delete("record")
    assert versioned.versions() == []


def test_the_same_again_makes_no_version_and_other_bytes_are_refused(
    lockable: OtherPlace,
) -> None:
    lock_bucket(lockable.controls(), A_DAY, name="primary")
    lockable.repository().put("record", b"mine")

    lockable.repository().put("record", b"mine")
    with pytest.raises(ObjectConflict):
        lockable.repository().put("record", b"other")

    assert len(lockable.versions()) == 1


def test_what_a_delete_marker_hides_is_missing_found_and_brought_back(
    versioned: OtherPlace,
) -> None:
    repository, bucket = versioned.repository(), versioned.controls()
    for key in ("full/1/a", "full/1/b", "full/2/c"):
        repository.put(key, key.encode())
    for key in ("full/1/b", "full/1/b", "full/2/c", "full/never"):
        versioned.hide(key)

    with pytest.raises(ObjectMissing):
        repository.read("full/1/b")
    assert [each.key for each in bucket.hidden("full/")] == ["full/1/b", "full/2/c"]
    assert [each.key for each in bucket.hidden("full/1/")] == ["full/1/b"]
    for _ in range(2):
        bucket.bring_back("full/1/b")
    bucket.bring_back("full/never")

    assert repository.read("full/1/b") == b"full/1/b"
    assert [each.key for each in bucket.hidden("")] == ["full/2/c"]


def test_a_bucket_without_versions_hides_nothing(ceph_store: CephStore) -> None:
    place = OtherPlace(ceph_store, S3Place.bucket)
    bucket = place.controls()

    assert not bucket.keeps_versions()
    assert not bucket.can_lock()
    assert bucket.object_lock() is None
    assert list(bucket.hidden("")) == []
    with pytest.raises(RepositoryError, match="made without it"):
        bucket.set_object_lock(A_DAY)


def test_versions_without_object_lock_retain_nothing_and_say_so(versioned: OtherPlace) -> None:
    bucket = versioned.controls()

    assert bucket.keeps_versions()
    assert not bucket.can_lock()
    with pytest.raises(RepositoryError, match="made without it"):
        lock_bucket(bucket, A_DAY, name="primary")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDenied", RepositoryRefused),
        (503, "SlowDown", RepositoryUnavailable),
        (418, "Teapot", RepositoryError),
    ],
)
def test_a_bucket_that_does_not_say_what_it_keeps_has_nothing_deleted(
    versioned: OtherPlace,
    ceph_store: CephStore,
    status: int,
    code: str,
    expected: type[RepositoryError],
) -> None:
    versioned.repository().put("record", b"x")
    with S3Proxy(ceph_store.port) as proxy:
        repository = versioned.repository(endpoint_url=proxy.endpoint_url, deadline_seconds=1.0)
        for question in ("versioning", "object-lock"):
            proxy.inject(
                Fault(Kind.ANSWER, "GET", times=99, in_path=question, status=status, code=code)
            )

        with pytest.raises(expected) as raised:
            repository.delete("record")
        with pytest.raises(expected):
            repository.retained_until("record")

    assert raised.value.hint
    assert not any(method == "DELETE" for method, _ in proxy.requests)
    assert versioned.repository().read("record") == b"x"


def test_a_lock_that_may_not_be_seen_is_not_taken_for_none(
    lockable: OtherPlace, ceph_store: CephStore
) -> None:
    lockable.repository().put("record", b"x")
    with S3Proxy(ceph_store.port) as proxy:
        repository = lockable.repository(endpoint_url=proxy.endpoint_url)
        proxy.inject(
            Fault(
                Kind.ANSWER, "GET", times=99, in_path="retention", status=403, code="AccessDenied"
            )
        )

        with pytest.raises(RepositoryRefused) as raised:
            repository.retained_until("record")

    assert "s3:GetObjectRetention" in raised.value.hint
