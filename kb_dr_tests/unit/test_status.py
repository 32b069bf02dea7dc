"""`status` and `doctor` look at everything configured, and say what they could not look at."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.base_backup import ArchiverStatus, SourceConfiguration
from kb_dr.domain.finding import Finding, all_good
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Source, StoredManifest
from kb_dr.domain.proof import Outcome, Phase, Proof, Reach, Verdict
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.status import Status
from kb_dr.domain.tablespaces import Tablespace
from kb_dr.errors import (
    PostgresProgramMissing,
    PostgresUnavailable,
    RepositoryUnavailable,
)
from kb_dr.operations.catalog import load_catalog, readable, store_manifest
from kb_dr.operations.copy_backup import copy_backup
from kb_dr.operations.diagnose import diagnose
from kb_dr.operations.initialise import check_marker, init_repository
from kb_dr.operations.proofs import store_proof
from kb_dr.operations.status import take_status
from kb_dr.ports import Repository, SourceLock
from kb_dr.settings import Objectives, Settings, load_settings
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.made_wal import WalWriter
from kb_dr_tests.stored_backups import (
    SEGMENT_BYTES,
    STARTED,
    SYSTEM,
    segment,
    store_objects,
    store_wal,
)

CODEC = PlainCodec()
NOW = STARTED + timedelta(hours=1)
OBJECTIVES = Objectives(3600.0, 4 * 3600.0, 26 * 3600.0, 8 * 86400.0)
FACTS = SourceFacts(
    server_version=160014,
    system_identifier=SYSTEM,
    segment_bytes=SEGMENT_BYTES,
    is_standby=False,
    written_lsn=segment(7).start.plus(64),
    timeline=1,
    now=NOW,
    wal_level="replica",
    max_wal_senders=10,
    archive_timeout_seconds=300,
    waiting_segments=0,
    may_replicate=True,
)
ARCHIVER = ArchiverStatus("on", "kb-dr wal push %p", 7, 0, segment(6).name, NOW, None, None)


@dataclass
class FakeSource:
    """A `kb_dr.ports.SourceServer` that answers questions and takes no backups."""

    seen: SourceFacts = FACTS
    archived: ArchiverStatus = ARCHIVER
    failure: Exception | None = None
    spaces: tuple[Tablespace, ...] = ()

    def facts(self) -> SourceFacts:
        if self.failure:
            raise self.failure
        return self.seen

    def archiver(self) -> ArchiverStatus:
        return self.archived

    def exclusive(self) -> AbstractContextManager[SourceLock]:
        self._never()

    def describe(self) -> Source:
        if self.failure:
            raise self.failure
        self._never()

    def fingerprint(
        self,
        restore_point: str,
        tables: Sequence[str],
        written: Callable[[Lsn], object] = lambda lsn: None,
    ) -> tuple[Fingerprint, tuple[str, ...]]:
        self._never()

    def configuration(self) -> SourceConfiguration:
        self._never()

    def tablespaces(self) -> tuple[Tablespace, ...]:
        return self.spaces

    def switch_wal(self) -> Lsn:
        self._never()

    def _never(self) -> NoReturn:
        raise AssertionError("nothing here may change the source, or take its time")


@dataclass
class Site:
    """Two repositories with one proven backup in both."""

    primary: MemoryRepository = field(default_factory=lambda: MemoryRepository("primary"))
    offsite: MemoryRepository = field(default_factory=lambda: MemoryRepository("offsite"))
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOW))
    source: FakeSource = field(default_factory=FakeSource)

    def status(self) -> Status:
        return take_status(
            [self.primary, self.offsite],
            CODEC,
            self.clock,
            OBJECTIVES,
            service="kb",
            org="default",
            source=self.source,
        )


def proof(of: StoredManifest, verdict: Verdict, at: datetime, copy: str = "offsite") -> Proof:
    return Proof(
        schema_version=records.SCHEMA_VERSION,
        id=f"{at:%Y%m%d-%H%M%S}-1",
        backup_id=of.manifest.id,
        manifest_digest=of.digest,
        copy=copy,
        url=f"memory://{copy}",
        started=at - timedelta(seconds=30),
        finished=at,
        verdict=verdict,
        reason="",
        checks=(),
        phases=(
            Phase("fetch and unpack", 20.0, 1000),
            Phase("verify files", 2.0, 1000),
            Phase("replay", 5.0, 2 * SEGMENT_BYTES),
        ),
        reach=Reach(1, segment(6).end, 1, segment(6).end, at),
        tools={},
        host="h",
    )


@pytest.fixture
def site() -> Site:
    made = Site()
    for repository in (made.primary, made.offsite):
        init_repository(repository, made.clock, service="kb", org="default")
    backup = store_manifest(made.primary, store_objects(made.primary))
    writer = WalWriter(segment(2), system_identifier=SYSTEM)
    while len(writer.written) < 4 * writer.size + 0x8000:
        writer.record(b"f" * 30_000)
    writer.commit(NOW - timedelta(minutes=2))
    writer.switch()
    for name, content in writer.segments().items():
        store_wal(made.primary, CODEC, name, content)
    copy_backup(made.primary, made.offsite, CODEC, backup.manifest.backup_id, RecordingProgress())
    store_proof(made.offsite, proof(backup, Verdict.PROVEN, NOW - timedelta(minutes=10)))
    return made


def the_backup(site: Site) -> StoredManifest:
    return readable(load_catalog(site.primary))[0]


def broken(status: Status) -> set[str]:
    return {each.subject for each in status.objectives if not each.good}


def test_a_site_in_order_can_recover_and_holds_its_objectives(site: Site) -> None:
    status = site.status()

    assert broken(status) == set()
    assert status.holds
    assert status.recoverable
    assert status.rpo_seconds == 120.0
    assert status.rto is not None
    assert (status.rto.copy, status.rto.seconds) == ("offsite", 30.0)
    for told, rpo in zip(status.forecasts, status.rpo, strict=True):
        # Segments 2 to 6; two took 5 s.
        assert told.forecast.seconds == pytest.approx(20.0 + 2.0 + 12.5 + 3.0)
        assert rpo.base is not None
        assert rpo.base.proven_in == "offsite"
    assert "none of primary itself" in status.forecasts[0].forecast.basis
    assert records.to_json(status)


def test_a_failed_proof_kept_in_the_other_repository_counts(site: Site) -> None:
    backup = the_backup(site)
    store_proof(site.primary, proof(backup, Verdict.FAILED, NOW - timedelta(minutes=5)))

    status = site.status()

    assert {"newest backup in offsite", "RPO of offsite"} <= broken(status)
    assert status.recoverable


def test_a_site_where_nobody_ever_restored_anything_holds_no_rpo(site: Site) -> None:
    backup = the_backup(site).manifest.backup_id
    for key in [key for key in site.offsite.bodies if key.startswith(layout.proofs_prefix(backup))]:
        site.offsite.delete(key)

    status = site.status()

    assert broken(status) == {
        "RPO of primary",
        "RPO of offsite",
        "age of the newest proof",
        "RTO",
        "RTO forecast from primary",
        "RTO forecast from offsite",
    }
    assert status.recoverable
    assert [window.base for window in status.windows] == [None, None]


def test_a_proof_that_cannot_be_read_breaks_the_answer(site: Site) -> None:
    backup = the_backup(site).manifest.backup_id
    site.primary.bodies[layout.proof_key(backup, "offsite", "20261120-030000-x")] = b"damaged"

    assert broken(site.status()) == {"proofs can be read"}


def test_a_region_that_is_down_leaves_the_other_to_answer(site: Site) -> None:
    site.offsite.failures[""] = RepositoryUnavailable("list: down")

    status = site.status()

    assert status.recoverable
    assert not status.holds
    assert {"offsite can be read", "RPO of offsite", "proofs can be read"} <= broken(status)
    assert "primary can be read" not in broken(status)


def test_an_emptied_bucket_is_not_a_site_without_backups(site: Site) -> None:
    site.primary.bodies.clear()

    status = site.status()

    assert "primary can be read" in broken(status)
    assert any("repository.json" in each.seen for each in status.objectives)


def test_wal_that_never_arrived_offsite_breaks_only_that_copys_rpo(site: Site) -> None:
    for key in [key for key in site.offsite.bodies if segment(5).name in key]:
        site.offsite.delete(key)
    site.clock.set(NOW + timedelta(hours=1))
    site.source.seen = replace(FACTS, now=site.clock.now())

    status = site.status()

    assert broken(status) == {"RPO of offsite"}


def test_a_source_that_is_gone_is_a_note_and_no_excuse(site: Site) -> None:
    site.source.failure = PostgresUnavailable("ask the source: no answer")

    status = site.status()

    assert broken(status) == set()
    assert any("does not answer" in note for note in status.notes)


@dataclass
class FakeHost:
    """As much of this machine as a diagnosis asks for."""

    free: int = 10**12
    failure: Exception | None = None

    def check(self, source: Source, *, combines: bool = False) -> None:
        if self.failure:
            raise self.failure

    def tools(self, source: Source) -> dict[str, str]:
        return {"postgres": "16.14"}

    def free_bytes(self, directory: Path) -> int:
        return self.free


class Here:
    """What `kb-dr doctor` runs in."""

    def __init__(self, site: Site, tmp_path: Path) -> None:
        self.site = site
        self.clock = site.clock
        self.codec = CODEC
        self.source = site.source
        self.host = FakeHost()
        self.copies: tuple[str, ...] = ("primary", "offsite")
        identity = tmp_path / "identities"
        identity.write_text("")
        self.settings: Settings = load_settings(
            {
                "KB_BACKUP_LOCAL_PATH": str(tmp_path),
                "KB_DR_AGE_RECIPIENTS": "age1example",
                "KB_DR_AGE_IDENTITY_FILE": str(identity),
            }
        )

    def checked(self, copy: str) -> Repository:
        repository = {"primary": self.site.primary, "offsite": self.site.offsite}[copy]
        check_marker(repository, service="kb", org="default")
        return repository

    def bucket(self, copy: str) -> None:
        """They are no buckets."""

    def lock_wanted(self, copy: str) -> None:
        """And lock nothing."""


def bad(here: Here) -> set[str]:
    found = {each.subject for each in diagnose(here) if not each.good}
    assert found, "nothing was found"
    return found


def test_looking_at_nothing_is_not_good() -> None:
    nothing = Finding("x", Outcome.NOT_APPLICABLE, "")

    assert not all_good(())
    assert not all_good([nothing])
    assert not all_good([nothing, replace(nothing, outcome=Outcome.COULD_NOT_RUN)])
    assert all_good([nothing, replace(nothing, outcome=Outcome.PASSED)])


def test_doctor_finds_nothing_where_all_is_in_order(site: Site, tmp_path: Path) -> None:
    found = diagnose(Here(site, tmp_path))

    assert all_good(found), found
    others = {each.subject for each in found if each.outcome is not Outcome.PASSED}
    assert others == {"local copy", "room in primary", "room in offsite"}, "not to be had here"


def test_doctor_names_a_tablespace_no_backup_holds(site: Site, tmp_path: Path) -> None:
    site.source.spaces = (Tablespace(16384, "later", "/space"),)

    assert bad(Here(site, tmp_path)) == {"tablespaces"}


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        ({"wal_level": "minimal"}, "source can be backed up"),
        ({"is_standby": True}, "source can be backed up"),
        ({"max_wal_senders": 1}, "source can be backed up"),
        ({"may_replicate": False}, "source can be backed up"),
        ({"server_version": 130020}, "source"),
        ({"system_identifier": 5}, "source is the one backed up"),
        ({"now": NOW + timedelta(hours=1)}, "clocks"),
        ({"waiting_segments": 101}, "archiver"),
        ({"archive_timeout_seconds": 0}, "archiver"),
        ({"archive_timeout_seconds": 7200}, "archiver"),
    ],
)
def test_doctor_names_what_is_wrong_with_the_source(
    site: Site, tmp_path: Path, change: dict[str, object], subject: str
) -> None:
    site.source.seen = replace(FACTS, **change)  # type: ignore[arg-type] # a table of fields

    assert bad(Here(site, tmp_path)) == {subject}


@pytest.mark.parametrize(
    "archiver",
    [
        replace(ARCHIVER, mode="off"),
        replace(ARCHIVER, command=""),
        replace(ARCHIVER, last_failed_wal=segment(7).name, last_failed_at=NOW + timedelta(1)),
    ],
    ids=["off", "no command", "failing"],
)
def test_doctor_names_what_is_wrong_with_the_archiver(
    site: Site, tmp_path: Path, archiver: ArchiverStatus
) -> None:
    site.source.archived = archiver

    assert bad(Here(site, tmp_path)) == {"archiver"}


def test_doctor_goes_on_where_something_is_broken(site: Site, tmp_path: Path) -> None:
    here = Here(site, tmp_path)
    here.copies = ("primary",)
    here.host.failure = PostgresProgramMissing("find PostgreSQL 16: nothing", hint="install")
    here.host.free = 10
    site.primary.failures[""] = RepositoryUnavailable("list: down")
    site.source.failure = PostgresUnavailable("ask the source: no answer")

    assert {"primary", "offsite copy", "source", "WAL of primary opens"} <= bad(here)


def test_doctor_names_a_machine_that_cannot_restore(site: Site, tmp_path: Path) -> None:
    here = Here(site, tmp_path)
    here.host.failure = PostgresProgramMissing("find PostgreSQL 16: nothing", hint="install")
    here.host.free = 10

    assert bad(here) == {"PostgreSQL programs", "scratch space"}


def test_doctor_reads_wal_and_not_only_lists_it(site: Site, tmp_path: Path) -> None:
    key = next(key for key in site.offsite.bodies if segment(3).name in key)
    site.offsite.bodies[key] = site.offsite.bodies[key][:-1] + b"?"

    assert bad(Here(site, tmp_path)) == {"WAL of offsite opens"}
