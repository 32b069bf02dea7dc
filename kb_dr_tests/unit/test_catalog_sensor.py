"""Dagster brings the catalog in line, and says so when it cannot; nothing waits for it."""

from pathlib import Path

import dagster as dg

from kb_dr.defs.catalog import catalog_follows_the_repository
from kb_dr.defs.resources import InstallationDoor
from kb_dr_tests.made_installation import MadeInstallation


def said(installation: MadeInstallation) -> str:
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, resources={"door": InstallationDoor(lambda: installation)}
        )
        answer = catalog_follows_the_repository(context)
    assert isinstance(answer, dg.SkipReason)
    return answer.skip_message or ""


def test_without_a_catalog_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert "no catalog is configured" in said(MadeInstallation(tmp_path))


def test_a_catalog_that_is_down_is_said_and_fails_nothing(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path, catalog_url="postgresql://nobody@127.0.0.1:1/none")
    made.has_backup()

    assert "not brought in line: use the catalog at postgresql://nobody@127" in said(made)
