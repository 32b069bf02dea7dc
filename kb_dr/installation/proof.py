"""What proves that a service can be brought back: verification, controls, drills."""

from __future__ import annotations

import secrets
import socket
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.finding import Finding
from kb_dr.errors import KbDrError
from kb_dr.installation.cataloguing import Cataloguing
from kb_dr.installation.pinging import Pinging, Work
from kb_dr.installation.recovery import Recovery

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kb_dr.domain.control import ControlRun, Damage
    from kb_dr.domain.drill import Drill
    from kb_dr.domain.proof import Proof
    from kb_dr.domain.recovery import RecoveryPlan
    from kb_dr.operations.proof_run import Loading
    from kb_dr.ports import Progress, Repository


class Proving(Recovery, Cataloguing, Pinging):
    """Restores into scratch, looks, and keeps what was seen."""

    def verify(self, wanted: BackupId | None, copy: str, progress: Progress) -> Proof:
        """Restore a backup (None: the newest) from one copy into scratch, and leave a proof."""
        named = None if wanted is None else str(wanted)
        with self.pinged("verify", copy, parts=self.copies, backup_id=named, copy=copy) as work:
            proof = self._prove(self.checked(copy), self._other_than(copy), progress, wanted)
            work.concerns(backup_id=proof.backup_id, proof_id=proof.id)
            self._say_unless_proven(proof, work)
            return proof

    def _say_unless_proven(self, proof: Proof, work: Work) -> None:
        from kb_dr.domain.proof import Verdict, is_void

        if proof.verdict is not Verdict.PROVEN:
            work.failed(f"{proof.verdict}: {proof.reason}")
            return
        try:
            if is_void(proof, self.void_through()):
                work.failed("PROVEN, but void: the verifier was shown to be blind")
        except KbDrError as error:
            work.failed(f"PROVEN, but nobody can tell whether it is void: {error}")
        if not work.problems and BackupId.parse(proof.backup_id).kind is BackupKind.DUMP:
            # Whoever waits for proofs waits for those of what a recovery needs.
            work.passed_over(f"{proof.backup_id}, a dump, is PROVEN: base backups are not by that")

    def _prove(
        self,
        repository: Repository,
        other: Repository | None,
        progress: Progress,
        backup: BackupId | None,
        plan: RecoveryPlan | None = None,
    ) -> Proof:
        from kb_dr.operations.verify import verify_backup

        with self._patient(repository) as patient:
            proof = verify_backup(
                patient,
                self.codec,
                self.host,
                self.scratch,
                wiring.inspector(),
                self.clock,
                progress,
                backup=backup,
                also_store_in=other,
                plan=plan,
                loading=self._loading(),
            )
        kept = (repository.name,) if other is None else (repository.name, other.name)
        self.note_in_catalog(BackupId.parse(proof.backup_id), *kept)
        return proof

    def newest_dump(self, copy: str) -> BackupId:
        """The newest logical dump of one copy."""
        from kb_dr.operations.newest_backup import newest_dump

        return newest_dump(self.checked(copy))

    def _loading(self) -> Loading:
        from kb_dr.operations.proof_run import Loading

        settings = self.settings
        return Loading(
            loader=lambda server: wiring.dump_loader(settings, wiring.scratch_address(server)),
            server=lambda server: wiring.database_server(settings, wiring.scratch_address(server)),
            jobs=settings.load_jobs,
        )

    def run_controls(
        self,
        wanted: BackupId | None,
        copy: str,
        progress: Progress,
        *,
        damages: Sequence[Damage] | None = None,
    ) -> ControlRun:
        """Hand the verifier damaged copies of a backup (None: the newest proven) of one copy.

        ``damages``: every kind there is, unless some are named.
        """
        from kb_dr.domain.control import Damage
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
            loading=self._loading(),
        )
        with self._patient(self.checked(copy)) as repository:
            return run_controls(
                repository,
                tools,
                progress,
                backup=wanted,
                damages=tuple(Damage) if damages is None else damages,
                also_store_in=() if other is None else (other,),
            )

    def drill(
        self, copy: str | None, progress: Progress, *, seed: int | None, to_the_end: bool = False
    ) -> Drill:
        """Recover one copy (None: the one drilled the longest ago) into scratch, keep the record.

        ``seed`` None: one is drawn, and stands in the record.
        """
        from kb_dr.domain.drill import copy_to_drill
        from kb_dr.operations.check_secrets import check_secrets
        from kb_dr.operations.drill import run_drill
        from kb_dr.operations.drill_records import store_drill

        with self.pinged("drill", copy or "", parts=self.copies, copy=copy) as work:
            name = work.part = copy or copy_to_drill(self.copies, self.drills())
            work.concerns(copy=name)
            repository, other = self.checked(name), self._other_than(name)

            def prove(plan: RecoveryPlan) -> Proof:
                return self._prove(
                    repository, other, progress, plan.stored.manifest.backup_id, plan
                )

            drill = run_drill(
                repository,
                self.codec,
                self.clock,
                prove,
                self.settings.objectives,
                seed=secrets.randbelow(1 << 32) if seed is None else seed,
                to_the_end=to_the_end,
                # All of it before the clock of the drill starts: no recovery waits for a catalog.
                checklist=(
                    *check_secrets(self, name),
                    *self.catalog_rebuilt(name),
                    *self.void_by_now(),
                ),
                live_rpo_seconds=self._live_rpo(repository),
            )
            store_drill((repository,) if other is None else (repository, other), drill)
            work.concerns(drill_id=drill.id, backup_id=drill.backup_id, proof_id=drill.proof_id)
            for shortfall in drill.shortfalls:
                work.failed(shortfall)
            if not drill.passed and not drill.shortfalls:
                work.failed("it was not passed")
            return drill

    def _live_rpo(self, repository: Repository) -> float | None:
        """The RPO of one copy as a source that answers tells it; None when it does not."""
        try:
            self.source.facts()
        except KbDrError:
            return None
        return self._take_status([repository]).rpo[0].seconds

    def void_by_now(self) -> tuple[Finding, ...]:
        """What a drill has to say for as long as no proof of this host can be believed."""
        from kb_dr.domain.proof import Outcome

        void, host = self.void_through(), socket.gethostname()
        if void is None or not void.covers(host, self.clock.now()):
            return ()
        held = self.controls_held()
        if held.good:  # another host has seen the damage, this one has not
            seen = f"proofs of {host} are void: it has not seen damage that it once called PROVEN"
            hint = "Mend the verifier on this host, and run `kb-dr controls` on it."
            held = Finding(held.subject, Outcome.FAILED, seen, hint)
        return (held,)
