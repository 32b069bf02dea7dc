"""The integrity report as an asset: kept, drawn, and red when it should be."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from kb_dr.domain import layout
from kb_dr.domain.proof import Verdict
from kb_dr_tests.made_installation import MadeInstallation

STEP = "repository__integrity_report"
CHECK = "what_is_kept_is_whole"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    return MadeInstallation(tmp_path)


def run(
    installation: MadeInstallation, instance: dg.DagsterInstance
) -> tuple[dg.AssetMaterialization, dg.AssetCheckEvaluation]:
    job = installation.definitions().resolve_job_def("integrity_report_job")
    result = job.execute_in_process(instance=instance)
    (event,) = result.asset_materializations_for_node(STEP)
    (check,) = [each for each in result.get_asset_check_evaluations() if each.check_name == CHECK]
    return event, check


def test_a_report_is_kept_in_each_copy_and_drawn_on_the_page(
    installation: MadeInstallation, instance: dg.DagsterInstance
) -> None:
    installation.has_backup()

    event, check = run(installation, instance)

    picture, text = str(event.metadata["report"].value).split("\n\n", 1)
    assert picture.startswith("![recoverable window](data:image/png;base64,")
    assert text.startswith("# Integrity of kb")
    assert str(event.metadata["verdict"].value).startswith("not good: ")
    assert event.metadata["proven_share_of_copies"].value == 0
    for memory in installation.memory.values():
        assert [key.split(".")[-1] for key in memory.bodies if key.startswith("reports/")] == [
            "md", "json",
        ]  # fmt: skip
    # Nothing was proven, and offsite there is no backup at all.
    assert not check.passed
    assert "proven to restore" in str(check.metadata["wrong"].value)
    assert "offsite: no backup" in str(check.metadata["wrong"].value)


def test_the_check_reads_the_repositories_and_the_clock(
    installation: MadeInstallation, instance: dg.DagsterInstance
) -> None:
    stored = installation.has_backup()
    installation.has_proof(stored, Verdict.PROVEN, copy="primary")

    run(installation, instance)
    installation.clock.sleep(timedelta(days=3).total_seconds())
    checks = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(STEP.split("__")), CHECK))
    job = dg.define_asset_job("looked_at", checks, executor_def=dg.in_process_executor)
    definitions = dg.Definitions.merge(installation.definitions(), dg.Definitions(jobs=[job]))
    result = definitions.resolve_job_def("looked_at").execute_in_process(instance=instance)

    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.description == "no report of the last 2 days"


def test_a_backup_that_was_proven_and_vanished_makes_the_report_red(
    installation: MadeInstallation, instance: dg.DagsterInstance
) -> None:
    lost, left = installation.has_backup(), installation.has_backup(days=1)
    for each in (lost, left):
        installation.has_proof(each, Verdict.PROVEN, copy="primary")
    installation.primary.delete(layout.manifest_key(lost.manifest.backup_id))

    _, check = run(installation, instance)

    wrong = str(check.metadata["wrong"].value)
    assert f"primary: {lost.manifest.id}: it was proven here and stands here no more" in wrong
    assert left.manifest.id not in wrong
