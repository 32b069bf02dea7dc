"""The integrity report as an asset: kept, drawn, and red when it should be."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

import kb_dr.cli.report
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.cli.app import run as run_cli
from kb_dr.domain import layout
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.proof import Verdict
from kb_dr.errors import VerificationError
from kb_dr.operations.report_records import store_report
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
    check = watched(installation, instance)

    assert not check.passed
    assert check.description == "no report of the last 2 days"
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "makes one" in str(check.metadata["hint"].value)


def watched(
    installation: MadeInstallation, instance: dg.DagsterInstance
) -> dg.AssetCheckEvaluation:
    """The check alone, as it is looked at each hour: where no report can be made it must not
    stay what it was.
    """
    job = installation.definitions().resolve_job_def("hourly_watch_job")
    said = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    (check,) = [each for each in said if each.check_name == CHECK]
    return check


@pytest.fixture
def good(installation: MadeInstallation) -> IntegrityReport:
    """A report without anything wrong, the only one that is kept."""
    installation.has_backup()
    made = installation.make_report(SilentProgress())
    for memory in installation.memory.values():
        for key in [key for key in memory.bodies if key.startswith("reports/")]:
            memory.delete(key)
    found = replace(made, shortfalls=())
    keep(installation, found)
    return found


def keep(installation: MadeInstallation, report: IntegrityReport) -> None:
    store_report(list(installation.memory.values()), report)


def later(report: IntegrityReport, *, hours: float, **changed: object) -> IntegrityReport:
    at = report.at + timedelta(hours=hours)
    name = f"{at:%Y%m%d-%H%M%S}-0000abcd"
    return replace(report, id=name, at=at, finished=at, **changed)  # type: ignore[arg-type]  # any field


def test_a_good_report_of_every_copy_is_green(
    installation: MadeInstallation, instance: dg.DagsterInstance, good: IntegrityReport
) -> None:
    assert watched(installation, instance).passed


def test_a_report_of_fewer_copies_greens_nothing(
    installation: MadeInstallation, instance: dg.DagsterInstance, good: IntegrityReport
) -> None:
    keep(installation, later(good, hours=1, shortfalls=("offsite: 1 damaged objects",)))
    # Made by hand on a host that knows of the primary alone.
    keep(installation, later(good, hours=2, copies=good.copies[:1]))
    installation.clock.sleep(3 * 3600)

    check = watched(installation, instance)

    assert not check.passed
    assert check.description == "offsite: 1 damaged objects"


def test_a_report_of_another_place_greens_nothing(
    installation: MadeInstallation, instance: dg.DagsterInstance, good: IntegrityReport
) -> None:
    moved = replace(good.copies[1], url="memory://elsewhere")
    for memory in installation.memory.values():
        for key in [key for key in memory.bodies if key.startswith("reports/")]:
            memory.delete(key)
    keep(installation, replace(good, copies=(good.copies[0], moved)))

    check = watched(installation, instance)

    assert not check.passed
    assert "offsite (memory://offsite)" in str(check.description)


def test_a_report_from_the_future_greens_nothing(
    installation: MadeInstallation, instance: dg.DagsterInstance, good: IntegrityReport
) -> None:
    keep(installation, later(good, hours=1, shortfalls=("primary: 1 damaged objects",)))
    keep(installation, later(good, hours=9000))
    installation.clock.sleep(2 * 3600)

    assert not watched(installation, instance).passed


def test_a_report_of_another_service_greens_nothing(
    installation: MadeInstallation, instance: dg.DagsterInstance, good: IntegrityReport
) -> None:
    keep(installation, later(good, hours=1, shortfalls=("primary: 1 damaged objects",)))
    keep(installation, later(good, hours=2, service="other"))
    installation.clock.sleep(3 * 3600)

    assert not watched(installation, instance).passed


def test_nothing_is_written_into_a_repository_of_another_service(
    installation: MadeInstallation,
) -> None:
    installation.has_backup()
    marker = installation.offsite.bodies[layout.MARKER]
    other = marker.replace(b'"kb"', b'"other"')
    assert other != marker
    installation.offsite.bodies[layout.MARKER] = other

    report = installation.make_report(SilentProgress())

    assert any("offsite" in each for each in report.shortfalls)
    assert not [key for key in installation.offsite.bodies if key.startswith("reports/")]
    assert [key for key in installation.primary.bodies if key.startswith("reports/")]


def test_the_last_report_is_not_good_when_it_is_old_or_saw_fewer_copies(
    installation: MadeInstallation,
    good: IntegrityReport,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(kb_dr.cli.report, "installation", lambda: installation)
    assert run_cli(["report", "--last"]) == 0

    keep(installation, later(good, hours=1, shortfalls=("offsite: 1 damaged objects",)))
    keep(installation, later(good, hours=2, copies=good.copies[:1]))
    installation.clock.sleep(3 * 3600)
    assert run_cli(["report", "--last"]) == VerificationError.exit_code
    assert "offsite: 1 damaged objects" in capsys.readouterr().err

    keep(installation, later(good, hours=3))
    assert run_cli(["report", "--last"]) == 0
    installation.clock.sleep(timedelta(days=30).total_seconds())
    assert run_cli(["report", "--last"]) == VerificationError.exit_code
    said = capsys.readouterr().err
    assert "30 days old" in said
    assert "`kb-dr report` makes one" in said


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
