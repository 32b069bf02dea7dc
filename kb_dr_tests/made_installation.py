"""An installation on repositories in memory, for what Dagster makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg

from kb_dr import records
from kb_dr.definitions import build_definitions
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.control import ControlOutcome, ControlRun, Damage
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Check, Outcome, Phase, Proof, Reach, Verdict
from kb_dr.errors import KbDrError
from kb_dr.installation import Installation
from kb_dr.operations.catalog import readable, store_manifest
from kb_dr.operations.controls import store_control_run
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.proofs import store_proof
from kb_dr.ports import Progress
from kb_dr.settings import load_settings
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_controls import made_run
from kb_dr_tests.made_dumps import DUMPED, store_dump
from kb_dr_tests.stored_backups import STARTED, store_backup


class MadeInstallation(Installation):
    """Real verbs on repositories in memory; only a restore is played."""

    def __init__(
        self,
        directory: Path,
        *,
        offsite: bool = True,
        local: bool = False,
        catalog_url: str = "",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        environment = {
            "KB_DR_REPOSITORY_URL": str(directory / "primary"),
            "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
            "KB_DR_STATE_DIR": str(directory / "state"),
            "KB_DR_CATALOG_URL": catalog_url,
        }
        if offsite:
            environment["KB_DR_OFFSITE_URL"] = str(directory / "offsite")
        if local:
            environment["KB_DR_LOCAL_COPY_PATH"] = str(directory / "local")
        clock = FakeClock()
        super().__init__(load_settings(environment | dict(settings or {})), clock)
        self.made_clock = clock
        """The same clock, to be set."""
        self.memory = {name: MemoryRepository(name, clock) for name in self.copies}
        self._repositories.update(self.memory)
        self.known_manifests = KnownEntries()  # other tests have the same URLs
        self.codec = PlainCodec()
        self.verdict = Verdict.PROVEN
        """What the next verify() comes to."""
        self.outcomes: dict[Damage, ControlOutcome] = {}
        """What the next run_controls() comes to, where it is not good."""
        self.taken: StoredManifest | KbDrError | None = None
        """What the next back_up_incremental() comes to; None: an increment on the newest."""
        self.dumping: KbDrError | None = None
        """What keeps the next back_up_dump() from taking one."""
        self.reaped = 0
        for memory in self.memory.values():
            init_repository(memory, self.clock, service="kb", org="default")

    def _hasty(self, copy: str) -> MemoryRepository:
        return self.memory[copy]

    @property
    def primary(self) -> MemoryRepository:
        """Open for tests to damage."""
        return self.memory["primary"]

    @property
    def offsite(self) -> MemoryRepository:
        """The same of the copy in another region."""
        return self.memory["offsite"]

    @property
    def local(self) -> MemoryRepository:
        """The same of the copy on another medium."""
        return self.memory["local"]

    def has_backup(self, *, days: int = 0) -> StoredManifest:
        """A backup in the primary repository, with its WAL."""
        return store_backup(self.primary, self.codec, started=STARTED + timedelta(days=days))

    def has_offsite_copy(self, stored: StoredManifest) -> None:
        """The same manifest offsite."""
        store_manifest(self.offsite, stored.manifest)

    def has_proof(
        self,
        stored: StoredManifest,
        verdict: Verdict,
        *,
        copy: str = "offsite",
        minutes: int = 10,
        digest: str | None = "the manifest's",
    ) -> Proof:
        """A proof, kept where a real one would be."""
        proof = made_proof(stored, verdict, copy=copy, minutes=minutes)
        if digest != "the manifest's":
            proof = replace(proof, manifest_digest=digest)
        for memory in {copy, "primary"}:
            store_proof(self.memory[memory], proof)
        return proof

    def forget(self, stored: StoredManifest) -> None:
        """Purge the backup everywhere, its proofs too."""
        backup = stored.manifest.backup_id
        for memory in self.memory.values():
            memory.delete(layout.manifest_key(backup))
            for listed in list(memory.list(layout.proofs_prefix(backup))):
                memory.delete(listed.key)

    def verify(self, wanted: BackupId | None, copy: str, progress: Progress) -> Proof:
        """A restore that comes to ``verdict``; the proof is stored as a real one is."""
        progress.begin("fetch", 10)
        progress.advance(10)
        progress.end()
        assert wanted is not None
        minutes = 100 + len(self.proofs(wanted))
        return self.has_proof(self.find_backup(wanted), self.verdict, copy=copy, minutes=minutes)

    def back_up_incremental(self, backup: BackupId | None, progress: Progress) -> StoredManifest:
        """An increment of the id asked for; or what the test says."""
        assert backup is not None
        if isinstance(self.taken, KbDrError):
            raise self.taken
        newest = readable(self.catalog("primary"))[-1]
        hours = round((backup.started - newest.manifest.started).total_seconds() / 3600)
        return self.taken or store_increment(self.primary, self.codec, newest, hours=hours)

    def has_dump(self, *, days: int = 0) -> StoredManifest:
        """A logical dump in the primary repository."""
        return store_dump(self.primary, self.codec, started=DUMPED + timedelta(days=days))

    def back_up_dump(self, backup: BackupId | None, progress: Progress) -> StoredManifest:
        """A dump of the id asked for; or what the test says."""
        assert backup is not None
        if self.dumping is not None:
            raise self.dumping
        return store_dump(self.primary, self.codec, started=backup.started)

    def run_controls(
        self,
        wanted: BackupId | None,
        copy: str,
        progress: Progress,
        *,
        damages: Sequence[Damage] | None = None,
    ) -> ControlRun:
        """A round that comes to ``outcomes``; its record is stored as a real one is."""
        assert wanted is None
        run = made_run(self.clock.now(), self.outcomes)
        run = replace(
            run, copy=copy, results=tuple(r for r in run.results if r.damage in (damages or Damage))
        )
        store_control_run(list(self.memory.values()), run)
        return run

    def reap(self) -> tuple[str, ...]:
        """Nothing is left over here."""
        self.reaped += 1
        return ()

    def definitions(self) -> dg.Definitions:
        """The project's definitions, on this installation."""
        return build_definitions(InstallationDoor(lambda: self), ScheduleTimes())


def made_proof(
    stored: StoredManifest, verdict: Verdict, *, copy: str = "offsite", minutes: int = 10
) -> Proof:
    """A proof that finished so long after the backup."""
    finished = stored.manifest.finished + timedelta(minutes=minutes)
    return Proof(
        schema_version=records.SCHEMA_VERSION,
        id=f"{finished:%Y%m%d-%H%M%S}-{copy}",
        backup_id=stored.manifest.id,
        manifest_digest=stored.digest,
        copy=copy,
        url=f"memory://{copy}",
        started=finished - timedelta(seconds=90),
        finished=finished,
        verdict=verdict,
        reason="as the test says",
        checks=(Check("rows", Outcome.PASSED, "all | there"),),
        phases=(Phase("fetch", 1.5, 1000), Phase("replay", 2.0)),
        reach=Reach(1, Lsn(0x3000000), 1, Lsn(0x3000000), finished),
        tools={"postgres": "16.14"},
        host="h",
    )
