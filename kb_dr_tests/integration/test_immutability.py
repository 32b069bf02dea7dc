"""What a bucket with versions or Object Lock retains, nobody loses; what is deleted is gone."""

import hashlib
import io
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError

from kb_dr.adapters.s3_bucket import S3Bucket
from kb_dr.adapters.s3_location import S3Location
from kb_dr.adapters.s3_repository import S3Repository
from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.object_lock import LockMode, ObjectLock
from kb_dr.domain.proof import Outcome
from kb_dr.domain.stored import NO_END
from kb_dr.errors import (
    ObjectConflict,
    ObjectMissing,
    ObjectRetained,
    RepositoryError,
    RepositoryRefused,
    RepositoryUnavailable,
    WrongRepository,
)
from kb_dr.installation import Installation, open_installation
from kb_dr.operations.catalog import load_catalog, store_manifest
from kb_dr.operations.fetch_backup import fetch_backup
from kb_dr.operations.judge_bucket import judge_bucket
from kb_dr.operations.lock_bucket import lock_bucket
from kb_dr.settings import load_settings
from kb_dr_tests.ceph import CephStore
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.contracts.repository_contract import PagesContract, RepositoryContract
from kb_dr_tests.fakes import PlainCodec, RecordingProgress
from kb_dr_tests.faults.s3_proxy import Fault, Kind, S3Proxy
from kb_dr_tests.made_bucket import A_DAY, make_lockable, make_versioned
from kb_dr_tests.object_stores import RcloneStore, RunningStore
from kb_dr_tests.stored_backups import store_objects, store_segments

FIRM_DAY = ObjectLock(LockMode.COMPLIANCE, 1)
CODEC = PlainCodec()
PLAIN = b"the tar of a base backup" * 100


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
