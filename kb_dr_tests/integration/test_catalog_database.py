"""The catalog database is a view: made of the buckets, and made again whenever it is lost."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from kb_dr_tests.catalog_database import CatalogDatabase, catalogued, fill_buckets
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.postgres_servers import RunningCluster

_NUMBERS = count(1)


@pytest.fixture
def database(shared_primary: RunningCluster) -> Iterator[CatalogDatabase]:
    """An empty database of its own for each test."""
    made = CatalogDatabase(shared_primary, f"catalog_{next(_NUMBERS)}")
    yield made
    made.drop()


@pytest.fixture
def made(tmp_path: Path, database: CatalogDatabase) -> MadeInstallation:
    return catalogued(tmp_path, database)


def test_a_catalog_that_was_dropped_is_rebuilt_identical(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)
    made.sync_catalog()
    before = database.contents()
    database.drop()
    database.make()

    made.rebuild_catalog()

    assert database.contents() == before
    assert len(before["backup_logs"]) == 6
    assert all(before[table] for table in before if table != "backup_problems")


def test_the_words_of_the_table_are_those_of_the_buckets(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    fill_buckets(made)

    made.rebuild_catalog()

    rows = database.query("select status, recovery_tested from backup_logs order by backup_id")
    assert rows == [
        ("verified", True),
        ("damaged", False),
        ("completed", False),
        ("expired", False),
        ("purged", True),
        ("failed", False),
    ]
