"""Where a repository under test lives, and how to meddle with it behind its back."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import obstore
from obstore.store import S3Store

from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.s3_repository import S3Repository
from kb_dr.errors import BucketMissing
from kb_dr.ports import Repository
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.object_stores import RunningStore


class Place(Protocol):
    """One empty repository's home."""

    has_e_tags: bool
    """Whether what was stored is told from its MD5."""

    def repository(self) -> Repository:
        """A new handle, as another process would have it."""
        ...

    def missing(self) -> Repository:
        """A repository whose bucket or directory is not there."""
        ...

    def replace(self, key: str, body: bytes) -> None:
        """Overwrite an object, as damage or a foreign program would."""
        ...

    def fill(self, keys: list[str]) -> None:
        """Put a byte under many keys, quickly."""
        ...


class MemoryPlace:
    """The fake."""

    has_e_tags = False

    def __init__(self) -> None:
        self._repository = MemoryRepository()

    def repository(self) -> Repository:
        return self._repository

    def missing(self) -> Repository:
        missing = MemoryRepository()
        missing.failures[""] = BucketMissing("open memory: nothing is there")
        return missing

    def replace(self, key: str, body: bytes) -> None:
        self._repository.bodies[key] = body

    def fill(self, keys: list[str]) -> None:
        for key in keys:
            self._repository.put(key, b".")


class DirectoryPlace:
    """A directory."""

    has_e_tags = False

    def __init__(self, directory: Path) -> None:
        self.root = directory / "repository"
        self.root.mkdir()

    def repository(self) -> Repository:
        return DirectoryRepository(self.root, "primary")

    def missing(self) -> Repository:
        return DirectoryRepository(self.root / "nowhere", "primary")

    def replace(self, key: str, body: bytes) -> None:
        (self.root / key).write_bytes(body)

    def fill(self, keys: list[str]) -> None:
        for key in keys:
            path = self.root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b".")


class S3Place:
    """A prefix of its own in a bucket of a running server."""

    bucket = "contract"
    has_e_tags = True

    def __init__(self, store: RunningStore) -> None:
        self.store = store
        self.prefix = uuid4().hex
        self.client = store.client()

    def repository(self, **changes: Any) -> S3Repository:
        return S3Repository(self.store.location(self.bucket, self.prefix, **changes), "primary")

    def missing(self) -> Repository:
        return S3Repository(self.store.location("no-such-bucket", self.prefix), "primary")

    def replace(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=body)

    def fill(self, keys: list[str]) -> None:
        # Not with boto3, which takes ten times the time of this for a thousand objects.
        store = S3Store(
            self.bucket,
            prefix=self.prefix,
            endpoint=self.store.endpoint_url,
            region=self.store.region,
            access_key_id=self.store.access_key_id,
            secret_access_key=self.store.secret_access_key,
            client_options={"allow_http": True, "timeout": "120s"},
        )
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda key: obstore.put(store, key, b"."), keys))
