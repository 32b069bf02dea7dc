"""Retention on real backups of a real server: what expired is gone, comes back, and restores."""

import json
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.domain.layout import WAL
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.recovery_target import AtName
from kb_dr.operations.plan_target import Wanted, plan_target
from kb_dr.operations.restore_postgres import plan_restore, restore_postgres
from kb_dr_tests.days_ago import DaysAgo, environment_days_ago
from kb_dr_tests.faults.failing_repository import FailingRepository, Meanwhile
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.protected_service import Service
from kb_dr_tests.recoverable import RecoverableService, entries, make_ledger, write

DAYS = 60


@dataclass(frozen=True)
class Aged:
    """A service with a backup of sixty days ago and a proven one of today."""

    recoverable: RecoverableService
    service: Service
    old: StoredManifest
    new: StoredManifest

    def plan(self) -> dict[str, object]:
        """What `kb-dr retention plan` says, for machines."""
        (found,) = json.loads(self.service.run("retention", "plan", "--json").require(0).out)
        assert isinstance(found["plan"], dict)
        return found["plan"]

    def expiring(self) -> list[str]:
        """The backups that go."""
        decisions = self.plan()["decisions"]
        assert isinstance(decisions, list)
        return [each["id"] for each in decisions if not each["keep"]]


@pytest.fixture
def aged(postgres_programs: PostgresPrograms, tmp_path: Path) -> Aged:
    recoverable = RecoverableService(postgres_programs, tmp_path)
    with recoverable.in_service() as cluster:
        cluster.stop()
        cluster.environment = environment_days_ago(DAYS)
        cluster.start()
        make_ledger(cluster)
        write(cluster, "long ago")
        old = recoverable.back_up(cluster, DaysAgo(DAYS))
        for number in range(3):
            write(cluster, f"soon after, {number}")
            cluster.archive_everything()
        cluster.stop()
        _stored_days_ago(recoverable, DAYS)
        cluster.environment = {}
        cluster.start()
        write(cluster, "today")
        new = recoverable.back_up(cluster)
        cluster.archive_everything()
        cluster.lose()
    key = tmp_path / "kb.agekey"
    key.write_text(f"{recoverable.identity}\n")
    service = Service(
        tmp_path / "host",
        {
            "KB_DB_HOST": str(tmp_path),
            "KB_DR_REPOSITORY_URL": str(tmp_path / "repository"),
            "KB_DR_SCRATCH_DIR": str(tmp_path / "scratch"),
            "KB_DR_STATE_DIR": str(tmp_path / "state"),
            "KB_DR_AGE_RECIPIENTS": str(recoverable.identity.to_public()),
            "KB_DR_AGE_IDENTITY_FILE": str(key),
            "KB_DR_POSTGRES_BIN_DIRS": str(postgres_programs.bin_dir),
            "KB_DR_RETENTION_DAILY_DAYS": "7",
            "KB_DR_RETENTION_WEEKLY_WEEKS": "0",
            "KB_DR_RETENTION_MONTHLY_MONTHS": "0",
            "KB_DR_RETENTION_QUARTERLY_YEARS": "0",
        },
    )
    return Aged(recoverable, service, old, new)


def _stored_days_ago(recoverable: RecoverableService, days: float) -> None:
    stamp = time.time() - timedelta(days=days).total_seconds()
    for listed in list(recoverable.repository.list("")):
        os.utime(recoverable.directory / "repository" / listed.key, (stamp, stamp))


def test_a_backup_expires_once_its_replacement_is_proven_and_comes_back_whole(
    aged: Aged, postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    service, old = aged.service, aged.old.manifest.id
    assert aged.expiring() == [], "nothing newer is proven"
    service.run("verify", "latest").require(0)
    assert aged.expiring() == [old]

    shown = service.run("retention", "apply").require(0).out
    assert old in service.backups(), "without --yes nothing is changed"
    words = shown.partition("to do it: kb-dr ")[2].splitlines()[0].split()
    wrong = [
        "0" * len(word) if word == words[words.index("--plan") + 1] else word for word in words
    ]
    service.run(*wrong).require(51, "expected")
    assert old in service.backups()
    segments = [each.key for each in aged.recoverable.repository.list(WAL)]
    service.run(*words).require(0)

    assert service.backups() == [aged.new.manifest.id]
    gone = set(segments) - {each.key for each in aged.recoverable.repository.list(WAL)}
    assert len(gone) >= 2, "WAL behind the old backup that nothing needs went with it"
    into = str(tmp_path / "refused" / "data")
    service.run("restore", "--backup", old, "--into", into).require(41)

    service.run("wal", "audit").require(0)
    service.run("retention", "undelete", old, "--copy", "primary").require(0)
    assert aged.expiring() == [], "it is held"
    service.run("retention", "apply", "--yes").require(0)
    service.run("verify", old).require(0)
    words = ["restore", "--backup", old, "--into", str(tmp_path / "back" / "data")]
    said = service.run(*words).require(0)
    assert "retention let go of the WAL behind" in said.out + said.err
    with RunningCluster(postgres_programs, tmp_path / "back") as cluster:
        assert entries(cluster)[:1] == ["long ago"]
        assert "today" not in entries(cluster)
    service.run("release", old, "--reason", "seen").require(0)
    assert aged.expiring() == [old]


def test_a_restore_that_runs_while_its_backup_expires_ends_well(
    aged: Aged, postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    aged.service.run("verify", "latest").require(0)
    recoverable = aged.recoverable
    applied: list[str] = []

    def apply() -> None:
        applied.append(aged.service.run("retention", "apply", "--yes").require(0).out)

    watched = FailingRepository(recoverable.repository, Meanwhile("get full/", apply))
    clock = DaysAgo(0)
    # Its own WAL stays as its objects do; what lies behind may go, and a restore then says so.
    backup = aged.old.manifest.backup_id
    wanted = Wanted(AtName(str(backup)), backup=backup)
    plan = plan_restore(
        plan_target(watched, recoverable.codec, clock, wanted),
        recoverable.host,
        tmp_path / "back" / "data",
    )
    restored = restore_postgres(
        plan,
        watched,
        recoverable.codec,
        recoverable.host,
        LocalScratchSpace(tmp_path / "scratch"),
        clock,
        SilentProgress(),
    )

    assert applied, "retention ran in the middle"
    assert aged.service.backups() == [aged.new.manifest.id]
    assert restored.reach.complete
    with RunningCluster(postgres_programs, tmp_path / "back") as cluster:
        assert entries(cluster)[:1] == ["long ago"]
