"""Prove one copy of a logical dump: load it into a new, empty cluster, and compare.

Nothing is replayed. What is proven is that the archive loads without an error that is not
expected, and that every recorded row is there as it was in the very snapshot of the dump.
"""

import io
import secrets
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from kb_dr.domain.dump import DumpFacts
from kb_dr.domain.dump_contents import DumpContents
from kb_dr.domain.forecast import ANALYZE, CHECKS, FETCH_DUMP, LOAD, PREPARE
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.proof import Check, Outcome, Verdict, judge_dump
from kb_dr.domain.reaching_out import reaching_out
from kb_dr.domain.role_statements import without_grantors, without_tablespaces
from kb_dr.errors import ChecksumMismatch, LoadFailed, NotProven, PostgresUnavailable, RecoveryError
from kb_dr.operations.check_dump import check_dump
from kb_dr.operations.check_restored import some
from kb_dr.operations.fetch_backup import fetch_backup
from kb_dr.operations.proof_run import Loading, ProofRun
from kb_dr.ports import DatabaseServer, DumpLoader, RestoredServer

DATABASE = "kb_dr_loaded"
"""A name of ours: the source's own may be one that every new cluster has already."""

_MAINTENANCE = "postgres"
_NEW_CLUSTER_BYTES = 64 * 2**20
_WAL_BYTES = 2**30
"""As much WAL as a scratch server keeps (max_wal_size)."""
_CRASHED = "was terminated by signal"
"""What the server logs when one of its processes died, and all others were ended with it."""


def prove_dump(run: ProofRun, stored: StoredManifest) -> tuple[Verdict, str]:
    """Load a dump into scratch, and judge it; what was seen is in ``run.evidence``.

    Raises what fetching and loading raise: the caller makes a verdict of it.
    """
    manifest, evidence = stored.manifest, run.evidence
    facts, loading = manifest.dump, run.loading
    if facts is None or loading is None:
        raise NotProven(f"verify {manifest.id}: dumps cannot be loaded here")
    run.host.check(manifest.source)
    evidence.tools |= run.host.tools(manifest.source)
    with evidence.phases.measured("read what else is named"):
        roles = _read_globals(run, manifest, facts)
    with run.scratch.area("proof") as area, ExitStack() as stack:
        run.require_room(manifest, area, room_to_load(manifest))
        archive = area.root / "archive.dump"
        _fetch(run, manifest, archive)
        with evidence.phases.measured(PREPARE):
            superuser = f"kb_dr_{secrets.token_hex(6)}"  # no role of the source is called so
            made = run.host.new_cluster(area, manifest.source, superuser=superuser)
            server = stack.enter_context(made)
        _load_and_look(run, manifest, loading, server, archive, roles)
    return judge_dump(evidence.checks, tables=len(manifest.fingerprint.tables))


def room_to_load(manifest: Manifest) -> int:
    """Bytes that the archive, the cluster made of it and its WAL take."""
    wal = min(_WAL_BYTES, manifest.plain_bytes)
    return manifest.plain_bytes + manifest.source.size_bytes + wal + _NEW_CLUSTER_BYTES


def _read_globals(run: ProofRun, manifest: Manifest, facts: DumpFacts) -> str:
    """Roles and tablespaces as statements; empty where the dump has none."""
    if facts.globals is None:
        return ""
    body = run.codec.decode(run.repository.get(facts.globals))
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise ChecksumMismatch(f"read the roles of {manifest.id}: {error.reason}") from error


def _fetch(run: ProofRun, manifest: Manifest, archive: Path) -> None:
    with (
        run.evidence.phases.measured(FETCH_DUMP, manifest.plain_bytes),
        archive.open("xb") as file,
    ):
        fetch_backup(run.repository, run.codec, manifest, file, progress=run.progress)
    # Whoever runs PostgreSQL's programs for us reads it; nobody else enters the area.
    archive.chmod(0o644)


def _load_and_look(
    run: ProofRun,
    manifest: Manifest,
    loading: Loading,
    scratch: RestoredServer,
    archive: Path,
    roles: str,
) -> None:
    evidence, source = run.evidence, manifest.source
    loader, server = loading.loader(scratch), loading.server(scratch)
    run.progress.begin("load and check")
    try:
        contents = loader.contents(archive)
        evidence.checks.append(_check_contents(manifest, contents))
        with evidence.phases.measured(LOAD, source.size_bytes):
            evidence.checks.append(_make_roles(manifest, loader, server, roles))
            evidence.checks.append(
                _load(manifest, contents, loading.jobs, loader, server, scratch, archive)
            )
        with evidence.phases.measured(ANALYZE, source.size_bytes):
            server.analyze(DATABASE)
        with (
            evidence.phases.measured(CHECKS, source.size_bytes),
            run.inspector.look_into(scratch, replace(source, database=DATABASE)) as look,
        ):
            evidence.checks += check_dump(look, manifest, contents)
    finally:
        evidence.tools |= loader.tools  # which they are shows as they are used
        run.progress.end()


def _check_contents(manifest: Manifest, contents: DumpContents) -> Check:
    """The archive is that of the database and server the manifest speaks of."""
    name, source = "contents", manifest.source
    seen = (
        f"{len(contents.entries)} entries of {contents.database}, PostgreSQL "
        f"{contents.server_version}, by pg_dump {contents.program_version}"
    )
    if not contents.entries:
        return Check(name, Outcome.FAILED, "the archive lists nothing")
    another = contents.database.isascii() and contents.database != source.database
    if another or contents.server_version.partition(".")[0] != str(source.major):
        expected = f"{source.database}, PostgreSQL {source.major}"
        return Check(name, Outcome.FAILED, f"{seen}, expected {expected}")
    return Check(name, Outcome.PASSED, seen)


def _make_roles(
    manifest: Manifest, loader: DumpLoader, server: DatabaseServer, roles: str
) -> Check:
    """The roles as they were; those nobody wrote down by their names alone."""
    name, wanted = "roles", set(manifest.dump.roles if manifest.dump else ())
    if roles:
        made = without_grantors(without_tablespaces(roles))
        loader.run_sql(io.BytesIO(made.encode()), _MAINTENANCE, of_roles=True)
    missing = sorted(wanted - set(server.look().roles))
    if missing:
        made = "".join(f"CREATE ROLE {_quoted(each)} NOLOGIN;\n" for each in missing)
        loader.run_sql(io.BytesIO(made.encode()), _MAINTENANCE, of_roles=True)
    if not wanted and not roles:
        return Check(name, Outcome.NOT_APPLICABLE, "nothing is owned or granted", needed=False)
    if missing:
        why = "are not among the roles that were dumped" if roles else "are known by name alone"
        seen = f"{some(missing)} {why}: made for this proof, without a password"
        return Check(name, Outcome.COULD_NOT_RUN, seen, needed=False)
    return Check(name, Outcome.PASSED, f"all {len(wanted)} that own or may do something")


def _load(
    manifest: Manifest,
    contents: DumpContents,
    jobs: int,
    loader: DumpLoader,
    server: DatabaseServer,
    scratch: RestoredServer,
    archive: Path,
) -> Check:
    try:
        server.create(DATABASE, manifest.dump.shape if manifest.dump else None)
        notes = server.create_extensions(
            DATABASE, manifest.source.extensions, contents.extension_schemas
        )
        outward = reaching_out(contents)
        entries = {each.id for each in contents.entries} - {each.id for each in outward}
        passed_over = loader.load(
            archive, DATABASE, jobs=jobs, entries=entries if outward else None
        )
    except (LoadFailed, PostgresUnavailable) as error:
        crash = next((line for line in scratch.log_tail().splitlines() if _CRASHED in line), None)
        if crash is None:
            raise
        # Out of memory, a library at odds with this machine: an archive crashes no server.
        raise RecoveryError(f"load {manifest.id}: the server crashed: {crash.strip()}") from error
    seen = [f"by {jobs} at once", *notes]
    if outward:
        names = some(f"{each.schema}.{each.name}" for each in outward)
        seen.append(f"left empty, because other servers would be asked: {names}")
    if passed_over:
        seen.append(f"expected errors passed over: {some(passed_over)}")
    return Check("loaded", Outcome.PASSED, "; ".join(seen))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
