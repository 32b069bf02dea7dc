"""A real PostgreSQL for the catalog, and the buckets it is made of."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from kb_dr import records
from kb_dr.adapters.postgres_catalog import PostgresCatalog
from kb_dr.domain import layout
from kb_dr.domain.backup_failure import BackupFailure
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.hold import HoldAction, HoldEvent
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Verdict
from kb_dr.domain.tombstone import PurgeStep, Tombstone
from kb_dr.operations.kept_records import keep_record
from kb_dr.settings import CatalogSettings
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.stored_backups import STARTED

_NUMBERS = count(1)

TABLES = (
    "backup_logs",
    "backup_manifests",
    "backup_copies",
    "backup_proofs",
    "backup_holds",
    "backup_purges",
    "backup_failures",
    "backup_problems",
    "catalog_tokens",
)


def catalog_of(settings: CatalogSettings) -> PostgresCatalog:
    """The catalog of the service that the tests protect."""
    return PostgresCatalog(settings, service="kb", org="default")


class CatalogDatabase:
    """A database of a running cluster, empty at first."""

    def __init__(self, cluster: RunningCluster, name: str) -> None:
        self.cluster, self.name = cluster, name
        self.make()

    @property
    def settings(self) -> CatalogSettings:
        return CatalogSettings(
            host=str(self.cluster.sockets),
            port=5432,
            database=self.name,
            user="postgres",
            password_file=None,
            sslmode="prefer",
        )

    @property
    def url(self) -> str:
        """As KB_DR_CATALOG_URL has it."""
        return f"postgresql://postgres@/{self.name}?host={self.cluster.sockets}"

    @property
    def catalog(self) -> PostgresCatalog:
        return catalog_of(self.settings)

    def make(self) -> None:
        self.cluster.query(f"create database {self.name}")

    def drop(self) -> None:
        """The whole database, whoever looks into it."""
        self.cluster.query(f"drop database {self.name} with (force)")

    def query(self, statement: str) -> list[tuple[object, ...]]:
        return self.cluster.query(statement, database=self.name)

    def contents(self) -> dict[str, list[tuple[object, ...]]]:
        """Every column of every row of every table."""
        return {table: sorted(self.query(f"select * from {table}"), key=repr) for table in TABLES}


@pytest.fixture(name="database")
def catalog_database(shared_primary: RunningCluster) -> Iterator[CatalogDatabase]:
    """An empty database of its own for each test."""
    made = CatalogDatabase(shared_primary, f"catalog_{next(_NUMBERS)}")
    yield made
    made.drop()


@pytest.fixture(name="made")
def made_with_catalog(tmp_path: Path, database: CatalogDatabase) -> MadeInstallation:
    """An installation on repositories in memory whose settings name that database."""
    return catalogued(tmp_path, database)


def fill_buckets(made: MadeInstallation) -> dict[str, StoredManifest]:
    """Backups that came to every end there is: by what became of them."""
    proven = made.has_backup(days=0)
    made.has_offsite_copy(proven)
    made.has_proof(proven, Verdict.FAILED, copy="offsite", minutes=5)
    made.has_proof(proven, Verdict.PROVEN, copy="offsite", minutes=30)
    bad = made.has_backup(days=1)
    made.has_offsite_copy(bad)
    made.has_proof(bad, Verdict.PROVEN, copy="primary", minutes=5)
    made.has_proof(bad, Verdict.FAILED, copy="primary", minutes=30)
    fresh = made.has_backup(days=2)
    hold(made, fresh)
    expired = made.has_backup(days=3)
    let_go(made, expired, PurgeStep.EXPIRED)
    purged = made.has_backup(days=4)
    made.has_proof(purged, Verdict.PROVEN, copy="primary", minutes=5)
    let_go(made, purged, PurgeStep.EXPIRED)
    let_go(made, purged, PurgeStep.PURGED, hours=200)
    has_failure(made, days=5)
    return {
        "proven": proven, "bad": bad, "fresh": fresh, "expired": expired, "purged": purged,
    }  # fmt: skip


def hold(made: MadeInstallation, stored: StoredManifest) -> HoldEvent:
    """Nobody may purge it."""
    at = stored.manifest.finished + timedelta(hours=1)
    event = HoldEvent(
        records.SCHEMA_VERSION, f"{at:%Y%m%d-%H%M%S}-h", stored.manifest.id, HoldAction.HOLD, at,
        "the auditors asked", "h",
    )  # fmt: skip
    key = layout.hold_key(stored.manifest.backup_id, event.id)
    keep_record(list(made.memory.values()), key, event)
    return event


def let_go(
    made: MadeInstallation, stored: StoredManifest, step: PurgeStep, *, hours: int = 20
) -> None:
    """A step on its way out of the primary copy."""
    backup = stored.manifest.backup_id
    at = stored.manifest.finished + timedelta(hours=hours)
    key = layout.manifest_key(backup)
    text = made.primary.bodies[key].decode() if step is PurgeStep.EXPIRED else ""
    stone = Tombstone(
        records.SCHEMA_VERSION, f"{at:%Y%m%d-%H%M%S}-t", str(backup), "primary", step, at,
        "older than 30 days", "h", stored.digest, text,
    )  # fmt: skip
    keep_record(
        list(made.memory.values()), layout.tombstone_key(backup, "primary", stone.id), stone
    )
    made.primary.delete(key)


def has_failure(made: MadeInstallation, *, days: int) -> BackupId:
    """A backup that did not come to its end."""
    backup = BackupId.of("kb", BackupKind.FULL, STARTED + timedelta(days=days))
    failure = BackupFailure(
        records.SCHEMA_VERSION, str(backup), "a1", STARTED + timedelta(days=days, minutes=3),
        "PostgresUnavailable", 21, "take it: the server went away", "look", "h",
    )  # fmt: skip
    made.primary.put(layout.failure_key(backup, "a1"), records.to_json(failure))
    return backup


def catalogued(directory: Path, database: CatalogDatabase) -> MadeInstallation:
    """An installation on repositories in memory whose settings name the catalog."""
    return MadeInstallation(directory, catalog_url=database.url)
