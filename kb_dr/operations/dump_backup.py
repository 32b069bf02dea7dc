"""Take one logical dump: snapshot, stream, fingerprint beside it, manifest last."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.dump import NO_PASSWORDS, PG_DUMP, DumpEnd, DumpFacts, DumpFormat
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.manifest import Manifest, Source, StoredManifest, VectorBaseline, WalPosition
from kb_dr.domain.stored import StoredObject
from kb_dr.operations.backup_run import Attempt, BackupTools, begun, versions_with
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.name_backup import clock_notes, next_backup_id
from kb_dr.operations.refuse_newcomer import refuse_newcomer
from kb_dr.operations.store_stream import ChunkWriter
from kb_dr.operations.watched_stream import WatchedStream, refuse_too_many_chunks
from kb_dr.ports import (
    Clock,
    Codec,
    DumpProgram,
    DumpSource,
    FrozenSource,
    Progress,
    Repository,
)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was read in the snapshot while the dump ran."""

    fingerprint: Fingerprint
    vectors: tuple[VectorBaseline, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Dump:
    """One attempt: what it works with."""

    repository: Repository
    codec: Codec
    program: DumpProgram
    clock: Clock
    progress: Progress
    tools: BackupTools
    attempt: Attempt


def take_dump(
    repository: Repository,
    codec: Codec,
    source: DumpSource,
    program: DumpProgram,
    clock: Clock,
    progress: Progress,
    tools: BackupTools,
    *,
    backup: BackupId | None = None,
) -> StoredManifest:
    """Take one logical dump; it exists once this returns, and not a moment before.

    Rows, counts and sample are of one snapshot. No WAL is awaited: none is needed. ``backup`` is
    its id when that was promised already; else it is named by the clock. A call that fails, or is
    killed at any point, leaves no manifest. Raises BackupInProgress while another dump runs,
    SourceLockLost, PostgresError and its children, ObjectConflict when a backup of this id stands
    already, WrongRepository when it is another living cluster's, RepositoryError.
    """
    with begun(
        repository, clock, progress, tools, source.exclusive,
        lambda started: backup
        or next_backup_id(repository, tools.service, started, BackupKind.DUMP),
    ) as attempt:  # fmt: skip
        dump = _Dump(repository, codec, program, clock, progress, tools, attempt)
        progress.begin("freeze a snapshot")
        # The pool outside: the session ends before anyone waits for what it is being asked.
        with (
            ThreadPoolExecutor(1, "fingerprint") as pool,
            source.freeze(tools.critical_tables) as frozen,
        ):
            return _take(dump, frozen, pool)


def _take(dump: _Dump, frozen: FrozenSource, pool: ThreadPoolExecutor) -> StoredManifest:
    attempt = dump.attempt
    described = frozen.describe()
    refuse_newcomer(dump.repository, attempt.backup, described.system_identifier)
    refuse_too_many_chunks(attempt.backup, described.size_bytes, dump.tools.chunk_bytes)
    own_globals, globals_notes = _store_globals(dump)
    looking = pool.submit(_look, frozen, str(attempt.backup))
    chunks, end = _store_dump(dump, frozen, described, looking)
    dump.progress.begin("fingerprint")
    seen = looking.result()
    # Asked last: that they are answered shows that the locks outlasted the dump. A table emptied
    # before pg_dump locked it itself would be dumped as empty, without an error.
    shape, roles = frozen.shape(), frozen.roles()
    attempt.lock.check()
    place = frozen.place
    manifest = Manifest(
        schema_version=records.SCHEMA_VERSION,
        id=str(attempt.backup),
        attempt=attempt.token,
        kind=attempt.backup.kind,
        engine=PG_DUMP,
        service=dump.tools.service,
        org=dump.tools.org,
        started=attempt.started,
        finished=max(dump.clock.now(), attempt.started),
        wal=WalPosition(place.timeline, place.lsn, place.lsn),
        source=replace(described, vectors=seen.vectors),
        fingerprint=seen.fingerprint,
        chunks=chunks,
        plain_bytes=end.plain_bytes,
        plain_sha256=end.plain_sha256,
        postgres_manifest=None,
        compression="zstd",
        recipients=dump.codec.recipients,
        tools=versions_with(dump.program.tools),
        host=dump.tools.host,
        dump=DumpFacts(DumpFormat.CUSTOM, dump.program.tools["pg_dump"], shape, roles, own_globals),
        notes=(
            *clock_notes(dump.repository, attempt.backup, attempt.started),
            *seen.notes,
            *globals_notes,
        ),
    )
    return store_manifest(dump.repository, manifest)


def _look(frozen: FrozenSource, seed: str) -> _Seen:
    fingerprint, notes = frozen.fingerprint(seed)
    return _Seen(fingerprint, frozen.vectors(), notes)


def _store_dump(
    dump: _Dump, frozen: FrozenSource, described: Source, looking: "Future[_Seen]"
) -> tuple[tuple[StoredObject, ...], DumpEnd]:
    attempt = dump.attempt
    dump.progress.begin("dump", described.size_bytes)
    writer = ChunkWriter(
        dump.repository,
        lambda number: layout.chunk_key(attempt.backup, attempt.token, number),
        dump.tools.chunk_bytes,
        dump.tools.transfers,
    )

    def check() -> None:
        attempt.lock.check()
        if looking.done():
            looking.result()  # its session was lost: nobody waits hours to hear of it

    with writer, dump.program.stream(frozen, DumpFormat.CUSTOM) as stream:
        dump.codec.encode_stream(WatchedStream(stream, check, dump.clock, dump.progress), writer)
        # The program's end is looked at before the last chunk goes: a stream that broke off
        # is not even stored whole.
        end = stream.finish()
        chunks = writer.finish()
    return chunks, end


def _store_globals(dump: _Dump) -> tuple[StoredObject | None, tuple[str, ...]]:
    """Store what no single database holds; with notes for the operator."""
    found = dump.program.globals()
    if found is None:
        return None, ("roles and tablespaces are not in it: the role may not read them",)
    notes = (
        ("the roles in it have no passwords: the role may not read their hashes",)
        if found.startswith(NO_PASSWORDS)
        else ()
    )
    # Hashes of passwords may be broken: encrypted like everything else.
    body = dump.codec.encode(found)
    key = layout.globals_key(dump.attempt.backup, dump.attempt.token)
    return dump.repository.put(key, body), notes
