"""An installation on buckets that lock: what init sets, doctor says, and no store is sent."""

import hashlib
from dataclasses import replace

import pytest

from kb_dr.adapters.s3_bucket import S3Bucket
from kb_dr.adapters.s3_location import S3Location
from kb_dr.adapters.s3_repository import S3Repository
from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.object_lock import LockMode, ObjectLock
from kb_dr.domain.proof import Outcome
from kb_dr.errors import (
    RepositoryError,
    RepositoryRefused,
    RepositoryUnavailable,
    WrongRepository,
)
from kb_dr.installation import Installation, open_installation
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.judge_bucket import judge_bucket
from kb_dr.settings import load_settings
from kb_dr_tests.ceph import CephStore
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.fakes import PlainCodec
from kb_dr_tests.faults.s3_proxy import Fault, Kind, S3Proxy
from kb_dr_tests.object_stores import RcloneStore
from kb_dr_tests.own_buckets import OtherPlace, lockable, versioned
from kb_dr_tests.stored_backups import store_objects, store_segments

FIRM_DAY = ObjectLock(LockMode.COMPLIANCE, 1)
CODEC = PlainCodec()
PLAIN = b"the tar of a base backup" * 100

__all__ = ["lockable", "versioned"]  # fixtures of these tests


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


def installed(place: OtherPlace, **values: str) -> Installation:
    settings = {
        "KB_DR_REPOSITORY_URL": f"s3://{place.bucket}/{place.prefix}",
        "KB_DR_REPOSITORY_ENDPOINT_URL": place.store.endpoint_url,
        "KB_DR_REPOSITORY_ACCESS_KEY_ID": place.store.access_key_id,
        "KB_DR_REPOSITORY_SECRET_ACCESS_KEY": place.store.secret_access_key,
    }
    return open_installation(load_settings(settings | values))


def locking(mode: str, days: int) -> dict[str, str]:
    return {
        "KB_DR_REPOSITORY_OBJECT_LOCK_MODE": mode,
        "KB_DR_REPOSITORY_OBJECT_LOCK_DAYS": str(days),
    }


def bad(here: Installation, stored: StoredManifest | None = None) -> list[str]:
    newest = stored.manifest if stored else None
    return [each.subject for each in judge_bucket(here, "primary", newest) if not each.good]


def test_a_backup_stored_without_its_lock_is_said(
    lockable: OtherPlace, caplog: pytest.LogCaptureFixture
) -> None:
    here = installed(lockable, **locking("governance", 2))
    unlocked = stored_backup(lockable.repository())
    here._look_at_lock(unlocked)
    said = caplog.text
    caplog.clear()

    lockable.repository().delete(layout.manifest_key(unlocked.manifest.backup_id))
    here.lock("primary")
    here._look_at_lock(store_manifest(lockable.repository(), unlocked.manifest))

    assert "it can be deleted now, expected governance, 2 days" in said
    assert caplog.text == ""


def test_init_locks_before_it_writes_and_doctor_looks(lockable: OtherPlace) -> None:
    here = installed(lockable, **locking("governance", 2))
    assert bad(here) == ["Object Lock of primary"]

    here.initialise("primary")
    installed(lockable, **locking("governance", 1)).initialise("primary")

    assert lockable.controls().object_lock() == ObjectLock(LockMode.GOVERNANCE, 2)
    assert lockable.repository().retained_until(layout.MARKER) is not None
    stored = stored_backup(lockable.repository())
    assert bad(here, stored) == []
    assert [each.outcome for each in here.locks()] == [Outcome.PASSED]
    longer = installed(lockable, **locking("compliance", 3))
    assert bad(longer, stored) == [
        "Object Lock of primary",
        f"primary retains {stored.manifest.id}",
    ]
    longer.initialise("primary")
    assert bad(longer, stored) == [f"primary retains {stored.manifest.id}"], "stored before"


def test_init_refuses_a_bucket_that_cannot_lock_and_writes_nothing(versioned: OtherPlace) -> None:
    with pytest.raises(RepositoryError, match="made without it"):
        installed(versioned, **locking("governance", 1)).initialise("primary")

    assert versioned.versions() == []


def test_init_never_locks_somebody_elses_bucket(lockable: OtherPlace) -> None:
    installed(lockable).initialise("primary")
    stranger = installed(lockable, KB_DR_SERVICE="other", **locking("compliance", 1))

    with pytest.raises(WrongRepository):
        stranger.initialise("primary")

    assert lockable.controls().object_lock() is None


@pytest.mark.parametrize("times", [1, 99])
def test_a_listing_of_versions_that_breaks_off_deletes_nothing_of_the_rest(
    versioned: OtherPlace, ceph_store: CephStore, times: int
) -> None:
    for body in (b"old", b"new"):
        versioned.replace("record", body)
    with S3Proxy(ceph_store.port) as proxy:
        repository = versioned.repository(endpoint_url=proxy.endpoint_url, deadline_seconds=2.0)
        proxy.inject(Fault(Kind.CUT_ANSWER, "GET", times=times, in_path="versions"))
        if times == 1:
            repository.delete("record")
            assert versioned.versions() == []
            return
        with pytest.raises(RepositoryUnavailable):
            repository.delete("record")
        with pytest.raises(RepositoryUnavailable):
            list(S3Bucket(_through(versioned, proxy)).hidden(""))

    assert len(versioned.versions()) == 2


def _through(place: OtherPlace, proxy: S3Proxy) -> S3Location:
    return place.store.location(
        place.bucket, place.prefix, endpoint_url=proxy.endpoint_url, deadline_seconds=2.0
    )


def test_a_wrong_secret_is_refused_in_every_call_and_never_shown(lockable: OtherPlace) -> None:
    wrong = "a-wrong-secret-that-nobody-may-see"
    stranger = lockable.repository(secret_access_key=wrong)
    bucket = S3Bucket(
        lockable.store.location(lockable.bucket, lockable.prefix, secret_access_key=wrong)
    )

    for call in (
        lambda: stranger.retained_until(""),
        lambda: stranger.delete("x"),
        bucket.keeps_versions,
        bucket.object_lock,
        bucket.lifecycle,
        lambda: list(bucket.hidden("")),
    ):
        with pytest.raises(RepositoryRefused) as raised:
            call()
        assert wrong not in repr(raised.value) + raised.value.hint
        assert raised.value.__cause__ is None


def test_the_environment_leads_nowhere_else(
    versioned: OtherPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.setenv(variable, "elsewhere")

    assert versioned.controls().keeps_versions()


def test_a_hidden_marker_of_a_repository_is_named_by_doctor(versioned: OtherPlace) -> None:
    here = installed(versioned)
    here.initialise("primary")
    versioned.hide(layout.MARKER)

    with pytest.raises(WrongRepository):
        here.checked("primary")
    assert "hidden in primary" in bad(here)
    here.bring_back("primary", layout.MARKER)

    assert here.checked("primary")
    assert bad(here) == []


_RISKY = ("retention", "legal-hold", "tagging", "acl", "object-lock", "versions", "versionId")


def test_a_store_without_versions_is_asked_of_its_bucket_and_sent_nothing_it_lacks(
    rclone_store: RcloneStore,
) -> None:
    place = OtherPlace(rclone_store, S3Place.bucket)
    with S3Proxy(rclone_store.port) as proxy:
        here = installed(place, KB_DR_REPOSITORY_ENDPOINT_URL=proxy.endpoint_url)
        here.initialise("primary")
        repository = here.checked("primary")
        assert isinstance(repository, S3Repository)
        stored = stored_backup(repository)
        before = {each.key: repository.read(each.key) for each in repository.list("")}

        found = list(judge_bucket(here, "primary", stored.manifest))
        assert here.plan_lifecycle("primary") is None
        assert repository.retained_until("full/") is None
        with pytest.raises(RepositoryError, match="made without it"):
            installed(
                place,
                KB_DR_REPOSITORY_ENDPOINT_URL=proxy.endpoint_url,
                **locking("governance", 1),
            ).initialise("primary")
        after = {each.key: repository.read(each.key) for each in repository.list("")}
        repository.put("junk", b"x")
        repository.delete("junk")

    assert {each.outcome for each in found} == {Outcome.NOT_APPLICABLE}
    assert after == before
    assert place.repository().find("junk") is None
    asked = [(method, path.partition("?")) for method, path in proxy.requests]
    for method, (path, _, query) in asked:
        if any(word in query for word in (*_RISKY, "versioning", "lifecycle")):
            assert method == "GET", (method, path, query)
            assert path.strip("/") == place.bucket, "of the bucket, never of an object"
