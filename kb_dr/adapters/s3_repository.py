"""A repository on S3, or on a store that speaks its protocol."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NoReturn, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from kb_dr.adapters.digests import described, require_recorded
from kb_dr.adapters.repository_keys import checked_key, is_key
from kb_dr.adapters.s3_bodies import Bodies
from kb_dr.adapters.s3_calls import RAISED_BY_OBSTORE, CallFailed, with_retries
from kb_dr.adapters.s3_listing import ListingPlan, listing_plan
from kb_dr.adapters.s3_location import S3Location
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import (
    BucketMissing,
    ChecksumMismatch,
    ObjectConflict,
    ObjectMissing,
    ObjectRetained,
    RepositoryError,
    RepositoryUnavailable,
)

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Config, S3Credential, S3CredentialProvider

    from kb_dr.adapters.s3_removal import S3Removal

_MOMENTS_SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0)
"""AWS shows a new object at once; rclone's server may not while others write the same key."""

_PAGE = 1000
"""Keys of one answer, the most S3 gives."""

_EMPTY_FOLDER = "probe"
"""Holds nothing but, for a moment, what enforces_put_if_absent() tries."""

__all__ = ["S3Location", "S3Repository"]

T = TypeVar("T")


class S3Repository:
    """Implements `kb_dr.ports.Repository`.

    Every object is one PUT, signed with the digest of its body and sent with
    ``x-amz-checksum-sha256``, both of which AWS checks. Not every server does, so what was stored
    is looked at: an ETag that equals our MD5 was computed by the store from what it holds (it is
    another value under SSE-KMS); else the bytes are read back.

    On a store that ignores If-None-Match two writers of one key can both look first, both find
    nothing and both write; the one whose bytes are gone when it looks afterwards is told
    (ObjectConflict), but a writer that looked before the other wrote is not.
    """

    def __init__(self, location: S3Location, name: str) -> None:
        self._location = location
        self._name = name
        self._store = _store(location)
        self._bodies = Bodies(self._store)
        self._enforces: bool | None = location.conditional_writes

    @property
    def name(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return self._location.url

    def check(self) -> None:
        self._require_bucket("check", "")

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        stored = described(checked_key(key), body, sha256=digest, md5=True)
        if not self._enforces and (there := self._head(key)) is not None:
            self._require_same(stored, body, there)
            return stored
        e_tag = self._create(key, body)
        there = self._head_of_stored(key)
        if e_tag is None:
            self._require_same(stored, body, there)
        elif not self._holds(stored, body, there):
            self._refuse_stored(stored, arrived_whole=_is_md5(e_tag, stored))
        return stored

    def get(self, stored: StoredObject) -> bytes:
        body = self._read(stored.key, lambda key: self._bodies.whole(key, stored.size_bytes))
        require_recorded(self._where(stored.key), stored, body)
        return body

    def read(self, key: str) -> bytes:
        return self._read(key, self._bodies.whole)

    def _read(self, key: str, fetch: Callable[[str], bytes]) -> bytes:
        checked_key(key)
        try:
            return self._call(lambda: fetch(key))
        except CallFailed as failed:
            answer = failed.answer
        if answer.is_404 and not answer.bucket_is_missing:
            if not answer.key_is_missing:
                self._require_bucket("get", key)
            raise ObjectMissing(f"get {self._where(key)}: {answer.text}")
        raise answer.error(f"get {self._where(key)}")

    def read_start(self, listed: Listed, count: int) -> bytes:
        size = min(count, listed.size_bytes)
        if size == 0:
            return b""  # a store answers no range of nothing
        return self._read(listed.key, lambda key: self._bodies.beginning(key, size))

    def find(self, key: str) -> Listed | None:
        there = self._head(checked_key(key))
        if there is None:
            # A HEAD has no body: the same 404 is the answer of a bucket that is not there.
            self._require_bucket("look at", key)
            return None
        return Listed(key, there["size"], there["last_modified"])

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        plan = listing_plan(prefix, start_after)
        for page in self._pages(plan, f"list {self._where(prefix)}"):
            for seen in page:
                key = seen["path"]
                if key > prefix and not key.startswith(prefix):
                    return  # in order: nothing wanted comes after
                if key.startswith(prefix) and key > start_after and is_key(key):
                    yield Listed(key, seen["size"], seen["last_modified"])

    def space(self) -> None:
        """Implements space(): a bucket has no bound."""

    def delete(self, key: str) -> None:
        checked_key(key)
        if self._removal.keeps_versions:
            self._removal.remove(key, f"delete {self._where(key)}")
            return
        try:
            self._call(lambda: obstore.delete(self._store, key))
        except CallFailed as failed:
            answer = failed.answer
        else:
            return
        if answer.is_404 and not answer.bucket_is_missing:
            self._require_bucket("delete", key)
            return
        raise answer.error(f"delete {self._where(key)}")

    def retained_until(self, prefix: str) -> datetime | None:
        return self._removal.retained_until(prefix)

    @cached_property
    def _removal(self) -> "S3Removal":
        from kb_dr.adapters.s3_removal import S3Removal  # no WAL file pushed or fetched needs it

        return S3Removal(self._location)

    def enforces_put_if_absent(self) -> bool:
        """True if a second put of one key is refused; tried once, on a key nobody uses.

        rclone's server takes the header and ignores it, so only trying tells.
        """
        if self._enforces is None:
            key = f"{_EMPTY_FOLDER}/{os.urandom(16).hex()}"
            try:
                self._create(key, b"first", look_before_retry=False)
                self._enforces = self._create(key, b"second", look_before_retry=False) is None
            finally:
                with suppress(RepositoryError):
                    self.delete(key)
        return self._enforces

    def _create(self, key: str, body: bytes, *, look_before_retry: bool = True) -> str | None:
        """Send one PUT; return the ETag answered, None when the key was taken."""
        mode: Literal["create", "overwrite"] = (
            "overwrite" if self._location.conditional_writes is False else "create"
        )
        tried = False

        def send() -> str | None:
            nonlocal tried
            # The answer of an earlier try may have been lost after it, or somebody else, wrote.
            if tried and look_before_retry and not self._enforces and self._seen(key):
                return None
            tried = True
            try:
                sent = obstore.put(self._store, key, body, mode=mode, use_multipart=False)
            except AlreadyExistsError:
                return None
            return sent["e_tag"] or ""

        try:
            return self._call(send)
        except CallFailed as failed:
            answer = failed.answer
        if answer.is_404:
            # A key to be written cannot be missing; only the bucket can.
            raise BucketMissing(f"put {self._where(key)}: {answer.text}")
        raise answer.error(f"put {self._where(key)}")

    def _seen(self, key: str) -> bool:
        try:
            obstore.head(self._store, key)
        except FileNotFoundError:
            return False
        return True

    def _head(self, key: str) -> "ObjectMeta | None":
        """What the store says of the key; None at a 404, which says nothing of the bucket."""
        try:
            return self._call(lambda: obstore.head(self._store, key))
        except CallFailed as failed:
            answer = failed.answer
        if answer.is_404 and not answer.bucket_is_missing:
            return None
        raise answer.error(f"look at {self._where(key)}")

    def _head_of_stored(self, key: str) -> "ObjectMeta":
        """What stands under a key that was just written; a store may take a moment to show it."""
        for pause in _MOMENTS_SECONDS:
            if (there := self._head(key)) is not None:
                return there
            time.sleep(pause)
        raise RepositoryUnavailable(
            f"put {self._where(key)}: nothing is there right after it was stored"
        )

    def _holds(self, stored: StoredObject, body: bytes, there: "ObjectMeta") -> bool:
        """True if what stands there is ``body``, by the store's own digest or by reading it."""
        if there["size"] != stored.size_bytes:
            return False
        return _is_md5(there["e_tag"], stored) or self.read(stored.key) == body

    def _require_same(self, stored: StoredObject, body: bytes, there: "ObjectMeta") -> None:
        if not self._holds(stored, body, there):
            raise ObjectConflict(f"put {self._where(stored.key)}: other bytes stand there already")

    def _refuse_stored(self, stored: StoredObject, *, arrived_whole: bool) -> NoReturn:
        """Say what became of an object that is not what was sent."""
        where = self._where(stored.key)
        if not self._enforces and arrived_whole:
            raise ObjectConflict(f"put {where}: another writer stored other bytes at the same time")
        if self._enforces:
            # It is ours, made a moment ago, and named by nobody: in its place a retry can succeed.
            with suppress(ObjectRetained):
                self.delete(stored.key)
        raise ChecksumMismatch(
            f"put {where}: what was stored is not what was sent, expected md5 {stored.md5}",
            hint="The store or the way to it damages data; run it again, and look into both.",
        )

    def _pages(self, plan: ListingPlan, what: str) -> Iterator[Sequence["ObjectMeta"]]:
        """Pages of a listing; one that breaks off is taken up again after the last key seen."""
        stream: Iterator[Sequence[ObjectMeta]] | None = None
        offset, last = plan.offset, ""

        def advance() -> "Sequence[ObjectMeta] | None":
            nonlocal stream, last
            try:
                if stream is None:
                    last = offset or ""
                    stream = iter(
                        obstore.list(self._store, plan.folder, offset=offset, chunk_size=_PAGE)
                    )
                return next(stream, None)
            except RAISED_BY_OBSTORE:
                stream = None
                raise

        while True:
            try:
                page = self._call(advance)
            except CallFailed as failed:
                answer = failed.answer
                if answer.is_404:
                    raise BucketMissing(f"{what}: {answer.text}") from None
                raise answer.error(what) from None
            if page is None:
                return
            for seen in page:
                if not seen["path"]:
                    continue  # the folder itself, as AWS's console makes one
                if seen["path"] <= last:
                    raise RepositoryError(
                        f"{what}: {seen['path']} was listed after {last}",
                        hint="This store does not list in order; it cannot hold a repository.",
                    )
                last = seen["path"]
            offset = last
            yield page

    def _require_bucket(self, action: str, key: str) -> None:
        """Raise BucketMissing, or what else is wrong, unless the bucket can be listed."""
        try:
            # In a folder that stays empty: of all keys the store would send a page of a thousand.
            self._call(lambda: next(iter(obstore.list(self._store, _EMPTY_FOLDER)), None))
        except CallFailed as failed:
            answer = failed.answer
        else:
            return
        if answer.is_404:
            raise BucketMissing(f"{action} {self._where(key)}: {answer.text}")
        raise answer.error(f"{action} {self._where(key)}")

    def _call(self, call: Callable[[], T]) -> T:
        return with_retries(call, deadline_seconds=self._location.retry_seconds)

    def _where(self, key: str) -> str:
        return f"{self.url}/{key}" if key else self.url


def _store(location: S3Location) -> S3Store:
    """The client. Nothing is sent yet, and no retries are its own: those are counted here."""
    timeout = timedelta(seconds=location.timeout_seconds)
    config: S3Config = {
        "region": location.region,
        "checksum_algorithm": "sha256",
        "disable_bulk_delete": True,
        "disable_tagging": True,
    }
    if location.sse_kms_key_id is not None:
        config["server_side_encryption"] = "aws:kms"
        config["sse_kms_key_id"] = location.sse_kms_key_id
    if location.endpoint_url is not None:
        config["endpoint"] = location.endpoint_url
        # Named as well, since AWS_ENDPOINT_URL_S3 in the environment would win over the first.
        config["aws_endpoint_url_s3"] = location.endpoint_url
    return S3Store(
        location.bucket,
        prefix=location.prefix or None,
        config=config,
        client_options={
            "allow_http": location.is_loopback,
            "timeout": timeout,
            "connect_timeout": min(timeout, timedelta(seconds=10)),
        },
        retry_config={"max_retries": 0},
        credential_provider=_credentials(location),
    )


def _credentials(location: S3Location) -> "S3CredentialProvider | None":
    """The keys of the settings and nothing of the environment; None for the chain of AWS."""
    if location.access_key_id is None or location.secret_access_key is None:
        return None
    credential: S3Credential = {
        "access_key_id": location.access_key_id,
        "secret_access_key": location.secret_access_key,
        "token": location.session_token,
        "expires_at": None,
    }
    return lambda: credential


def _is_md5(e_tag: str | None, stored: StoredObject) -> bool:
    return e_tag is not None and e_tag.strip('"').lower() == stored.md5
