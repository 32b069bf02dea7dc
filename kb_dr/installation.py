"""An installation: the verbs, plugged into the adapters its settings name.

The command line and Dagster call the same methods, so that what runs unattended is what a person
can run by hand. Nothing is opened before it is used.
"""

import logging
import secrets
import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kb_dr import wiring
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.control import ALL, ControlRun, Damage, in_order, void_through
from kb_dr.domain.finding import Finding
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Outcome, Proof, Standing, standing
from kb_dr.domain.status import Status
from kb_dr.errors import (
    KbDrError,
    NoUsableBackup,
    PostgresError,
    RecoveryError,
    RepositoryError,
    RepositoryUnavailable,
)
from kb_dr.operations import catalog as catalogs
from kb_dr.operations.audit_wal import WalAudit, audit_wal, clusters_present, stored_segment_bytes
from kb_dr.operations.base_backup import BackupTools, take_base_backup
from kb_dr.operations.catalog import CatalogEntry, Unreadable
from kb_dr.operations.copy_offsite import BackupCopy, copy_backup
from kb_dr.operations.copy_partials import copy_partials
from kb_dr.operations.copy_wal import WalCopy, follow_wal, recent_wal
from kb_dr.operations.initialise import Marker, check_marker, init_repository
from kb_dr.operations.name_backup import next_backup_id
from kb_dr.operations.validate_backup import Validation, validate_backup
from kb_dr.ports import (
    Clock,
    Codec,
    HeartbeatTable,
    PostgresHost,
    Progress,
    Repository,
    ScratchSpace,
    SourceServer,
)
from kb_dr.settings import Settings

if TYPE_CHECKING:
    from kb_dr.domain.drill import Drill
    from kb_dr.domain.recoverable_window import RecoverableWindow
    from kb_dr.domain.recovery import RecoveryPlan
    from kb_dr.domain.recovery_target import PointTarget
    from kb_dr.domain.replacement import Replacement
    from kb_dr.operations.plan_replacement import ReplacePlan
    from kb_dr.operations.plan_target import Planned, Wanted
    from kb_dr.operations.replace_postgres import Replaced, Surroundings
    from kb_dr.operations.restore_postgres import Restored, RestorePlan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BackupOverview:
    """One line of `kb-dr list`."""

    id: str
    digest: str | None
    finished: datetime | None
    postgres: int | None
    """``server_version_num``."""
    plain_bytes: int | None
    stored_bytes: int | None
    standings: dict[str, Standing]
    """Copy to standing; a copy that is not there is not named."""
    unreadable: str | None
    """Why the manifest cannot be read; None when it can."""


class Installation:
    """One service under protection, with its repositories and this machine."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or wiring.clock()

    # --- where things are ---------------------------------------------------------------

    @property
    def copies(self) -> tuple[str, ...]:
        """The repositories configured."""
        return ("primary",) if self.settings.offsite is None else ("primary", "offsite")

    @cached_property
    def primary(self) -> Repository:
        """Where backups and WAL go first."""
        return wiring.repository(self.settings, "primary")

    @cached_property
    def offsite(self) -> Repository:
        """The copy in another region; ConfigurationError when none is configured."""
        return wiring.repository(self.settings, "offsite")

    def repository(self, copy: str) -> Repository:
        """The repository of that name, known to be this service's."""
        return self.primary if copy == "primary" else self.offsite

    def checked(self, copy: str) -> Repository:
        """The repository of that name, its marker read: never another service's, never empty."""
        found = self.repository(copy)
        check_marker(found, service=self.settings.service, org=self.settings.org)
        return found

    @cached_property
    def codec(self) -> Codec:
        """Compression and encryption."""
        return wiring.codec(self.settings)

    @cached_property
    def source(self) -> SourceServer:
        """The PostgreSQL under protection."""
        return wiring.source(self.settings)

    @cached_property
    def host(self) -> PostgresHost:
        """PostgreSQL's programs on this machine."""
        return wiring.host(self.settings)

    @cached_property
    def scratch(self) -> ScratchSpace:
        """Where proofs restore to."""
        return wiring.scratch(self.settings)

    @cached_property
    def heartbeat(self) -> HeartbeatTable:
        """The heartbeat's table in the source."""
        return wiring.heartbeat(self.settings)

    # --- verbs --------------------------------------------------------------------------

    def initialise(self, copy: str) -> Marker:
        """Make one repository ready; its directory is made, a bucket must be there."""
        wiring.make_place(self.settings, copy)
        return init_repository(
            self.repository(copy), self.clock, service=self.settings.service, org=self.settings.org
        )

    def new_backup_id(self) -> BackupId:
        """The id a full backup that starts now will have; later than every one there is."""
        return next_backup_id(self.checked("primary"), self.settings.service, self.clock.now())

    def back_up(self, backup: BackupId | None, progress: Progress) -> StoredManifest:
        """Take one full backup into the primary repository."""
        stored = take_base_backup(
            self.checked("primary"),
            self.codec,
            self.source,
            wiring.base_backup_program(self.settings),
            self.clock,
            progress,
            BackupTools(
                service=self.settings.service,
                org=self.settings.org,
                host=socket.gethostname(),
                critical_tables=self.settings.critical_tables,
                chunk_bytes=self.settings.chunk_bytes,
                transfers=self.settings.transfers,
                wal_deadline_seconds=self.settings.wal_deadline_seconds,
            ),
            backup=backup,
        )
        self._sweep_after(stored)
        return stored

    def _sweep_after(self, stored: StoredManifest) -> None:
        """Remove what earlier tries left; trouble with it never spoils a good backup."""
        try:
            for prefix in self.sweep(dry_run=False):
                logger.info("removed %s, left by an unfinished backup", prefix)
        except KbDrError as error:
            logger.warning("sweep after %s: %s", stored.manifest.id, error)

    def copy_offsite(self, backup: BackupId, progress: Progress) -> BackupCopy:
        """Bring one backup and the WAL it needs to the offsite repository."""
        return copy_backup(
            self.checked("primary"),
            self.checked("offsite"),
            self.codec,
            backup,
            progress,
            parallel=self.settings.transfers,
        )

    def copy_wal(self, progress: Progress, *, everything: bool = False) -> tuple[WalCopy, ...]:
        """Bring over all WAL the offsite repository lacks, of each cluster.

        ``everything`` compares both archives from end to end; otherwise what is older than the
        newest copied backup is taken as brought already. Look at each ``problems``.
        """
        primary, offsite = self.checked("primary"), self.checked("offsite")
        done = []
        for cluster in clusters_present(primary):
            since = "" if everything else recent_wal(offsite, cluster)
            done.append(
                follow_wal(
                    primary,
                    offsite,
                    self.codec,
                    cluster,
                    progress,
                    since=since,
                    parallel=self.settings.transfers,
                )
            )
            # After the full segments: what was streamed is of use only behind them.
            copy_partials(primary, offsite, self.codec, cluster, since=since)
        return tuple(done)

    def stream_wal(
        self, *, slot: str | None = None, every_seconds: float = 2.0, accept_gap: bool = False
    ) -> NoReturn:
        """Receive WAL from the source and ship it to every copy, until interrupted."""
        from kb_dr.operations.stream_wal import StreamSettings, stream_wal

        name = slot or self.settings.stream_slot
        stream_wal(
            wiring.source(replace(self.settings, stream_slot=name)),
            wiring.wal_receiver(self.settings),
            [self.repository(copy) for copy in self.copies],
            self.codec,
            self.clock,
            StreamSettings(
                directory=self.settings.state_dir / "wal-stream" / name,
                slot=name,
                every_seconds=every_seconds,
                accept_gap=accept_gap,
            ),
            check=self._check,
        )

    def _check(self, repository: Repository) -> None:
        check_marker(repository, service=self.settings.service, org=self.settings.org)

    def validate(
        self, backup: BackupId, copy: str, *, deep: bool, progress: Progress
    ) -> Validation:
        """Look at every object of one backup in one copy."""
        return validate_backup(
            self.checked(copy),
            self.codec,
            backup,
            progress,
            deep=deep,
            parallel=self.settings.transfers,
        )

    def audit_wal(
        self, copy: str, *, deep: bool = False, progress: Progress | None = None
    ) -> tuple[WalAudit, ...]:
        """Walk the WAL archive of each cluster in one copy."""
        repository = self.checked(copy)
        return tuple(
            audit_wal(
                repository,
                system_identifier=cluster,
                segment_bytes=stored_segment_bytes(repository, self.codec, cluster),
                codec=self.codec,
                deep=deep,
                progress=progress,
                transfers=self.settings.transfers,
            )
            for cluster in clusters_present(repository)
        )

    def verify(self, wanted: BackupId | None, copy: str, progress: Progress) -> Proof:
        """Restore a backup (None: the newest) from one copy into scratch, and leave a proof."""
        from kb_dr.operations.verify import verify_backup

        with self._patient(self.checked(copy)) as repository:
            return verify_backup(
                repository,
                self.codec,
                self.host,
                self.scratch,
                wiring.inspector(),
                self.clock,
                progress,
                backup=wanted,
                also_store_in=self._other_than(copy),
            )

    def run_controls(
        self,
        wanted: BackupId | None,
        copy: str,
        progress: Progress,
        *,
        damages: Sequence[Damage] = tuple(Damage),
    ) -> ControlRun:
        """Hand the verifier damaged copies of a backup (None: the newest proven) of one copy."""
        from kb_dr.operations.run_controls import ControlTools, run_controls

        other = self._other_than(copy)
        tools = ControlTools(
            codec=self.codec,
            stranger=wiring.stranger(),
            host=self.host,
            scratch=self.scratch,
            inspector=wiring.inspector(),
            damager=wiring.damager(),
            overlay=wiring.overlay,
            clock=self.clock,
        )
        with self._patient(self.checked(copy)) as repository:
            return run_controls(
                repository,
                tools,
                progress,
                backup=wanted,
                damages=damages,
                also_store_in=() if other is None else (other,),
            )

    def _other_than(self, copy: str) -> Repository | None:
        """The other repository, to keep a proof of this one in as well: a red one above all.

        None while it is down: that is when a proof of this copy is wanted most.
        """
        other = next((each for each in self.copies if each != copy), None)
        if other is None:
            return None
        try:
            return self.checked(other)
        except RepositoryError as error:
            logger.warning("proofs of %s are not kept in %s: %s", copy, other, error)
            return None

    def plan_recovery(self, wanted: "Wanted", copy: str | None) -> "Planned":
        """The recovery that gives what is wanted, from one copy or the first that can give it.

        Raises what plan_target() raises; of several copies that cannot, the first one's error,
        which then says of each why.
        """
        from kb_dr.operations.plan_target import plan_target

        failures: list[tuple[str, KbDrError]] = []
        for name in self.copies if copy is None else (copy,):
            try:
                planned = plan_target(self.checked(name), self.codec, self.clock, wanted)
            except (RepositoryError, RecoveryError, PostgresError) as error:
                failures.append((name, error))
                continue
            return _with_reason(planned, copy, failures)
        first = failures[0][1]
        if len(failures) == 1:
            raise first
        others = "; ".join(f"{name}: {error}" for name, error in failures[1:])
        raise type(first)(f"{first}; {others}", hint=first.hint) from first

    def recovery_windows(self, copy: str | None = None) -> "tuple[RecoverableWindow, ...]":
        """What one copy, or each that answers, can be recovered to.

        Raises what list_recovery_windows() raises when no copy answers.
        """
        from kb_dr.operations.recovery_windows import list_recovery_windows

        found: list[RecoverableWindow] = []
        failure: KbDrError | None = None
        asked = self.copies if copy is None else (copy,)
        failed = 0
        for name in asked:
            try:
                found += list_recovery_windows(self.checked(name), self.codec)
            except KbDrError as error:
                failure, failed = failure or error, failed + 1
        if failure is not None and failed == len(asked):
            raise failure
        return tuple(found)

    def plan_restore(self, wanted: "Wanted", copy: str | None, target: Path) -> "RestorePlan":
        """What restore() would do; refuses what it would refuse, and changes nothing."""
        from kb_dr.operations.restore_postgres import plan_restore

        plan = plan_restore(
            self.plan_recovery(wanted, copy),
            self.host,
            target,
            production=self.settings.source.data_directory,
        )
        return self._with_forecast(plan)

    def _with_forecast(self, plan: "RestorePlan") -> "RestorePlan":
        """How long it is going to take, by what was measured."""
        from kb_dr.domain.forecast import RestoreWork, forecast, measured_runs
        from kb_dr.operations.status import gather_proofs

        recovery = plan.recovery
        # Of this copy alone: the other one may be what is down.
        proofs, _ = gather_proofs([self.repository(recovery.copy)])
        work = RestoreWork.of(recovery.stored.manifest, len(recovery.segments))
        measured = measured_runs(proof for each in proofs.values() for proof in each)
        return replace(plan, forecast=forecast(work, measured, copy=recovery.copy, checked=False))

    def restore(self, plan: "RestorePlan", progress: Progress) -> "Restored":
        """Carry out a plan: a promoted, stopped cluster in a new directory."""
        from kb_dr.operations.restore_postgres import restore_postgres

        with self._patient(self.repository(plan.recovery.copy)) as repository:
            return restore_postgres(
                plan, repository, self.codec, self.host, self.scratch, self.clock, progress
            )

    def _patient(self, repository: Repository) -> AbstractContextManager[Repository]:
        """A repository that may go away for a while once work on it has begun."""
        from kb_dr.operations.patient_reads import patient_reads

        return patient_reads(
            repository, self.clock, patience_seconds=self.settings.restore_patience_seconds
        )

    def plan_replacement(self, wanted: "Wanted", copy: str | None, target: Path) -> "ReplacePlan":
        """What replace() would do; refuses what it would refuse, and changes nothing."""
        from kb_dr.operations.plan_replacement import plan_replacement

        plan = plan_replacement(
            self.plan_recovery(wanted, copy),
            self.host,
            wiring.standing_clusters(),
            wiring.service_control(self.settings),
            wiring.service_database(self.settings),
            self.clock,
            target,
            service=self.settings.service,
            production=self.settings.source.data_directory,
        )
        return replace(plan, restore=self._with_forecast(plan.restore))

    def replace(self, plan: "ReplacePlan", progress: Progress) -> "Replaced":
        """Carry out a plan: the service runs on the restored cluster, or as it did before."""
        from kb_dr.operations.replace_postgres import replace_postgres

        with self._patient(self.repository(plan.restore.recovery.copy)) as repository:
            return replace_postgres(plan, self.around(repository), progress)

    def unfinished_replacement(self, target: Path) -> "Replacement | None":
        """The replacement of ``target`` that is at work or was killed, by its journal."""
        return wiring.standing_clusters().unfinished(target.absolute())

    def repair_replacement(self, target: Path) -> tuple[str, ...] | None:
        """Bring the old service back after a killed replacement; None when there was none."""
        from kb_dr.operations.replace_postgres import repair_replacement

        return repair_replacement(target, self.around(self.primary))

    def around(self, repository: Repository) -> "Surroundings":
        """What a replacement from one copy works with."""
        from kb_dr.operations.replace_postgres import Surroundings

        return Surroundings(
            repository,
            self.codec,
            self.host,
            self.scratch,
            wiring.standing_clusters(),
            wiring.service_control(self.settings),
            wiring.service_database(self.settings),
            self.clock,
        )

    def drill(
        self, copy: str | None, progress: Progress, *, seed: int | None, to_the_end: bool = False
    ) -> "Drill":
        """Recover one copy (None: the one drilled the longest ago) into scratch, keep the record.

        ``seed`` None: one is drawn, and stands in the record.
        """
        from kb_dr.domain.drill import copy_to_drill
        from kb_dr.operations.check_secrets import check_secrets
        from kb_dr.operations.drill import run_drill
        from kb_dr.operations.drill_records import store_drill
        from kb_dr.operations.verify import verify_backup

        name = copy or copy_to_drill(self.copies, self.drills())
        repository, other = self.checked(name), self._other_than(name)

        def prove(plan: "RecoveryPlan", target: "PointTarget | None") -> Proof:
            with self._patient(repository) as patient:
                return verify_backup(
                    patient,
                    self.codec,
                    self.host,
                    self.scratch,
                    wiring.inspector(),
                    self.clock,
                    progress,
                    backup=plan.stored.manifest.backup_id,
                    also_store_in=other,
                    target=target,
                    timeline=None if target is None else plan.timeline,
                )

        drill = run_drill(
            repository,
            self.codec,
            self.clock,
            prove,
            self.settings.objectives,
            seed=secrets.randbelow(1 << 32) if seed is None else seed,
            to_the_end=to_the_end,
            checklist=(*check_secrets(self, name), *self._void_by_now()),
            live_rpo_seconds=self._live_rpo(repository),
        )
        store_drill((repository,) if other is None else (repository, other), drill)
        return drill

    def _live_rpo(self, repository: Repository) -> float | None:
        """The RPO of one copy as a source that answers tells it; None when it does not."""
        from kb_dr.operations.status import take_status

        try:
            self.source.facts()
        except KbDrError:
            return None
        status = take_status(
            [repository],
            self.codec,
            self.clock,
            self.settings.objectives,
            service=self.settings.service,
            org=self.settings.org,
            source=self.source,
            heartbeat=self.settings.heartbeat,
        )
        return status.rpo[0].seconds

    def _void_by_now(self) -> tuple[Finding, ...]:
        """What a drill has to say for as long as no proof can be believed, its own least of all."""
        return (self.controls_held(),) if self.void_through() == ALL else ()

    def drills(self) -> "tuple[Drill, ...]":
        """Every drill, wherever its record is kept, oldest first; raises when none can be read."""
        from kb_dr.operations.drill_records import load_drills

        found: dict[str, Drill] = {}
        failure: KbDrError | None = None
        asked = 0
        for copy in self.copies:
            try:
                found |= {drill.id: drill for drill in load_drills(self.checked(copy))}
                asked += 1
            except RepositoryUnavailable as error:
                failure = error
        if failure is not None and not asked:
            raise failure
        return tuple(sorted(found.values(), key=lambda drill: (drill.started, drill.id)))

    def sweep(self, *, dry_run: bool) -> Sequence[str]:
        """Remove what unfinished backups left in the primary repository more than a day ago, and
        in every copy what was streamed of segments and is needed no more.
        """
        from kb_dr.operations.sweep import sweep
        from kb_dr.operations.sweep_partials import sweep_partials

        swept = list(sweep(self.checked("primary"), self.clock, dry_run=dry_run))
        for copy in self.copies:
            repository = self.checked(copy)
            for cluster in clusters_present(repository):
                swept += sweep_partials(repository, self.clock, cluster, dry_run=dry_run)
        return swept

    def reap(self) -> tuple[str, ...]:
        """Remove what killed restores left on this machine."""
        return self.scratch.reap()

    # --- what there is ------------------------------------------------------------------

    def catalog(self, copy: str) -> tuple[CatalogEntry, ...]:
        """Every backup of one copy, oldest first."""
        return catalogs.load_catalog(self.checked(copy))

    def find_backup(self, backup: BackupId) -> StoredManifest:
        """One backup's manifest, from the first copy that has it."""
        missing: NoUsableBackup | None = None
        for copy in self.copies:
            try:
                return catalogs.read_manifest(self.checked(copy), backup)
            except NoUsableBackup as error:
                missing = error
        assert missing is not None
        raise missing

    def is_offsite(self, stored: StoredManifest) -> bool:
        """Whether the offsite repository holds this very manifest."""
        try:
            there = catalogs.read_manifest(self.checked("offsite"), stored.manifest.backup_id)
        except NoUsableBackup:
            return False
        return there.digest == stored.digest

    def proofs(self, backup: BackupId) -> tuple[Proof, ...]:
        """Every proof of one backup, wherever it is kept, oldest first.

        A repository that does not answer is passed over only when the other does: proofs made of
        the offsite copy are kept in both.
        """
        from kb_dr.operations.proofs import load_proofs

        found: dict[str, Proof] = {}
        failure: KbDrError | None = None
        asked = 0
        for copy in self.copies:
            try:
                found |= {proof.id: proof for proof in load_proofs(self.checked(copy), backup)}
                asked += 1
            except RepositoryUnavailable as error:
                failure = error
        if failure is not None and not asked:
            raise failure
        return tuple(sorted(found.values(), key=lambda proof: (proof.finished, proof.id)))

    def controls_held(self) -> Finding:
        """Whether the negative controls of late allow anybody to believe a proof."""
        from kb_dr.operations.status import hold_controls

        return hold_controls(
            [self.repository(copy) for copy in self.copies],
            self.clock,
            self.settings.objectives,
            service=self.settings.service,
            org=self.settings.org,
        )

    def controls(self) -> tuple[ControlRun, ...]:
        """Every round of negative controls, wherever it is kept, oldest first.

        A repository that does not answer is passed over only when the other does. Raises
        UnreadableRecord for one that can be read nowhere: it may be that of a blind verifier.
        """
        from kb_dr.operations.controls import gather_control_runs

        places: list[Repository] = []
        problems: list[RepositoryError] = []
        for copy in self.copies:
            try:
                places.append(self.checked(copy))
            except RepositoryUnavailable as error:
                problems.append(error)
        gathered = gather_control_runs(places)
        problems += gathered.problems
        telling = [each for each in problems if not isinstance(each, RepositoryUnavailable)]
        if telling or len(problems) == len(self.copies):
            raise (telling or problems)[0]
        return tuple(in_order(gathered.runs))

    def void_through(self) -> datetime | None:
        """Up to when proofs are void. What nobody can tell is not proven: all of them then."""
        try:
            return void_through(self.controls())
        except RepositoryError as error:
            logger.warning("all proofs are taken for void: %s", error)
            return ALL

    def standings(self, stored: StoredManifest, copies: Sequence[str]) -> dict[str, Standing]:
        """Where each of these copies of one backup stands."""
        return self._standings(stored, copies, self.void_through())

    def _standings(
        self, stored: StoredManifest, copies: Sequence[str], void: datetime | None
    ) -> dict[str, Standing]:
        proofs = self.proofs(stored.manifest.backup_id)
        return {
            copy: standing(
                proofs,
                digest=stored.digest,
                copy=copy,
                url=self.repository(copy).url,
                void_through=void,
            )[0]
            for copy in copies
        }

    def overview(self, copy: str) -> tuple[BackupOverview, ...]:
        """The backups of one copy, with the standing of every copy."""
        void = self.void_through()
        return tuple(self._line(entry, copy, void) for entry in self.catalog(copy))

    def status(self) -> Status:
        """Can we recover now: each copy, the objectives, what a disaster would cost."""
        from kb_dr.operations.status import take_status

        status = take_status(
            [self.repository(copy) for copy in self.copies],
            self.codec,
            self.clock,
            self.settings.objectives,
            service=self.settings.service,
            org=self.settings.org,
            source=self.source,
            heartbeat=self.settings.heartbeat,
        )
        cut_off = self._replacement_cut_off()
        if cut_off is None:
            return status
        return replace(status, notes=(f"{cut_off.seen}: {cut_off.hint}", *status.notes))

    def diagnose(self) -> tuple[Finding, ...]:
        """Every setting and dependency, tested."""
        from kb_dr.operations.diagnose import diagnose

        cut_off = self._replacement_cut_off()
        return diagnose(self) if cut_off is None else (cut_off, *diagnose(self))

    def _replacement_cut_off(self) -> Finding | None:
        """What a replacement of the service's directory left, while it is there."""
        target = self.settings.source.data_directory
        found = None if target is None else self.unfinished_replacement(target)
        if found is None:
            return None
        return Finding(
            "replacement",
            Outcome.FAILED,
            f"a replacement of {target} is at work, or was cut off at: {found.step}",
            f"If none is at work: kb-dr restore --into {target} --roll-back --yes",
        )

    def _line(self, entry: CatalogEntry, copy: str, void: datetime | None) -> BackupOverview:
        if isinstance(entry, Unreadable):
            name = f"{self.settings.service}-{entry.kind}-{entry.stamp}"
            return BackupOverview(name, None, None, None, None, None, {}, entry.why)
        manifest = entry.manifest
        copies = [copy]
        if copy == "primary" and "offsite" in self.copies and self.is_offsite(entry):
            copies.append("offsite")
        return BackupOverview(
            id=manifest.id,
            digest=entry.digest,
            finished=manifest.finished,
            postgres=manifest.source.server_version,
            plain_bytes=manifest.plain_bytes,
            stored_bytes=manifest.stored_bytes,
            standings=self._standings(entry, copies, void),
            unreadable=None,
        )


def _with_reason(
    planned: "Planned", asked: str | None, failures: Sequence[tuple[str, KbDrError]]
) -> "Planned":
    """Say why this copy was read."""
    if asked is not None:
        why = f"read from {asked}: asked for"
    elif failures:
        name, error = failures[0]
        why = f"read from {planned.recovery.copy}: {name} cannot serve it: {error}"
    else:
        why = f"read from {planned.recovery.copy}: the nearest copy that holds it"
    recovery = replace(planned.recovery, notes=(why, *planned.recovery.notes))
    return replace(planned, recovery=recovery)


def open_installation(settings: Settings) -> Installation:
    """The installation these settings describe."""
    return Installation(settings)
