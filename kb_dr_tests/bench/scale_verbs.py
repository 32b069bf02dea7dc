"""One verb over one big repository, measured in a process of its own: its memory is its own."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import obstore
from obstore.store import S3Store

from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.s3_location import S3Location
from kb_dr.adapters.s3_repository import S3Repository
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.status import Status
from kb_dr.operations.audit_wal import audit_wal
from kb_dr.operations.catalog import walk_catalog
from kb_dr.operations.plan_copy_retention import plan_copy_retention
from kb_dr.operations.status import take_status
from kb_dr.ports import Repository
from kb_dr.settings import Objectives
from kb_dr_tests.bench.made_history import CODEC, ORG, SERVICE
from kb_dr_tests.counting_repository import CountingRepository
from kb_dr_tests.stored_backups import SEGMENT_BYTES, SYSTEM

OBJECTIVES = Objectives(3600.0, 4 * 3600.0, 26 * 3600.0, 8 * 86400.0)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the big repository is."""

    directory: str = ""
    bucket: str = ""
    prefix: str = ""
    endpoint_url: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""

    @property
    def location(self) -> S3Location:
        """On S3."""
        return S3Location(
            self.bucket,
            self.prefix,
            endpoint_url=self.endpoint_url,
            access_key_id=self.access_key_id,
            secret_access_key=self.secret_access_key,
        )

    def open(self) -> Repository:
        """The repository."""
        if self.directory:
            return DirectoryRepository(Path(self.directory), "primary")
        return S3Repository(self.location, "primary")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one verb took."""

    verb: str
    seconds: float
    peak_bytes: int
    """The high-water mark of the whole process."""
    idle_bytes: int
    """The same before the verb began: Python and what is imported."""
    calls: dict[str, int]
    said: str
    """The answer in a few words, to see that it was one."""


def list_raw(place: Place) -> str:
    """Every name and size, by the store's own means and nothing else: the floor."""
    if place.directory:
        return f"{_files_below(place.directory)} files"
    here = place.location
    store = S3Store(
        here.bucket,
        prefix=here.prefix,
        endpoint=here.endpoint_url,
        region=here.region,
        access_key_id=here.access_key_id,
        secret_access_key=here.secret_access_key,
        client_options={"allow_http": True},
    )
    return f"{sum(len(page) for page in obstore.list(store, chunk_size=1000))} objects"


def _files_below(folder: str) -> int:
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                count += _files_below(entry.path)
            else:
                entry.stat(follow_symlinks=False)
                count += 1
    return count


def _list(repository: Repository) -> str:
    return f"{sum(1 for _ in repository.list(''))} objects"


def _catalog(repository: Repository) -> str:
    return f"{sum(1 for _ in walk_catalog(repository))} backups"


def _audit(repository: Repository) -> str:
    audit = audit_wal(
        repository, system_identifier=SYSTEM, segment_bytes=SEGMENT_BYTES, codec=CODEC
    )
    return f"{audit.archive.segments} segments, {len(audit.archive.problems)} problems"


def _status(repository: Repository) -> str:
    return _said(_take_status(repository, everything=False))


def _status_of_everything(repository: Repository) -> str:
    return _said(_take_status(repository, everything=True))


def _take_status(repository: Repository, *, everything: bool) -> Status:
    return take_status(
        [repository],
        CODEC,
        SystemClock(),
        OBJECTIVES,
        service=SERVICE,
        org=ORG,
        everything=everything,
    )


def _retention_plan(repository: Repository) -> str:
    planned = plan_copy_retention(
        repository, [repository], SystemClock(), RetentionPolicy(), service=SERVICE
    ).plan
    files = sum(each.files for each in planned.wal)
    return f"{len(planned.decisions)} backups, {len(planned.expire)} expire, {files} WAL files go"


def _said(status: Status) -> str:
    (copy,) = status.copies
    bad = [each.subject for each in status.objectives if not each.good]
    broken = f", broken: {', '.join(bad)}" if bad else ", all objectives hold"
    return f"{len(copy.backups)} backups, {len(copy.proven)} proven{broken}"


VERBS: dict[str, Callable[[Repository], str]] = {
    "list": _list,
    "catalog": _catalog,
    "audit": _audit,
    "retention plan": _retention_plan,
    "status": _status,
    "status, everything": _status_of_everything,
}
RAW = "raw listing"


def measure(verb: str, place: Place) -> Measured:
    """Run it here and now."""
    repository = CountingRepository(place.open())
    idle = high_water_bytes()
    began = time.perf_counter()
    said = list_raw(place) if verb == RAW else VERBS[verb](repository)
    seconds = time.perf_counter() - began
    return Measured(verb, seconds, high_water_bytes(), idle, dict(repository.calls), said)


def high_water_bytes() -> int:
    """The most this process ever held at once."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("this kernel does not tell")


if __name__ == "__main__":
    print(json.dumps(asdict(measure(sys.argv[1], Place(**json.loads(sys.stdin.read()))))))
