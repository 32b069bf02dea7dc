"""Prove one copy of one backup: restore it into scratch, look, and leave a record.

The record is stored whatever the verdict, and only after the scratch cluster is gone. A run
that was interrupted, or that met an error of our own making, leaves none: nothing is never green.
"""

import logging
import secrets
import socket
from datetime import UTC, datetime, timedelta

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest, manifest_digest
from kb_dr.domain.proof import Check, Outcome, Proof, Verdict, judge
from kb_dr.domain.recovery import RecoveryPlan, Replay, WorkArea
from kb_dr.domain.verdicts import verdict_of
from kb_dr.errors import (
    BrokenChain,
    KbDrError,
    NotProven,
    NoUsableBackup,
    RepositoryError,
    UnreadableRecord,
)
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.check_heartbeat import check_heartbeat
from kb_dr.operations.check_restored import (
    check_at_restore_point,
    check_at_tip,
    check_page_checksums,
)
from kb_dr.operations.newest_backup import newest_backup
from kb_dr.operations.phases import Phases
from kb_dr.operations.plan_recovery import plan_recovery
from kb_dr.operations.proof_run import Evidence, Loading, ProofRun
from kb_dr.operations.proofs import load_proofs, store_proof_in
from kb_dr.operations.recover import recovered, require_clean_shutdown
from kb_dr.operations.restore_files import restore_files
from kb_dr.operations.verify_dump import prove_dump
from kb_dr.ports import (
    Clock,
    Codec,
    PostgresHost,
    Progress,
    Repository,
    RestoredServer,
    ScratchSpace,
    ServerInspector,
)

logger = logging.getLogger(__name__)


def verify_backup(
    repository: Repository,
    codec: Codec,
    host: PostgresHost,
    scratch: ScratchSpace,
    inspector: ServerInspector,
    clock: Clock,
    progress: Progress,
    *,
    backup: BackupId | None,
    also_store_in: Repository | None = None,
    plan: RecoveryPlan | None = None,
    loading: Loading | None = None,
) -> Proof:
    """Restore a backup (None: the newest of this copy) from ``repository``, and judge the copy.

    With a ``plan`` of that backup it is carried out as it is, to a target or to the end. A dump
    is loaded with ``loading`` (None: it cannot be proven here). The proof is kept in this copy
    and in ``also_store_in``. Raises NoUsableBackup when the copy holds no such backup, and what
    the repository raises when it cannot even be asked for one; everything later becomes a
    verdict: FAILED when the copy is bad, NOT_PROVEN when the proof could not run.
    """
    started = clock.now()
    chosen = backup or newest_backup(repository)
    evidence = Evidence(Phases(clock))

    def planned(stored: StoredManifest) -> RecoveryPlan:
        if plan is not None and plan.stored.digest == stored.digest:
            return plan
        return plan_recovery(repository, codec, stored, clock, where_purged=True)

    run = ProofRun(
        repository, codec, host, scratch, inspector, progress, evidence, planned, loading
    )
    try:
        stored = _manifest(run, chosen)
        prove = prove_dump if stored.manifest.is_dump else _prove
        verdict, reason = prove(run, stored)
    except BrokenChain as error:
        verdict, reason = _judged(error, evidence)
    except NoUsableBackup:
        raise
    except (KbDrError, OSError) as error:
        verdict, reason = _judged(error, evidence)
    places = (repository,) if also_store_in is None else (repository, also_store_in)
    started, finished = _in_order(started, clock.now(), places, chosen, evidence)
    proof = Proof(
        schema_version=records.SCHEMA_VERSION,
        id=f"{started.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
        backup_id=str(chosen),
        manifest_digest=evidence.digest,
        copy=repository.name,
        url=repository.url,
        started=started,
        finished=finished,
        verdict=verdict,
        reason=reason,
        checks=tuple(evidence.checks),
        phases=evidence.phases.done,
        reach=evidence.reach,
        tools=evidence.tools,
        host=socket.gethostname(),
        chain=tuple(each.digest for each in evidence.chain),
    )
    store_proof_in(places, proof)
    return proof


def _manifest(run: ProofRun, backup: BackupId) -> StoredManifest:
    """Read what is to be proven; NotProven for a manifest that only a newer kb_dr can read."""
    with run.evidence.phases.measured("read manifest"):
        try:
            stored = read_manifest(run.repository, backup)
        except UnreadableRecord as error:
            body = run.repository.read(layout.manifest_key(backup))
            if (records.schema_version_of(body) or 0) > records.SCHEMA_VERSION:
                run.evidence.digest = manifest_digest(body)
                raise NotProven(str(error), hint=error.hint) from error
            raise
    run.evidence.digest = stored.digest
    return stored


def _prove(run: ProofRun, stored: StoredManifest) -> tuple[Verdict, str]:
    manifest, evidence = stored.manifest, run.evidence
    run.host.check(manifest.source)
    evidence.tools |= run.host.tools(manifest.source)
    with evidence.phases.measured("plan"):
        plan = run.planned(stored)
    if len(plan.chain) > 1:
        evidence.chain = plan.chain
        run.host.check(manifest.source, combines=plan.combines)
    with evidence.phases.measured("read what else is named"):
        _read_extras(run, plan)
    with run.scratch.area("proof") as area:
        run.require_room(manifest, area, plan.bytes_needed)
        restore_files(
            run.repository, run.codec, run.host, plan.fetched, area, evidence.phases, run.progress
        )
        _recover_and_look(run, plan, area)
    return judge(evidence.checks, evidence.reach)


def _read_extras(run: ProofRun, plan: RecoveryPlan) -> None:
    """What a restore needs besides the tars: a copy that has lost it is no whole copy."""
    for manifest in plan.fetched:
        if manifest.postgres_manifest is not None:
            run.repository.get(manifest.postgres_manifest)
    if plan.configuration is not None:
        run.codec.decode(run.repository.get(plan.configuration))


def _recover_and_look(run: ProofRun, plan: RecoveryPlan, area: WorkArea) -> None:
    manifest, evidence = plan.stored.manifest, run.evidence

    def paused(server: RestoredServer, _: Replay) -> None:
        with run.inspector.look_into(server, manifest.source) as look:
            evidence.checks += check_at_restore_point(look, manifest)

    run.progress.begin("replay and check")
    try:
        with recovered(
            plan,
            run.repository,
            run.codec,
            run.host,
            area,
            evidence.phases,
            at_restore_point=paused,
        ) as opened:
            evidence.reach = opened.reach
            with (
                evidence.phases.measured("checks", manifest.source.size_bytes),
                run.inspector.look_into(opened.server, manifest.source) as look,
            ):
                evidence.checks += check_at_tip(look, manifest, combined=plan.combines)
                evidence.checks.append(check_heartbeat(look, opened.reach))
            with evidence.phases.measured("shut down"):
                opened.server.stop()
        require_clean_shutdown(plan, run.host, area)
        with evidence.phases.measured("page checksums", manifest.source.size_bytes):
            evidence.checks.append(
                check_page_checksums(
                    manifest, lambda: run.host.verify_checksums(area.data, manifest.source)
                )
            )
    finally:
        run.progress.end()


def _judged(error: KbDrError | OSError, evidence: Evidence) -> tuple[Verdict, str]:
    """What an error that ended the proof says, beside what was seen before it."""
    red = [check for check in evidence.checks if check.outcome is Outcome.FAILED]
    if isinstance(error, KbDrError):
        verdict, seen = verdict_of(error), str(error)
    else:
        verdict, seen = Verdict.NOT_PROVEN, f"{error.strerror or error}"
    failed = verdict is Verdict.FAILED
    evidence.checks.append(
        Check("restore", Outcome.FAILED if failed else Outcome.COULD_NOT_RUN, seen)
    )
    if red:
        return Verdict.FAILED, f"{red[0].name}: {red[0].seen}"
    return verdict, seen


def _in_order(
    started: datetime,
    finished: datetime,
    places: tuple[Repository, ...],
    backup: BackupId,
    evidence: Evidence,
) -> tuple[datetime, datetime]:
    """Times at which this proof is the newest of its backup, also on a clock that was set back.

    Else an older green would outlive this red.
    """
    known: list[datetime] = []
    for place in places:
        try:
            known += [proof.finished for proof in load_proofs(place, backup)]
        except RepositoryError as error:
            logger.warning("older proofs of %s in %s: %s", backup, place.name, error)
    newest = max(known, default=None)
    if newest is None or newest < finished:
        return started, finished
    shift = newest - finished + timedelta(microseconds=1)
    seen = f"this host's clock stands before the last proof, of {newest.isoformat()}"
    evidence.checks.append(Check("clock", Outcome.COULD_NOT_RUN, seen, needed=False))
    return started + shift, finished + shift
