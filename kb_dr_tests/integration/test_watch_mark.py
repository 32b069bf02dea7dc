"""The mark of the watch in a real database: other machines see it, and nothing rests on it."""

from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr_tests.catalog_database import CatalogDatabase, catalogued
from kb_dr_tests.made_installation import MadeInstallation


@pytest.fixture
def elsewhere(tmp_path: Path, database: CatalogDatabase) -> MadeInstallation:
    """The same service on another machine: nothing shared but the database."""
    return catalogued(tmp_path / "elsewhere", database)


def test_another_machine_sees_the_newest_watch(
    made: MadeInstallation, elsewhere: MadeInstallation
) -> None:
    assert elsewhere.last_watch() is None

    now = made.clock.now()
    made.note_watch(now)
    elsewhere.note_watch(now - timedelta(minutes=5))

    assert made.last_watch() == elsewhere.last_watch() == now


def test_a_mark_of_a_clock_that_ran_ahead_hides_no_dead_watch(
    made: MadeInstallation, elsewhere: MadeInstallation
) -> None:
    now = made.clock.now()
    elsewhere.note_watch(now + timedelta(days=365))

    assert made.last_watch() is None
    assert elsewhere.last_watch() is None

    made.note_watch(now)

    assert made.last_watch() == elsewhere.last_watch() == now


def test_a_database_that_is_gone_fails_no_watch_and_hides_not_what_is_known_here(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    database.drop()

    made.note_watch(made.clock.now())

    assert made.last_watch() == made.clock.now()
    database.make()


def test_a_rebuild_of_the_catalog_leaves_the_mark_alone(
    made: MadeInstallation, elsewhere: MadeInstallation
) -> None:
    made.note_watch(made.clock.now())

    made.rebuild_catalog()

    assert elsewhere.last_watch() == made.clock.now()
    assert made.check_catalog().agrees
