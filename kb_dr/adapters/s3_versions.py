"""Versions of one bucket: whether it keeps them, what they are, and how all of one key go."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kb_dr.adapters.s3_calls import CallFailed
from kb_dr.adapters.s3_client import S3Calls
from kb_dr.errors import RepositoryRefused


class Versioning(StrEnum):
    """What a bucket does with the bytes under a key that is written again or deleted."""

    NONE = "none"
    ENABLED = "enabled"
    SUSPENDED = "suspended"
    """None are kept from here on; those from before stand."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one key, or a delete marker, which hides those before it."""

    key: str
    """Of the repository."""
    version_id: str
    is_latest: bool
    is_marker: bool
    modified: datetime


def versioning(calls: S3Calls) -> Versioning:
    """Ask the bucket, with one GET.

    A store that does not know the question has no versions. One that refuses to answer raises
    RepositoryRefused: who deletes without knowing might only hide.
    """
    try:
        answer = calls.call(lambda client: client.get_bucket_versioning(Bucket=calls.bucket))
    except CallFailed as failed:
        seen = failed.answer
    else:
        status = str(answer.get("Status", Versioning.NONE)).lower()
        # A word not known here is no reason to believe that a plain delete deletes.
        return Versioning(status) if status in list(Versioning) else Versioning.ENABLED
    if seen.is_not_known:
        return Versioning.NONE
    error = seen.error(f"ask {calls.location.url} whether it keeps versions")
    if isinstance(error, RepositoryRefused):
        error.hint = "Allow s3:GetBucketVersioning: a plain delete may only hide an object."
    raise error


def versions(calls: S3Calls, prefix: str) -> Iterator[Version]:
    """Every version and delete marker under ``prefix``, in order of key; in pages."""
    key_marker, version_marker = "", ""
    while True:
        try:
            page = calls.call(
                lambda client: client.list_object_versions(
                    Bucket=calls.bucket,
                    Prefix=calls.key(prefix),
                    KeyMarker=key_marker,  # noqa: B023 - called before the next round
                    VersionIdMarker=version_marker,  # noqa: B023 - likewise
                )
            )
        except CallFailed as failed:
            raise failed.answer.error(f"list versions of {calls.location.url}/{prefix}") from None
        found = [
            Version(
                calls.own(each["Key"]),
                each["VersionId"],
                each["IsLatest"],
                is_marker=False,
                modified=each["LastModified"],
            )
            for each in page.get("Versions", [])
        ] + [
            Version(
                calls.own(each["Key"]),
                each["VersionId"],
                each["IsLatest"],
                is_marker=True,
                modified=each["LastModified"],
            )
            for each in page.get("DeleteMarkers", [])
        ]
        yield from sorted(found, key=lambda each: each.key)
        if not page.get("IsTruncated"):
            return
        key_marker, version_marker = page["NextKeyMarker"], page["NextVersionIdMarker"]


def versions_of(calls: S3Calls, key: str) -> list[Version]:
    """Every version and marker of exactly this key, in the order in which they may go.

    The newest last: what it hides must not come to light while the others go. Before it the
    markers, which hide nothing any more, and the oldest bytes.
    """
    found = []
    for each in versions(calls, key):
        if each.key != key:
            break  # keys that go on after it
        found.append(each)
    return sorted(found, key=lambda each: (each.is_latest, not each.is_marker, each.modified))


def remove_version(calls: S3Calls, version: Version) -> None:
    """Remove one version for good. Raises CallFailed; governance is never bypassed."""
    calls.call(
        lambda client: client.delete_object(
            Bucket=calls.bucket, Key=calls.key(version.key), VersionId=version.version_id
        )
    )
