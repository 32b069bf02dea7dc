"""Load a dump into a database of its own, and hold it against what was recorded.

The order is the safety: everything is fetched, decrypted and digested before the server is
changed; then one new database is made, marked as ours, loaded and compared. Whatever fails, it
alone is dropped again; the database under protection is not touched here.
"""

import gzip
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from kb_dr.domain.database_mark import DatabaseMark
from kb_dr.domain.dump_contents import DumpContents
from kb_dr.domain.fingerprint import TableFingerprint
from kb_dr.domain.load_plan import LoadPlan, LocalDump, StoredDump
from kb_dr.domain.manifest import Source
from kb_dr.domain.proof import Phase
from kb_dr.domain.select_entries import Selection
from kb_dr.domain.service_commands import Command
from kb_dr.domain.sql_dump import table_of
from kb_dr.errors import (
    ChecksumMismatch,
    KbDrError,
    NotEnoughSpace,
    RecoveryError,
    ServiceUnhealthy,
)
from kb_dr.operations.check_loaded import check_rows, check_structure
from kb_dr.operations.fetch_backup import fetch_backup
from kb_dr.operations.phases import Phases
from kb_dr.operations.plan_load import with_contents
from kb_dr.operations.read_local_dump import trace_of
from kb_dr.operations.select_part import select_part
from kb_dr.operations.swap_database import swap_in
from kb_dr.ports import (
    Clock,
    Codec,
    DatabaseServer,
    DumpLoader,
    LoadTarget,
    Progress,
    Repository,
    ScratchSpace,
    ServiceControl,
)

logger = logging.getLogger("kb_dr.load")


@dataclass(frozen=True, slots=True)
class LoadSurroundings:
    """What a load works with."""

    repository: Repository | None
    """Of the copy that is read; None for a local file."""
    codec: Codec | None
    server: DatabaseServer
    target: LoadTarget
    loader: DumpLoader
    scratch: ScratchSpace
    control: ServiceControl
    clock: Clock
    connection: dict[str, str]
    """KB_DB_HOST, KB_DB_PORT and KB_DB_USER of the server, for the command that migrates."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A database that holds what was dumped."""

    plan: LoadPlan
    database: str
    """What it is called now."""
    compared: str
    """What it was held against, for people."""
    sessions_ended: int
    phases: tuple[Phase, ...]
    notes: tuple[str, ...]
    started: datetime
    finished: datetime


def load_dump(plan: LoadPlan, here: LoadSurroundings, progress: Progress) -> Loaded:
    """Carry out a plan: a new database beside, complete and compared, or in another one's place.

    Whatever goes wrong, KeyboardInterrupt included, the database that was made is dropped, and
    the hint says what became of the service. Raises what is wrong with the dump (ChecksumMismatch,
    ObjectMissing, LoadFailed), with the server (TargetLacks, PostgresError, RecoveryError), and
    what swap_in() raises.
    """
    started = here.clock.now()
    with here.control.uninterrupted():
        work = _Loading(plan, here, progress)
        ended = work.run()
    return Loaded(
        work.plan,
        plan.replaces or plan.made,
        work.compared,
        ended,
        work.phases.done,
        (*plan.notes, *work.notes),
        started,
        here.clock.now(),
    )


class _Loading:
    def __init__(self, plan: LoadPlan, here: LoadSurroundings, progress: Progress) -> None:
        self.plan = plan
        self._here = here
        self._progress = progress
        self.phases = Phases(here.clock)
        self.notes: list[str] = []
        self.compared = ""
        self._marked = False
        self._mark = DatabaseMark(secrets.token_hex(8), plan.named, complete=False, kept=plan.kept)

    def run(self) -> int:
        """Every step; how many sessions were ended."""
        with self._here.scratch.area("load") as area:
            archive, contents = self._archive(area.root / "archive.dump")
            chosen = None if contents is None else select_part(contents, self.plan.part)
            if chosen is not None:
                self.notes += chosen.notes
            if contents is not None:
                wanted = _extensions(contents, chosen)
                self.plan = with_contents(self.plan, wanted, self._here.server.look())
            self._require_same_server()
            with self._made():
                self._load(archive, contents, chosen)
                self._compare(chosen)
                self._settle()
        if self.plan.replaces is None:
            return 0
        return swap_in(
            self.plan,
            self._here.server,
            self._here.control,
            self.phases,
            dropped=lambda: self._drop(f"swapped for {self.plan.replaces}"),
            notes=self.notes,
        )

    def _require_same_server(self) -> None:
        """What was planned, and consented to, was of one server: an address may lead elsewhere."""
        seen = self._here.server.look().system_identifier
        if seen != self.plan.system_identifier:
            raise RecoveryError(
                f"restore into {self.plan.server}: it is a server with system identifier {seen}, "
                f"expected {self.plan.system_identifier}, which was planned for",
                hint="Nothing was changed. Its address leads to another server than before: find "
                "out why, then plan again.",
            )

    def _archive(self, spool: Path) -> tuple[Path, DumpContents | None]:
        """Something pg_restore or psql reads, all of it held against its digests."""
        what, here = self.plan.what, self._here
        if isinstance(what, LocalDump):
            if trace_of(what.path) != what.trace:
                raise ChecksumMismatch(
                    f"restore {what.path}: it has changed since it was read",
                    hint="Nothing was changed. Run it again once nothing writes to it.",
                )
            return what.path, what.contents
        if here.repository is None or here.codec is None:
            raise RecoveryError(f"fetch {self.plan.named}: no copy to read it from")
        with self.phases.measured("fetch, unpack and check", what.manifest.stored_bytes):
            try:
                with spool.open("xb") as sink:
                    fetch_backup(
                        here.repository, here.codec, what.manifest, sink, progress=self._progress
                    )
            except OSError as error:
                raise NotEnoughSpace(
                    f"write {spool.name} into the scratch directory: {error.strerror}",
                    hint="Nothing was changed. Make room there, or point KB_DR_SCRATCH_DIR "
                    "elsewhere.",
                ) from error
        return spool, here.loader.contents(spool)

    @contextmanager
    def _made(self) -> Iterator[None]:
        """The new database, marked; dropped when the block fails."""
        here, plan = self._here, self.plan
        if plan.make_roles:
            here.target.create_roles(plan.make_roles)
        with self.phases.measured("create the database"):
            here.server.create(plan.made, plan.shape)
        try:
            here.target.mark(plan.made, self._mark)
            self._marked = True
            yield
        except BaseException as error:
            here.control.defer_interrupts()
            said = self._drop("dropped")
            if isinstance(error, KbDrError):
                error.hint = f"{said} {error.hint}"
            else:
                logger.warning("%s", said)
            raise

    def _drop(self, why: str) -> str:
        """Drop what was made, and nothing else; what to say of it."""
        here, made = self._here, self.plan.made
        try:
            found = here.target.marks().get(made)
            if self._marked and (found is None or found.token != self._mark.token):
                return f"Database {made} is not ours any more ({why}): it is left alone."
            here.server.drop(made)
        except KbDrError as error:
            return f"Database {made} could not be dropped ({error}): drop it by hand."
        return f"Database {made} was dropped again; nothing else was changed."

    def _load(self, archive: Path, contents: DumpContents | None, chosen: Selection | None) -> None:
        here, plan, part = self._here, self.plan, self.plan.part
        logger.info("load %s into database %s", plan.named, plan.made)
        if contents is None:
            with self.phases.measured("load"):
                self._run_sql(archive)
            return
        needed = plan.extensions
        if chosen is not None:
            taken = _extensions(contents, chosen)
            needed = {name: each for name, each in needed.items() if name in taken}
        with self.phases.measured("create extensions"):
            self.notes += here.server.create_extensions(
                plan.made, needed, contents.extension_schemas
            )
        with self.phases.measured("load"):
            self.notes += here.loader.load(
                archive,
                plan.made,
                jobs=part.jobs,
                entries=None if chosen is None else chosen.entries,
                owners=part.owners,
                grants=part.grants,
            )

    def _run_sql(self, file: Path) -> None:
        what = self.plan.what
        compressed = isinstance(what, LocalDump) and what.compressed
        try:
            with gzip.open(file, "rb") if compressed else file.open("rb") as sql:
                self._here.loader.run_sql(sql, self.plan.made)
        except (OSError, EOFError) as error:
            raise ChecksumMismatch(f"read {file}: {error}") from error

    def _compare(self, chosen: Selection | None) -> None:
        here, plan = self._here, self.plan
        source = _source_of(plan)
        with (
            self.phases.measured("compare with what was recorded"),
            here.server.inspect(plan.made, source) as look,
        ):
            tables, seed = _recorded(plan)
            if chosen is not None:
                tables = tuple(each for each in tables if table_of(each.table) in chosen.tables)
            self.compared = check_rows(look, tables, seed, made=plan.made, named=plan.named)
            if chosen is not None and tables and len(tables) < len(chosen.tables):
                self.compared += f"; {len(chosen.tables) - len(tables)} others were not compared"
        with self.phases.measured("analyze"):
            here.server.analyze(plan.made)
        with (
            self.phases.measured("look at indexes and schema"),
            here.server.inspect(plan.made, source) as look,
        ):
            self.notes += check_structure(look, source, whole=chosen is None, made=plan.made)
            if plan.part.is_whole:
                self._check_schema(look.schema_version())

    def _check_schema(self, found: str | None) -> None:
        """The recorded version exactly; then what the application expects."""
        plan = self.plan
        what = plan.what
        recorded: str | None = None
        if isinstance(what, StoredDump):
            recorded = what.manifest.source.schema_version
        elif what.head is not None:
            recorded = what.head.schema_version
        if recorded is not None and found != recorded:
            raise ServiceUnhealthy(
                f"check the schema of {plan.made}: version {found or 'none'}, expected {recorded}"
            )
        if plan.expected_schema is None or found == plan.expected_schema:
            self.notes.append(f"schema version {found or 'none'}")
            return
        seen = f"schema version {found or 'none'}, the application expects {plan.expected_schema}"
        if plan.replaces is None:
            self.notes.append(f"WARNING: {seen}")

    def _settle(self) -> None:
        """The schema the application expects, and the mark that it is complete."""
        here, plan = self._here, self.plan
        if plan.replaces is not None:
            self._migrate()
        here.target.mark(plan.made, replace(self._mark, complete=True))

    def _migrate(self) -> None:
        here, plan = self._here, self.plan
        if plan.expected_schema is None:
            return
        if self._schema_version() == plan.expected_schema:
            return
        with self.phases.measured("migrate"):
            here.control.run(Command.MIGRATIONS, {**here.connection, "KB_DB_NAME": plan.made})
        found = self._schema_version()
        if found != plan.expected_schema:
            raise ServiceUnhealthy(
                f"check the schema of {plan.made}: version {found or 'none'}, expected "
                f"{plan.expected_schema}",
                hint=f"Let {Command.MIGRATIONS} bring it there, or restore without --replace.",
            )

    def _schema_version(self) -> str | None:
        with self._here.server.inspect(self.plan.made, _source_of(self.plan)) as look:
            return look.schema_version()


def _extensions(contents: DumpContents, chosen: Selection | None) -> list[str]:
    return [
        each.name
        for each in contents.entries
        if each.kind == "EXTENSION" and (chosen is None or each.id in chosen.entries)
    ]


def _recorded(plan: LoadPlan) -> tuple[tuple[TableFingerprint, ...], str]:
    """What every table has to be, and the seed of the samples."""
    what = plan.what
    if isinstance(what, StoredDump):
        fingerprint = what.manifest.fingerprint
        return fingerprint.tables, fingerprint.restore_point
    return tuple(
        TableFingerprint(name, rows, (), (), ()) for name, rows in (what.rows or {}).items()
    ), ""


def _source_of(plan: LoadPlan) -> Source:
    """What is known of the source; of a file that is little."""
    what = plan.what
    if isinstance(what, StoredDump):
        return what.manifest.source
    return Source(
        host="",
        system_identifier=0,
        server_version=what.major * 10000,
        segment_bytes=0,
        database=plan.made,
        data_checksums=False,
        extensions=dict(plan.extensions),
        schema_version=None,
        settings={},
        size_bytes=what.size_bytes,
    )
