"""A catalog that is down, forbidden or wrong stops nothing, and is told apart."""

import logging
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr.adapters.postgres_catalog import PostgresCatalog
from kb_dr.errors import CatalogError, CatalogUnavailable
from kb_dr_tests.catalog_database import (
    CatalogDatabase,
    catalog_of,
)
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.postgres_servers import RunningCluster


def statuses(database: CatalogDatabase) -> dict[object, object]:
    """Backup id to status."""
    return {row[0]: row[1] for row in database.query("select backup_id, status from backup_logs")}


def look_into(catalog: PostgresCatalog) -> None:
    with catalog.reading():
        pass


def write_into(catalog: PostgresCatalog) -> None:
    with catalog.writing(wait_seconds=0):
        pass


# down, forbidden, wrong


def test_a_catalog_that_is_down_stops_nothing_and_is_caught_up(
    made: MadeInstallation, database: CatalogDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    stored = made.has_backup()
    database.drop()

    with caplog.at_level(logging.WARNING):
        made.note_in_catalog(stored.manifest.backup_id, "primary")

    assert f"the catalog does not show {stored.manifest.id}" in caplog.text
    database.make()
    made.sync_catalog()
    assert statuses(database) == {stored.manifest.id: "completed"}


def test_a_role_without_rights_is_told_what_it_needs(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    database.query("drop role if exists kb_limited")
    database.query("create role kb_limited login")
    limited = catalog_of(replace(database.settings, user="kb_limited"))

    with pytest.raises(CatalogError, match="permission denied") as caught:
        write_into(limited)

    assert "needs CREATE" in caught.value.hint
    assert not isinstance(caught.value, CatalogUnavailable)


def test_a_database_that_is_not_there_is_no_outage(database: CatalogDatabase) -> None:
    missing = catalog_of(replace(database.settings, database="no_such_database"))

    with pytest.raises(CatalogError, match="does not exist") as caught, missing.reading():
        pass

    assert not isinstance(caught.value, CatalogUnavailable)


def test_a_server_that_does_not_answer_is_an_outage(database: CatalogDatabase) -> None:
    nobody = catalog_of(replace(database.settings, host="127.0.0.1", port=1))

    with pytest.raises(CatalogUnavailable, match="use the catalog at postgresql://postgres@127"):
        look_into(nobody)


def test_a_wrong_password_is_no_outage_and_is_never_shown(
    primary: RunningCluster, tmp_path: Path
) -> None:
    database = CatalogDatabase(primary, "guarded")
    primary.query("create role kb_guarded login password 'right'")
    hba = primary.data / "pg_hba.conf"
    hba.write_text(f"local all kb_guarded scram-sha-256\n{hba.read_text()}")
    primary.reload()
    secret = tmp_path / "password"
    secret.write_text("hunter2-wrong\n")
    secret.chmod(0o600)
    guarded = catalog_of(replace(database.settings, user="kb_guarded", password_file=secret))

    with pytest.raises(CatalogError, match="authentication failed") as caught:
        look_into(guarded)
    secret.chmod(0o644)
    with pytest.raises(CatalogError, match="open to others") as open_to_others:
        look_into(guarded)

    assert not isinstance(caught.value, CatalogUnavailable)
    for error in (caught.value, open_to_others.value):
        assert "hunter2" not in f"{error} {error.hint} {error.__cause__!r}"


def test_a_server_that_is_stuck_is_given_up(
    shared_primary: RunningCluster, database: CatalogDatabase
) -> None:
    stuck: list[int] = []

    def note() -> None:
        with database.catalog.writing(wait_seconds=0, deadline_seconds=1.0) as writer:
            stuck.append(
                shared_primary.value(
                    "select pid from pg_stat_activity where application_name = 'kb-dr catalog'"
                )
            )
            os.kill(stuck[0], signal.SIGSTOP)
            writer.tokens()

    try:
        with pytest.raises(CatalogUnavailable):
            note()
    finally:
        for pid in stuck:
            os.kill(pid, signal.SIGCONT)


def test_the_catalog_of_another_service_is_never_touched(
    made: MadeInstallation, database: CatalogDatabase
) -> None:
    stored = made.has_backup()
    made.sync_catalog()
    other = PostgresCatalog(database.settings, service="shop", org="default")

    for look in (look_into, write_into):
        with pytest.raises(CatalogError, match="it is of service 'kb' of 'default'"):
            look(other)

    assert statuses(database) == {stored.manifest.id: "completed"}
