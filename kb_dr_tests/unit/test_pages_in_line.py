"""A tick looks again at what changed, by whoever's hand, and at nothing else."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from kb_dr.defs import ledger
from kb_dr.defs.postgres import in_line, keys
from kb_dr.domain import layout
from kb_dr.domain.control import Damage
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Verdict
from kb_dr.operations.controls import store_control_run
from kb_dr_tests.bench.growth_ticks import Ticks
from kb_dr_tests.counting_repository import CountingRepository
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_controls import BLIND, made_run
from kb_dr_tests.made_installation import MadeInstallation


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    return MadeInstallation(tmp_path)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def proven(installation: MadeInstallation) -> StoredManifest:
    stored = installation.has_backup()
    installation.has_offsite_copy(stored)
    installation.has_proof(stored, Verdict.PROVEN)
    return stored


def settled(installation: MadeInstallation, instance: dg.DagsterInstance) -> Ticks:
    """After the tick that found nothing more to do."""
    ticks = Ticks(installation, "pages_follow_the_repository", instance)
    for _ in range(5):
        if ticks.tick().endswith("none"):
            return ticks
    raise AssertionError("it never comes to an end")


def light(instance: dg.DagsterInstance, stored: StoredManifest) -> bool | None:
    return ledger.shown(instance, keys.RESTORE_PROVEN).get(stored.manifest.id)


def test_a_tick_without_news_asks_no_more_for_more_backups(
    installation: MadeInstallation, instance: dg.DagsterInstance, proven: StoredManifest
) -> None:
    asked = []
    for day in (1, 9):
        for each in range(day):
            stored = installation.has_backup(days=10 * day + each)
            installation.has_offsite_copy(stored)
        ticks = settled(installation, instance)
        counted = {copy: CountingRepository(memory) for copy, memory in installation.memory.items()}
        installation._repositories.update(counted)
        ticks.tick()
        installation._repositories.update(installation.memory)
        asked.append([each.calls["list"] + each.calls["read"] for each in counted.values()])

    assert asked[0] == asked[1]


def failed(made: MadeInstallation, stored: StoredManifest) -> None:
    made.has_proof(stored, Verdict.FAILED, minutes=30)


def blind(made: MadeInstallation, stored: StoredManifest) -> None:
    at = stored.manifest.finished + timedelta(days=1)
    run = made_run(at, {Damage.ROWS_DROPPED: BLIND})
    store_control_run(list(made.memory.values()), run)


def damaged(made: MadeInstallation, stored: StoredManifest) -> None:
    key = layout.manifest_key(stored.manifest.backup_id)
    made.offsite.delete(key)
    made.offsite.put(key, b"{")


@pytest.mark.parametrize("harm", [failed, blind, damaged])
def test_a_green_light_turns_red_in_the_tick_after(
    installation: MadeInstallation,
    instance: dg.DagsterInstance,
    proven: StoredManifest,
    harm: Callable[[MadeInstallation, StoredManifest], None],
) -> None:
    ticks = settled(installation, instance)
    assert light(instance, proven) is True

    harm(installation, proven)
    ticks.tick()

    assert light(instance, proven) is False


def test_a_child_turns_red_in_the_tick_after_its_parent_failed(
    installation: MadeInstallation, instance: dg.DagsterInstance, proven: StoredManifest
) -> None:
    child = store_increment(installation.primary, installation.codec, proven, hours=1)
    installation.has_offsite_copy(child)
    installation.has_proof(child, Verdict.PROVEN)
    ticks = settled(installation, instance)
    assert light(instance, child) is True

    installation.has_proof(proven, Verdict.FAILED, minutes=300)
    ticks.tick()

    assert light(instance, child) is False


def test_the_light_of_a_proof_that_was_removed_goes_out(
    installation: MadeInstallation, instance: dg.DagsterInstance, proven: StoredManifest
) -> None:
    ticks = settled(installation, instance)

    for memory in installation.memory.values():
        for listed in list(memory.list(layout.proofs_prefix(proven.manifest.backup_id))):
            memory.delete(listed.key)
    ticks.tick()

    assert light(instance, proven) is None


def test_what_somebody_wrote_into_dagster_is_set_right(
    installation: MadeInstallation, instance: dg.DagsterInstance, proven: StoredManifest
) -> None:
    ticks = settled(installation, instance)

    ledger.record_materialisation(
        instance, keys.BACKUP, proven.manifest.id, data_version="another", metadata={}
    )
    ticks.tick()

    at = ledger.newest(instance, keys.BACKUP, proven.manifest.id)
    assert at is not None
    assert at.data_version == proven.digest
    assert light(instance, proven) is True


def test_a_page_without_a_light_is_set_right_as_well(
    installation: MadeInstallation, instance: dg.DagsterInstance
) -> None:
    untried = installation.has_backup()
    ticks = settled(installation, instance)

    ledger.record_materialisation(
        instance, keys.BACKUP, untried.manifest.id, data_version="another", metadata={}
    )
    ticks.tick()

    at = ledger.newest(instance, keys.BACKUP, untried.manifest.id)
    assert at is not None
    assert at.data_version == untried.digest


def test_another_dagster_is_never_taken_for_the_one_that_was_looked_at(
    installation: MadeInstallation, instance: dg.DagsterInstance
) -> None:
    untried = installation.has_backup()
    name = untried.manifest.id
    settled(installation, instance)

    with dg.DagsterInstance.ephemeral() as other:
        # As many events, of the same numbers, as were recorded in the first one.
        ledger.record_materialisation(other, keys.BACKUP, name, data_version="another", metadata={})
        ledger.record_observation(other, keys.BACKUP, name, state="another", metadata={})
        for observations in (False, True):
            assert ledger.newest_ids(
                other, keys.BACKUP, observations=observations
            ) == ledger.newest_ids(instance, keys.BACKUP, observations=observations)
        Ticks(installation, "pages_follow_the_repository", other).tick()
        at = ledger.newest(other, keys.BACKUP, name)

    assert at is not None
    assert at.data_version == untried.digest


def test_each_backup_is_looked_at_again_after_a_while() -> None:
    seen = in_line.InLine()
    seen.remember({"a": "as it was"}, 1000.0)

    assert seen.knows("a", "as it was", 1000.0 + in_line.BELIEVED_SECONDS - 1)
    assert not seen.knows("a", "as it was", 1000.0 + in_line.BELIEVED_SECONDS)
    assert not seen.knows("a", "otherwise", 1001.0)
    assert not seen.knows("b", "as it was", 1001.0)
    seen.forget_all_but(["b"])
    assert not seen.knows("a", "as it was", 1001.0)
