"""What only S3 has: credentials, endpoints, capabilities, and an ETag that may mean nothing."""

import logging
from typing import TYPE_CHECKING

import pytest

from kb_dr.adapters import s3_bodies
from kb_dr.adapters.s3_location import S3Location
from kb_dr.adapters.s3_repository import S3Repository
from kb_dr.errors import ConfigurationError, ObjectConflict, RepositoryRefused
from kb_dr_tests.ceph import CephStore
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.object_stores import MotoStore, RcloneStore

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef
    from obstore import Bytes
    from obstore.store import S3Store

WRONG = "a-wrong-secret-that-nobody-may-see"


def refused(place: S3Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    place.repository().put("there", b"x")
    stranger = place.repository(secret_access_key=WRONG)
    messages = [repr(stranger), repr(place.store.location("b", secret_access_key=WRONG))]

    for call in (
        stranger.check,
        lambda: stranger.put("new", b"x"),
        lambda: stranger.read("there"),
        lambda: stranger.read("absent"),
        lambda: stranger.find("absent"),
        lambda: list(stranger.list("")),
        lambda: stranger.delete("there"),
    ):
        with pytest.raises(RepositoryRefused) as raised:
            call()
        messages += [str(raised.value), raised.value.hint, repr(raised.value.__cause__)]

    assert WRONG not in "".join(messages) + caplog.text
    assert [seen.key for seen in place.repository().list("")] == ["there"]


def test_a_wrong_secret_is_refused_by_rclone_and_never_shown(
    rclone_store: RcloneStore, caplog: pytest.LogCaptureFixture
) -> None:
    refused(S3Place(rclone_store), caplog)


def test_a_wrong_secret_is_refused_by_ceph_and_never_shown(
    ceph_store: CephStore, caplog: pytest.LogCaptureFixture
) -> None:
    refused(S3Place(ceph_store), caplog)


def test_what_a_store_can_do_is_tried_and_leaves_nothing_behind(
    rclone_store: RcloneStore, moto_store: MotoStore, ceph_store: CephStore
) -> None:
    for store, enforces in ((rclone_store, False), (moto_store, True), (ceph_store, True)):
        place = S3Place(store)
        repository = place.repository()

        assert repository.enforces_put_if_absent() is enforces
        assert list(repository.list("")) == []


def test_a_folder_made_in_the_console_is_no_object_of_the_repository(
    moto_store: MotoStore,
) -> None:
    place = S3Place(moto_store)
    place.replace("", b"")
    repository = place.repository()

    assert list(repository.list("")) == []
    repository.put("full/1", b"x")
    assert [seen.key for seen in repository.list("")] == ["full/1"]


def test_a_store_known_to_enforce_is_not_asked_first(ceph_store: CephStore) -> None:
    place = S3Place(ceph_store)
    place.repository().put("record", b"first")
    knowing = place.repository(conditional_writes=True)

    knowing.put("record", b"first")
    with pytest.raises(ObjectConflict):
        knowing.put("record", b"other")

    assert place.repository().read("record") == b"first"


def test_an_e_tag_that_is_no_md5_is_answered_by_reading_the_bytes_back(
    ceph_store: CephStore,
) -> None:
    place = S3Place(ceph_store)
    # Stored in two parts, so its ETag is a digest of digests, as it is another under SSE-KMS.
    body = b"x" * (5 * 1024 * 1024 + 1)
    bucket, key = place.bucket, f"{place.prefix}/chunk"
    upload = place.client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    parts: list[CompletedPartTypeDef] = []
    for number, part in enumerate((body[: 5 * 1024 * 1024], body[5 * 1024 * 1024 :]), start=1):
        done = place.client.upload_part(
            Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=part
        )
        parts.append({"ETag": done["ETag"], "PartNumber": number})
    place.client.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
    )

    assert place.repository().put("chunk", body).size_bytes == len(body)
    with pytest.raises(ObjectConflict):
        place.repository().put("chunk", body[:-1] + b"y")


def test_the_environment_leads_nowhere_else(
    rclone_store: RcloneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"):
        monkeypatch.setenv(name, "elsewhere")
    place = S3Place(rclone_store)

    place.repository().put("record", b"x")

    assert place.repository().read("record") == b"x"


@pytest.mark.parametrize(
    "endpoint",
    ["http://s3.example.com", "http://10.0.0.1:9000", "ftp://127.0.0.1", "127.0.0.1:9000",
     "https://user:hidden@s3.example.com"],
)  # fmt: skip
def test_an_endpoint_that_would_show_data_or_secrets_is_refused(endpoint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        S3Location("bucket", endpoint_url=endpoint)

    assert "hidden" not in str(raised.value)


def test_half_a_credential_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        S3Location("bucket", access_key_id="AKID")


def test_keys_of_one_prefix_are_not_those_of_another(rclone_store: RcloneStore) -> None:
    one = S3Repository(rclone_store.location(S3Place.bucket, "org-one"), "primary")
    two = S3Repository(rclone_store.location(S3Place.bucket, "org-one-b"), "primary")
    one.put("record", b"one")
    two.put("record", b"two")

    assert [seen.key for seen in one.list("")] == ["record"]
    assert one.read("record") == b"one"


def test_one_segment_is_read_without_what_takes_long_to_import(
    rclone_store: RcloneStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = S3Place(rclone_store).repository()
    segment = bytes(16 << 20)
    stored = repository.put("segment", segment)
    awaited: list[str] = []
    read = s3_bodies._awaited

    def noted(store: "S3Store", key: str) -> "Bytes":
        awaited.append(key)
        return read(store, key)

    monkeypatch.setattr(s3_bodies, "_awaited", noted)

    assert repository.read("segment") == segment
    assert not awaited
    assert repository.get(stored) == segment
    assert awaited == ["segment"], "a chunk of a backup is never the only one"
