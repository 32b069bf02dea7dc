"""What a proof of a dump works with, played: a host, a scratch server, and what loads it."""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.dump import PG_DUMP, DatabaseShape, DumpFacts, DumpFormat
from kb_dr.domain.dump_contents import ContentsEntry, DumpContents
from kb_dr.domain.dump_target import ServerLook
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.inspection import Relation
from kb_dr.domain.layout import chunk_key, globals_key
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Proof
from kb_dr.domain.recovery import WorkArea
from kb_dr.errors import KbDrError
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.newest_backup import newest_dump
from kb_dr.operations.proof_run import Loading
from kb_dr.operations.proofs import load_proofs
from kb_dr.operations.verify import verify_backup
from kb_dr.ports import (
    DatabaseServer,
    DumpLoader,
    PostgresHost,
    Readable,
    ScratchSpace,
    ServerInspector,
)
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.stored_backups import STARTED, store_objects
from kb_dr_tests.unit.test_check_restored import TABLE, FakeInspection

CODEC = PlainCodec()
ARCHIVE = b"PGDMP, as far as anybody here looks" * 100
ROLES = b"CREATE ROLE \"app\";\nCREATE TABLESPACE fast OWNER app LOCATION '/mnt; fast';\n"
SHAPE = DatabaseShape("UTF8", "C.UTF-8", "C.UTF-8", "libc", None)
LISTED = (
    ContentsEntry(1, "TABLE", "public", "entries", "app", ()),
    ContentsEntry(2, "TABLE DATA", "public", "entries", "app", (1,)),
    ContentsEntry(3, "INDEX", "public", "entries_place", "app", (1,)),
)
CONTENTS = DumpContents("kb", "16.14", "16.14", LISTED)
STANDING = frozenset(
    {Relation("TABLE", "public", "entries"), Relation("INDEX", "public", "entries_place")}
)


def store_dump(
    repository: MemoryRepository, *, roles: bytes | None = ROLES, named: tuple[str, ...] = ("app",)
) -> StoredManifest:
    """A dump with one table of two rows."""
    backup = BackupId.of("kb", BackupKind.DUMP, STARTED)
    made = store_objects(repository, chunks=0)
    coded = CODEC.encode(ARCHIVE)
    chunks = tuple(
        repository.put(chunk_key(backup, "a1", number), part)
        for number, part in enumerate((coded[:900], coded[900:]))
    )
    kept = None if roles is None else repository.put(globals_key(backup, "a1"), CODEC.encode(roles))
    return store_manifest(
        repository,
        replace(
            made,
            id=str(backup),
            kind=BackupKind.DUMP,
            engine=PG_DUMP,
            chunks=chunks,
            plain_bytes=len(ARCHIVE),
            plain_sha256=hashlib.sha256(ARCHIVE).hexdigest(),
            postgres_manifest=None,
            fingerprint=Fingerprint(
                str(backup), made.wal.stop, (replace(TABLE, row_versions=None),)
            ),
            dump=DumpFacts(DumpFormat.CUSTOM, "16.14", SHAPE, named, kept),
        ),
    )


@dataclass
class Bench:
    """Everything a proof of a dump works with, and what was done with it."""

    directory: Path
    look: FakeInspection = field(default_factory=lambda: FakeInspection(related=STANDING))
    contents: DumpContents = CONTENTS
    free: int = 1 << 40
    fails: Mapping[str, KbDrError] = field(default_factory=dict)
    log: str = ""
    roles: set[str] = field(default_factory=set)
    passed_over: tuple[str, ...] = ()
    done: list[str] = field(default_factory=list)

    def do(self, what: str) -> None:
        self.done.append(what)
        if what in self.fails:
            raise self.fails[what]

    # a PostgresHost, as far as dumps need one

    def check(self, source: object) -> None:
        self.do("check")

    def tools_of(self, source: object) -> dict[str, str]:
        return {"postgres": "16.15"}

    def free_bytes(self, directory: Path) -> int:
        return self.free

    @contextmanager
    def new_cluster(self, area: WorkArea, source: object, *, superuser: str) -> Iterator[object]:
        self.do("new cluster")
        self.roles.add(superuser)
        try:
            yield self
        finally:
            self.done.append("cluster gone")

    def log_tail(self) -> str:
        return self.log

    # scratch

    @contextmanager
    def area(self, purpose: str) -> Iterator[WorkArea]:
        root = self.directory / "area"
        root.mkdir()
        try:
            yield WorkArea(root, root)
        finally:
            for each in root.iterdir():
                each.unlink()
            root.rmdir()

    @contextmanager
    def look_into(self, server: object, source: object) -> Iterator[FakeInspection]:
        self.do("look")
        yield self.look


@dataclass
class Loader:
    bench: Bench

    @property
    def tools(self) -> dict[str, str]:
        return {"pg_restore": "16.15"}

    def contents(self, archive: Path) -> DumpContents:
        assert archive.read_bytes() == ARCHIVE
        self.bench.do("contents")
        return self.bench.contents

    def load(
        self,
        archive: Path,
        database: str,
        *,
        jobs: int,
        entries: Collection[int] | None = None,
        owners: bool = True,
        grants: bool = True,
    ) -> tuple[str, ...]:
        assert (owners, grants) == (True, True)
        if entries is not None:
            self.bench.do(f"load only {sorted(entries)}")
        self.bench.do(f"load by {jobs}")
        return self.bench.passed_over

    def run_sql(self, sql: Readable, database: str, *, of_roles: bool = False) -> None:
        text = sql.read().decode()
        assert "TABLESPACE" not in text
        self.bench.do(f"run {text.strip()}")
        self.bench.roles |= {part.split()[2].strip('";') for part in text.splitlines() if part}


@dataclass
class Server:
    bench: Bench

    def look(self) -> ServerLook:
        return ServerLook(160015, 1, (), tuple(self.bench.roles), {}, False, True)

    def create(self, name: str, shape: DatabaseShape | None = None) -> None:
        assert shape == SHAPE
        self.bench.do("create")

    def create_extensions(
        self, database: str, extensions: dict[str, str], *_: object, **__: object
    ) -> tuple[str, ...]:
        self.bench.do("extensions")
        return ()

    def analyze(self, database: str) -> None:
        self.bench.do("analyze")


class Host:
    """The bench under the name that a host's own ``tools`` would hide."""

    def __init__(self, bench: Bench) -> None:
        self.check, self.free_bytes = bench.check, bench.free_bytes
        self.new_cluster, self.tools = bench.new_cluster, bench.tools_of


def prove(repository: MemoryRepository, bench: Bench, *, loads: bool = True) -> Proof:
    """A proof of the one dump there is."""
    loading = Loading(
        lambda _: cast(DumpLoader, Loader(bench)),
        lambda _: cast(DatabaseServer, Server(bench)),
        jobs=3,
    )
    proof = verify_backup(
        repository,
        CODEC,
        cast(PostgresHost, Host(bench)),
        cast(ScratchSpace, bench),
        cast(ServerInspector, bench),
        FakeClock(),
        RecordingProgress(),
        backup=newest_dump(repository),
        loading=loading if loads else None,
    )
    assert list(bench.directory.iterdir()) == [], "scratch outlived its proof"
    assert load_proofs(repository, newest_dump(repository)) == (proof,)
    return proof
