"""The check `restore_proven` is green for proven backups only, as the repositories say it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from kb_dr.defs import ledger
from kb_dr.defs.partitions import POSTGRES_BACKUPS
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.report import report_standing
from kb_dr.defs.postgres.sensors import pages_follow_the_repository
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain import layout
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Verdict
from kb_dr.errors import RepositoryUnavailable
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_installation import MadeInstallation


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    return MadeInstallation(tmp_path)


@pytest.fixture
def stored(installation: MadeInstallation) -> StoredManifest:
    """A backup in both copies."""
    made = installation.has_backup()
    installation.has_offsite_copy(made)
    return made


def sync(instance: dg.DagsterInstance, installation: MadeInstallation) -> str:
    """One tick of the sync sensor; what it says it did."""
    context = dg.build_sensor_context(
        instance=instance, resources={"door": InstallationDoor(lambda: installation)}
    )
    said = pages_follow_the_repository(context)
    assert isinstance(said, dg.SkipReason)
    return said.skip_message or ""


def light(instance: dg.DagsterInstance, stored: StoredManifest) -> bool | None:
    """What the page shows: True green, False red, None not evaluated."""
    return ledger.shown(instance, keys.RESTORE_PROVEN).get(stored.manifest.id)


def test_an_untried_backup_is_neither_green_nor_red(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    sync(instance, installation)

    assert light(instance, stored) is None
    assert ledger.newest(instance, keys.BACKUP, stored.manifest.id) is not None


def test_a_proven_offsite_copy_is_green(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)

    sync(instance, installation)

    assert light(instance, stored) is True


def test_a_proof_of_the_primary_alone_does_not_count_where_there_is_an_offsite_copy(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN, copy="primary")

    sync(instance, installation)

    assert light(instance, stored) is None


def test_a_proof_of_the_primary_counts_where_there_is_no_other_copy(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    alone = MadeInstallation(tmp_path, offsite=False)
    stored = alone.has_backup()
    alone.has_proof(stored, Verdict.PROVEN, copy="primary")

    sync(instance, alone)

    assert light(instance, stored) is True


def test_a_proof_of_another_manifest_greens_nothing(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN, digest="0" * 64)

    sync(instance, installation)

    assert light(instance, stored) is None


def test_a_proof_of_a_copy_that_is_not_there_greens_nothing(
    instance: dg.DagsterInstance, installation: MadeInstallation
) -> None:
    only_primary = installation.has_backup()
    installation.has_proof(only_primary, Verdict.PROVEN)

    sync(instance, installation)

    assert light(instance, only_primary) is None


def test_a_proof_that_could_not_run_is_neither_green_nor_red(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.NOT_PROVEN)

    sync(instance, installation)

    assert light(instance, stored) is None


@pytest.mark.parametrize("copy", ["offsite", "primary"])
def test_a_later_failed_proof_of_any_copy_turns_green_red(
    instance: dg.DagsterInstance,
    installation: MadeInstallation,
    stored: StoredManifest,
    copy: str,
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)
    sync(instance, installation)
    assert light(instance, stored) is True

    installation.has_proof(stored, Verdict.FAILED, copy=copy, minutes=20)
    sync(instance, installation)

    assert light(instance, stored) is False


@pytest.mark.parametrize("down", ["primary", "offsite"])
def test_a_later_failed_proof_turns_green_red_also_while_another_copy_is_down(
    instance: dg.DagsterInstance,
    installation: MadeInstallation,
    stored: StoredManifest,
    down: str,
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)
    sync(instance, installation)
    up = "offsite" if down == "primary" else "primary"
    installation.has_proof(stored, Verdict.FAILED, copy=up, minutes=20)
    installation.memory[down].failures[""] = RepositoryUnavailable(f"ask {down}: it is down")

    said = sync(instance, installation)

    assert light(instance, stored) is False
    assert f"ask {down}: it is down" in said


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.PROVEN])
@pytest.mark.parametrize("rotten", ["primary", "offsite"])
def test_a_copy_that_cannot_be_read_now_holds_up_no_red_light_and_gives_no_green_one(
    instance: dg.DagsterInstance,
    installation: MadeInstallation,
    stored: StoredManifest,
    rotten: str,
    verdict: Verdict,
) -> None:
    sync(instance, installation)  # from here on this process knows both manifests
    installation.has_proof(stored, verdict)
    key = layout.manifest_key(stored.manifest.backup_id)
    installation.memory[rotten].failures[key] = RepositoryUnavailable(f"read {key}: no answer")

    with dg.DagsterInstance.ephemeral() as anew:
        said = sync(anew, installation)

        assert light(anew, stored) is (False if verdict is Verdict.FAILED else None)
        assert f"could not tell: read {key}: no answer" in said


def test_while_a_copy_is_down_nothing_is_greened_added_or_removed(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)
    other = installation.has_backup(days=1)
    installation.has_proof(other, Verdict.PROVEN)
    installation.has_offsite_copy(other)
    sync(instance, installation)
    last = installation.has_backup(days=2)
    installation.forget(other)
    installation.primary.failures[""] = RepositoryUnavailable("ask primary: it is down")
    installation.offsite.failures.pop("", None)

    sync(instance, installation)

    assert light(instance, stored) is True
    assert set(instance.get_dynamic_partitions(POSTGRES_BACKUPS)) == {
        stored.manifest.id, other.manifest.id,
    }  # fmt: skip
    assert light(instance, last) is None


def test_a_run_that_failed_turns_the_light_red_also_while_another_copy_is_down(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)
    sync(instance, installation)
    installation.has_proof(stored, Verdict.FAILED, minutes=20)
    installation.primary.failures[""] = RepositoryUnavailable("ask primary: it is down")

    assert report_standing(instance, installation, stored.manifest.id, made_run(instance, stored))

    assert light(instance, stored) is False


def made_run(instance: dg.DagsterInstance, stored: StoredManifest) -> str:
    run = dg.DagsterRun(
        job_name="verify_job",
        run_id="11111111-1111-4111-8111-111111111111",
        status=dg.DagsterRunStatus.STARTED,
        tags={ledger.PARTITION_TAG: stored.manifest.id},
    )
    return instance.add_run(run).run_id


def test_an_old_green_never_stands_on_top_of_a_new_red(
    instance: dg.DagsterInstance,
    installation: MadeInstallation,
    stored: StoredManifest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)
    record = ledger.record_check
    recorded: list[bool] = []

    def record_late(*arguments: Any, **words: Any) -> None:
        if not recorded:
            # Between our look and our writing another proof fails, and is shown.
            installation.has_proof(stored, Verdict.FAILED, minutes=20)
            record(*arguments, **{**words, "passed": False})
        recorded.append(words["passed"])
        record(*arguments, **words)

    monkeypatch.setattr(ledger, "record_check", record_late)
    sync(instance, installation)

    assert recorded == [True, False]
    assert light(instance, stored) is False


def test_an_unreadable_manifest_is_red(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)
    sync(instance, installation)
    key = layout.manifest_key(stored.manifest.backup_id)

    installation.offsite.delete(key)
    installation.offsite.put(key, b"not a manifest")
    sync(instance, installation)

    assert light(instance, stored) is False


def test_a_green_light_goes_out_when_its_proof_is_gone(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    proof = installation.has_proof(stored, Verdict.PROVEN)
    sync(instance, installation)
    assert light(instance, stored) is True

    for memory in installation.memory.values():
        memory.delete(layout.proof_key(stored.manifest.backup_id, "offsite", proof.id))
    sync(instance, installation)

    assert light(instance, stored) is None
    shown = ledger.newest(instance, keys.RESTORE_PROOF, stored.manifest.id)
    assert shown is not None
    assert shown.texts["verdict"] == "none"


def test_a_new_dagster_shows_what_the_repositories_prove(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    proof = installation.has_proof(stored, Verdict.PROVEN)
    untried = installation.has_backup(days=1)
    sync(instance, installation)

    with dg.DagsterInstance.ephemeral() as anew:
        sync(anew, installation)

        assert set(anew.get_dynamic_partitions(POSTGRES_BACKUPS)) == {
            stored.manifest.id,
            untried.manifest.id,
        }
        assert light(anew, stored) is True
        assert light(anew, untried) is None
        shown = ledger.newest(anew, keys.RESTORE_PROOF, stored.manifest.id)
        assert shown is not None
        assert shown.texts["proof_id"] == proof.id
        recorded = ledger.newest(anew, keys.BACKUP, stored.manifest.id)
        assert recorded is not None
        assert recorded.data_version == stored.digest


def test_a_new_dagster_shows_what_a_proof_read(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)

    sync(instance, installation)

    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=keys.RESTORE_PROOF, asset_partitions=[stored.manifest.id]),
        limit=1,
    ).records
    assert records[0].asset_materialization is not None
    shown = records[0].asset_materialization.metadata["lineage"].value
    assert stored.digest[:12] in str(shown)


def forward(instance: dg.DagsterInstance, stored: StoredManifest) -> list[dict[str, str]]:
    """What the page of a backup was told of where it leads, newest first."""
    records = instance.fetch_observations(
        dg.AssetRecordsFilter(asset_key=keys.BACKUP, asset_partitions=[stored.manifest.id]),
        limit=9,
    ).records
    found = []
    for each in records:
        assert each.event_log_entry.dagster_event is not None
        observed = each.event_log_entry.dagster_event.asset_observation_data.asset_observation
        found.append({name: str(value.value) for name, value in observed.metadata.items()})
    return found


def test_the_page_of_a_backup_follows_its_proofs_children_and_holds(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    sync(instance, installation)
    (untried,) = forward(instance, stored)
    assert untried["proofs"] == "none"

    red = installation.has_proof(stored, Verdict.FAILED, copy="primary")
    assert "lineage" in sync(instance, installation)
    assert red.id in forward(instance, stored)[0]["proofs"]

    child = store_increment(installation.primary, installation.codec, stored, hours=1)
    sync(instance, installation)
    assert child.manifest.id in forward(instance, stored)[0]["needed_by"]

    installation.hold(stored.manifest.backup_id, "a court asks for it")
    sync(instance, installation)
    newest = forward(instance, stored)[0]
    assert "a court asks for it" in newest["holds"]
    assert red.id in newest["proofs"]

    assert "brought in line: none" in sync(instance, installation)
    assert len(forward(instance, stored)) == 4


def test_where_a_backup_leads_is_told_again_of_a_new_materialisation(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    sync(instance, installation)

    ledger.record_materialisation(
        instance, keys.BACKUP, stored.manifest.id, data_version=stored.digest, metadata={}
    )
    sync(instance, installation)

    assert len(forward(instance, stored)) == 2


def test_a_second_look_changes_nothing(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)
    failed = installation.has_backup(days=1)
    installation.has_proof(failed, Verdict.FAILED, copy="primary")
    sync(instance, installation)

    assert "brought in line: none" in sync(instance, installation)


def test_a_purged_backup_loses_its_partition_and_no_other_does(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    kept = installation.has_backup(days=1)
    instance.add_dynamic_partitions(POSTGRES_BACKUPS, ["kb-full-20261230-020000"])
    sync(instance, installation)

    installation.forget(stored)
    sync(instance, installation)

    assert set(instance.get_dynamic_partitions(POSTGRES_BACKUPS)) == {
        kept.manifest.id,
        "kb-full-20261230-020000",  # named, and not yet taken
    }


def test_nothing_changes_while_a_repository_cannot_be_read(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)
    sync(instance, installation)

    installation.offsite.delete(layout.MARKER)
    said = sync(instance, installation)

    assert said.startswith("could not tell")
    assert stored.manifest.id in instance.get_dynamic_partitions(POSTGRES_BACKUPS)
    assert light(instance, stored) is True


def test_a_proof_made_by_a_run_turns_its_backup_green(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    sync(instance, installation)

    result = run_verify_job(instance, installation, stored)

    assert result.success
    assert light(instance, stored) is True
    shown = ledger.newest(instance, keys.RESTORE_PROOF, stored.manifest.id)
    assert shown is not None
    assert shown.run_id == result.run_id
    assert shown.texts["verdict"] == "PROVEN"
    assert shown.texts["copy_read"].startswith("offsite")
    assert shown.texts["manifest_digest"] == stored.digest


def test_a_failed_proof_fails_its_run_and_turns_the_light_red_at_once(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)
    sync(instance, installation)
    installation.verdict = Verdict.FAILED

    result = run_verify_job(instance, installation, stored)

    assert not result.success
    assert light(instance, stored) is False
    sync(instance, installation)
    assert light(instance, stored) is False


def test_a_proof_that_could_not_run_fails_its_run_and_leaves_the_light(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    installation.has_proof(stored, Verdict.PROVEN)
    sync(instance, installation)
    installation.verdict = Verdict.NOT_PROVEN

    result = run_verify_job(instance, installation, stored)

    assert not result.success
    assert light(instance, stored) is True


def test_a_run_shows_no_green_on_a_manifest_the_page_does_not_show(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> None:
    instance.add_dynamic_partitions(POSTGRES_BACKUPS, [stored.manifest.id])
    ledger.record_materialisation(
        instance, keys.BACKUP, stored.manifest.id, data_version="0" * 64, metadata={}
    )

    run_verify_job(instance, installation, stored)

    assert light(instance, stored) is None


def run_verify_job(
    instance: dg.DagsterInstance, installation: MadeInstallation, stored: StoredManifest
) -> dg.ExecuteInProcessResult:
    """The job a person or the schedule runs."""
    return (
        installation.definitions()
        .resolve_job_def("verify_job")
        .execute_in_process(
            instance=instance, partition_key=stored.manifest.id, raise_on_error=False
        )
    )
