"""A long history, made up: thousands of backups over a WAL archive of up to a million segments.

Manifests, proofs and the newest segments are real, and are read; every other object has the right
name and the bytes of its neighbours.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
from obstore.store import S3Store

from kb_dr import records
from kb_dr.adapters.s3_location import S3Location
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Manifest, WalPosition, manifest_digest
from kb_dr.domain.proof import Check, Outcome, Phase, Proof, Reach, Verdict
from kb_dr.operations.initialise import Marker
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_controls import made_run
from kb_dr_tests.made_wal import WalWriter
from kb_dr_tests.stored_backups import SYSTEM, segment, store_objects

CODEC = PlainCodec()
SERVICE, ORG = "kb", "default"

_LINKS = 30_000
"""Of one file: ext4 allows 65,000, and a second copy may be made of the same ones."""
_REAL_SEGMENTS = 3
_FIRST = 2
_BODY = b"a WAL segment, as far as a listing can tell: " + b"x" * 255
_AT_ONCE = 32

Sink = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class History:
    """What is made: a full backup each hour, and one restore proof a day."""

    backups: int
    segments: int
    now: datetime
    """When the newest commit was made."""
    url: str = ""
    """Of the repository, as proofs name it."""
    proof_every: int = 24

    @property
    def between(self) -> int:
        """Segments from the start of one backup to the next."""
        return self.segments // self.backups

    @property
    def last(self) -> int:
        """The number of the newest segment."""
        return _FIRST + self.segments - 1

    def started(self, number: int) -> datetime:
        """When a backup was begun; 0 is the oldest."""
        newest = self.now - timedelta(minutes=50)
        return newest - timedelta(hours=self.backups - 1 - number)


def make_history(history: History, put: Sink) -> None:
    """Hand every object to ``put``, which is called from one thread."""
    put(layout.MARKER, records.to_json(Marker(1, SERVICE, ORG, history.started(0))))
    run = made_run(history.now - timedelta(days=1))
    put(layout.control_key(run.id), records.to_json(run))
    for key, body in _backups(history):
        put(key, body)
    for key, body in _wal(history):
        put(key, body)


def _backups(history: History) -> Iterator[tuple[str, bytes]]:
    template = store_objects(MemoryRepository(), chunks=1)
    for number in range(history.backups):
        manifest = _manifest(history, template, number)
        for stored in manifest.objects:
            yield stored.key, _BODY
        body = records.to_json(manifest)
        yield layout.manifest_key(manifest.backup_id), body
        if (history.backups - 1 - number) % history.proof_every == min(3, history.backups - 1):
            proof = _proof(manifest, manifest_digest(body), history)
            yield (
                layout.proof_key(manifest.backup_id, proof.copy, proof.id),
                records.to_json(proof),
            )


def _manifest(history: History, template: Manifest, number: int) -> Manifest:
    started = history.started(number)
    backup = BackupId.of(SERVICE, BackupKind.FULL, started)
    # Spread over the whole archive; the newest lies a few segments before its end.
    first = _FIRST + number * history.between
    start = segment(first)
    stop = segment(first + 1).start.plus(0x1000)
    (chunk,), own = template.chunks, template.postgres_manifest
    assert own is not None
    return replace(
        template,
        id=str(backup),
        started=started,
        finished=started + timedelta(minutes=1),
        wal=WalPosition(1, start.start.plus(0x28), stop),
        fingerprint=Fingerprint(str(backup), stop.plus(0x100), ()),
        chunks=(replace(chunk, key=layout.chunk_key(backup, template.attempt, 0)),),
        postgres_manifest=replace(own, key=layout.postgres_manifest_key(backup, template.attempt)),
    )


def _proof(manifest: Manifest, digest: str, history: History) -> Proof:
    began = manifest.finished + timedelta(minutes=10)
    end = Lsn(segment(history.last).end)
    return Proof(
        schema_version=records.SCHEMA_VERSION,
        id=f"{began:%Y%m%d-%H%M%S}-made",
        backup_id=manifest.id,
        manifest_digest=digest,
        copy="primary",
        url=history.url,
        started=began,
        finished=began + timedelta(minutes=5),
        verdict=Verdict.PROVEN,
        reason="made",
        checks=(Check("rows", Outcome.PASSED, "all there"),),
        phases=(
            Phase("fetch and unpack", 20.0, 1000),
            Phase("verify files", 2.0, 1000),
            Phase("replay", 5.0, 1 << 21),
        ),
        reach=Reach(1, end, 1, end, began),
        tools={"postgres": "16.14"},
        host="bench",
    )


def _wal(history: History) -> Iterator[tuple[str, bytes]]:
    digest = hashlib.sha256(_BODY).hexdigest()
    real = min(_REAL_SEGMENTS, history.segments)
    for number in range(_FIRST, history.last + 1 - real):
        yield layout.wal_key(SYSTEM, segment(number).name, digest), _BODY
    writer = WalWriter(segment(history.last + 1 - real), system_identifier=SYSTEM)
    while len(writer.written) < (real - 1) * writer.size + 0x8000:
        writer.record(b"f" * 30_000)
    writer.commit(history.now - timedelta(seconds=30))
    writer.switch()
    for name, plain in writer.segments().items():
        key = layout.wal_key(SYSTEM, name, hashlib.sha256(plain).hexdigest())
        yield key, CODEC.encode(plain)


def make_in_directory(root: Path, backups: int, segments: int) -> None:
    """A directory repository; bodies that are the same are one file with many names."""
    history = History(backups, segments, datetime.now(UTC), str(root.absolute()))
    root.mkdir(mode=0o700, parents=True)
    bodies = root.parent / f"{root.name}.bodies"
    bodies.mkdir()
    made: set[str] = set()
    old = history.started(0).timestamp()
    linked: tuple[Path, int] | None = None

    def put(key: str, body: bytes) -> None:
        nonlocal linked
        folder, _, _ = key.rpartition("/")
        if folder not in made:
            (root / folder).mkdir(parents=True, exist_ok=True)
            made.add(folder)
        if body is not _BODY:
            (root / key).write_bytes(body)
            return
        if linked is None or linked[1] >= _LINKS:
            source = bodies / f"{len(made)}-{os.urandom(4).hex()}"
            source.write_bytes(body)
            os.utime(source, (old, old))
            linked = (source, 0)
        os.link(linked[0], root / key)
        linked = (linked[0], linked[1] + 1)

    make_history(history, put)


def make_in_bucket(location: S3Location, backups: int, segments: int) -> None:
    """The same on S3, many puts at once, none of them looked at."""
    store = S3Store(
        location.bucket,
        prefix=location.prefix,
        endpoint=location.endpoint_url,
        region=location.region,
        access_key_id=location.access_key_id,
        secret_access_key=location.secret_access_key,
        client_options={"allow_http": True},
    )
    history = History(backups, segments, datetime.now(UTC), location.url)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        waiting: deque[Future[object]] = deque()

        def put(key: str, body: bytes) -> None:
            waiting.append(pool.submit(obstore.put, store, key, body, use_multipart=False))
            if len(waiting) >= 4 * _AT_ONCE:
                waiting.popleft().result()

        make_history(history, put)
        for each in waiting:
            each.result()
