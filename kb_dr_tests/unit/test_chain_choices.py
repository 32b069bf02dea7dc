"""An increment is worth what its parents are, wherever a backup is chosen, judged or counted."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.defs.postgres.judgement import judge_now
from kb_dr.domain import layout
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.forecast import MeasuredRun, RestoreWork, forecast
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Outcome, Phase, Proof, Standing, Verdict
from kb_dr.domain.recovery import SPOOLED_SEGMENTS
from kb_dr.domain.status import BackupStatus
from kb_dr.errors import NoUsableBackup
from kb_dr.operations.backup_chain import chains_in
from kb_dr.operations.catalog import load_catalog
from kb_dr.operations.choose_backup import choose_backup
from kb_dr.operations.controls import store_control_run
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.plan_recovery import bytes_needed
from kb_dr.operations.proofs import load_proofs, store_proof
from kb_dr.operations.recovery_windows import list_recovery_windows
from kb_dr.operations.survey import survey
from kb_dr.operations.validate_backup import validate_backup
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.made_chains import store_chain, store_increment
from kb_dr_tests.made_controls import made_run
from kb_dr_tests.made_installation import MadeInstallation, made_proof
from kb_dr_tests.stored_backups import SEGMENT_BYTES

CODEC = PlainCodec()
MIB = 1024 * 1024


@pytest.fixture
def repository() -> MemoryRepository:
    made = MemoryRepository()
    init_repository(made, FakeClock(), service="kb", org="default")
    return made


def prove(
    repository: MemoryRepository, of: StoredManifest, verdict: Verdict, *, minutes: int
) -> Proof:
    """Keep a proof that ended so many minutes after the first backup."""
    made = made_proof(of, verdict, copy="primary")
    at = made.finished.replace(hour=12, minute=0) + timedelta(minutes=minutes)
    proof = replace(
        made, id=f"{minutes}", url=repository.url, started=at, finished=at, reason="a bad chunk"
    )
    store_proof(repository, proof)
    return proof


def remove(repository: MemoryRepository, stored: StoredManifest) -> None:
    repository.delete(layout.manifest_key(stored.manifest.backup_id))


def status(repository: MemoryRepository) -> dict[str, BackupStatus]:
    proofs = {
        each.manifest.id: load_proofs(repository, each.manifest.backup_id)
        for each in load_catalog(repository)
        if isinstance(each, StoredManifest)
    }
    found = survey(repository, CODEC, proofs, service="kb", org="default", void_through=None)
    assert {each.id for each in found.proven} == {
        each.id for each in found.backups if each.standing is Standing.PROVEN
    }
    return {each.id: each for each in found.backups}


def test_the_newest_with_a_whole_chain_is_chosen_and_the_others_named(
    repository: MemoryRepository,
) -> None:
    full, first, second, third = store_chain(repository, CODEC, increments=3)
    remove(repository, first)

    chosen = choose_backup(repository)

    assert chosen.stored == full
    assert [each.split(":")[0] for each in chosen.passed_over] == [
        third.manifest.id,
        second.manifest.id,
    ]
    assert all(first.manifest.id in each for each in chosen.passed_over)
    assert choose_backup(repository, third.manifest.id).stored == third, "asked for by its id"


def test_a_green_of_a_blind_verifier_refutes_no_older_red(repository: MemoryRepository) -> None:
    full, first = store_chain(repository, CODEC, increments=1)
    prove(repository, first, Verdict.FAILED, minutes=10)
    green = prove(repository, first, Verdict.PROVEN, minutes=20)
    assert choose_backup(repository).stored == first

    blind = made_run(green.finished, {Damage.ROWS_DROPPED: ControlOutcome.BLIND})
    store_control_run([repository], blind)

    assert choose_backup(repository).stored == full


def test_a_green_of_a_blind_verifier_alone_is_no_reason_to_pass_a_backup_over(
    repository: MemoryRepository,
) -> None:
    (full,) = store_chain(repository, CODEC, increments=0)
    green = prove(repository, full, Verdict.PROVEN, minutes=20)
    blind = made_run(green.finished, {Damage.ROWS_DROPPED: ControlOutcome.BLIND})
    store_control_run([repository], blind)

    assert choose_backup(repository).stored == full


def test_with_nothing_but_orphans_there_is_no_backup(repository: MemoryRepository) -> None:
    full, first, second = store_chain(repository, CODEC, increments=2)
    remove(repository, full)

    with pytest.raises(
        NoUsableBackup, match=f"passed over: {second.manifest.id}.*{first.manifest.id}"
    ):
        choose_backup(repository)


def test_a_chain_that_was_proven_is_not_once_a_link_is_lost(repository: MemoryRepository) -> None:
    full, first, second = store_chain(repository, CODEC, increments=2)
    prove(repository, second, Verdict.PROVEN, minutes=10)
    assert status(repository)[second.manifest.id].standing is Standing.PROVEN
    remove(repository, first)

    found = status(repository)[second.manifest.id]

    assert found.standing is Standing.FAILED
    assert not found.usable
    assert first.manifest.id in found.broken
    assert status(repository)[full.manifest.id].broken == ""


@pytest.mark.parametrize(
    ("green_at", "usable"), [(None, False), (10, False), (20, False), (30, True)]
)
def test_a_red_parent_speaks_against_its_children_unless_they_were_proven_since(
    repository: MemoryRepository, green_at: int | None, usable: bool
) -> None:
    full, first, second = store_chain(repository, CODEC, increments=2)
    red = prove(repository, first, Verdict.FAILED, minutes=20)
    if green_at is not None:
        prove(repository, second, Verdict.PROVEN, minutes=green_at)

    chosen, found = choose_backup(repository), status(repository)[second.manifest.id]

    assert chosen.stored == (second if usable else full)
    assert found.usable is usable
    if not usable:
        told = f"proof {red.id} of its parent {first.manifest.id} FAILED: a bad chunk"
        assert told in chosen.passed_over[0]
        assert found.broken == told


def test_a_red_child_says_nothing_of_its_parent(repository: MemoryRepository) -> None:
    full, first = store_chain(repository, CODEC, increments=1)
    prove(repository, first, Verdict.FAILED, minutes=20)

    assert choose_backup(repository).stored == full
    assert status(repository)[full.manifest.id].usable


def test_a_proven_child_makes_no_parent_proven(repository: MemoryRepository) -> None:
    full, first = store_chain(repository, CODEC, increments=1)
    prove(repository, first, Verdict.PROVEN, minutes=20)

    assert status(repository)[full.manifest.id].standing is Standing.UNPROVEN


def test_no_window_stands_on_a_broken_chain(repository: MemoryRepository) -> None:
    full, first, second = store_chain(repository, CODEC, increments=2)
    remove(repository, first)

    windows = list_recovery_windows(repository, CODEC)

    assert {each for window in windows for each in window.backups} == {full.manifest.id}
    assert chains_in(load_catalog(repository)).broken.keys() == {second.manifest.id}


def test_every_object_of_a_chain_is_looked_at(repository: MemoryRepository) -> None:
    full, first, second = store_chain(repository, CODEC, increments=2)
    chunk = first.manifest.chunks[0]

    def findings(*, deep: bool = True) -> list[str]:
        found = validate_backup(
            repository, CODEC, second.manifest.backup_id, RecordingProgress(), deep=deep
        )
        return [each.subject for each in found.findings if each.outcome is not Outcome.PASSED]

    assert findings() == []
    good = repository.bodies[chunk.key]
    repository.bodies[chunk.key] = good[:-1] + b"?"
    assert findings() == [chunk.key]
    assert findings(deep=False) == []
    del repository.bodies[chunk.key]
    assert findings() == findings(deep=False) == [chunk.key]
    repository.bodies[chunk.key] = good
    remove(repository, full)
    assert findings() == findings(deep=False) == ["chain"]


def test_the_page_of_a_broken_chain_is_red_whatever_was_proven(tmp_path: Path) -> None:
    installation = MadeInstallation(tmp_path)
    full = installation.has_backup()
    installation.has_offsite_copy(full)
    child = store_increment(installation.primary, installation.codec, full)
    installation.has_offsite_copy(child)
    installation.has_proof(child, Verdict.PROVEN)
    assert judge_now(installation, child.manifest.id).passed is True
    remove(installation.offsite, full)

    judged = judge_now(installation, child.manifest.id)

    assert judged.passed is False
    assert judged.reason.startswith("the offsite copy: ")
    assert full.manifest.id in judged.reason


@pytest.fixture
def proven_child(tmp_path: Path) -> tuple[MadeInstallation, StoredManifest, StoredManifest]:
    """An installation, a full, and an increment that is proven offsite; both in both copies."""
    installation = MadeInstallation(tmp_path)
    full = installation.has_backup()
    installation.has_offsite_copy(full)
    child = store_increment(installation.primary, installation.codec, full)
    installation.has_offsite_copy(child)
    installation.has_proof(child, Verdict.PROVEN)
    return installation, full, child


ProvenChild = tuple[MadeInstallation, StoredManifest, StoredManifest]


@pytest.mark.parametrize("copy", ["primary", "offsite"])
def test_the_page_is_red_when_a_proof_of_the_parent_failed_since(
    proven_child: ProvenChild, copy: str
) -> None:
    installation, full, child = proven_child
    installation.has_proof(full, Verdict.FAILED, copy=copy, minutes=500)

    judged = judge_now(installation, child.manifest.id)

    assert judged.passed is False
    assert f"the {copy} copy: " in judged.reason
    assert full.manifest.id in judged.reason


def test_the_page_stays_green_when_the_parent_failed_before(proven_child: ProvenChild) -> None:
    installation, full, child = proven_child
    installation.has_proof(full, Verdict.FAILED, minutes=1)

    assert judge_now(installation, child.manifest.id).passed is True


def test_a_list_never_shows_an_increment_as_proven_in_a_copy_whose_parent_failed_since(
    proven_child: ProvenChild,
) -> None:
    installation, full, child = proven_child
    installation.has_proof(full, Verdict.FAILED, minutes=500)

    line = {each.id: each for each in installation.overview("primary")}[child.manifest.id]
    there = {each.id: each for each in installation.overview("offsite")}[child.manifest.id]

    assert line.standings == there.standings
    assert line.standings == {"primary": Standing.UNPROVEN, "offsite": Standing.FAILED}


def test_a_list_never_shows_an_increment_as_proven_in_a_copy_without_its_parent(
    proven_child: ProvenChild,
) -> None:
    installation, full, child = proven_child
    remove(installation.offsite, full)

    line = {each.id: each for each in installation.overview("primary")}[child.manifest.id]

    assert line.standings == {"primary": Standing.UNPROVEN}
    assert full.manifest.id in line.troubles["offsite"]


# room and time


def sized(stored: StoredManifest, plain: int, databases: int) -> StoredManifest:
    source = replace(stored.manifest.source, size_bytes=databases)
    return replace(stored, manifest=replace(stored.manifest, plain_bytes=plain, source=source))


def test_a_chain_needs_room_for_every_link_and_for_what_they_make(
    repository: MemoryRepository,
) -> None:
    chain = store_chain(repository, CODEC, increments=2)
    point = store_increment(repository, CODEC, chain[2], files=False)
    wal = (24 + SPOOLED_SEGMENTS) * SEGMENT_BYTES
    full = sized(chain[0], 1000 * MIB, 900 * MIB)
    first, second = sized(chain[1], 50 * MIB, 950 * MIB), sized(chain[2], 70 * MIB, 1100 * MIB)

    assert bytes_needed([full]) == 1100 * MIB + wal
    assert bytes_needed([full, first]) == 1050 * MIB + 1050 * MIB * 11 // 10 + wal
    assert bytes_needed([full, first, second]) == 1120 * MIB + 1200 * MIB * 11 // 10 + wal
    assert bytes_needed([full, first, second, point]) == bytes_needed([full, first, second])
    assert bytes_needed([full, point]) == bytes_needed([full])


RUN = MeasuredRun(
    "offsite",
    (
        Phase("fetch and unpack", 10.0, 500 * MIB),
        Phase("verify files", 5.0, 500 * MIB),
        Phase("fetch and unpack", 1.0, 50 * MIB),
        Phase("verify files", 0.5, 50 * MIB),
        Phase("combine", 6.0, 450 * MIB),
        Phase("replay", 4.0, 8 * MIB),
    ),
    seconds=26.5,
)


def without_combining(run: MeasuredRun) -> MeasuredRun:
    return replace(run, phases=tuple(each for each in run.phases if each.name != "combine"))


def test_combining_is_foretold_where_it_is_done_and_was_measured(
    repository: MemoryRepository,
) -> None:
    chain = store_chain(repository, CODEC, increments=1)
    full, first = sized(chain[0], 1000 * MIB, 900 * MIB), sized(chain[1], 100 * MIB, 900 * MIB)
    made_of = [full.manifest, first.manifest]
    whole, alone = RestoreWork.of(first.manifest, 8, made_of), RestoreWork.of(full.manifest, 8)

    def seconds(work: RestoreWork, run: MeasuredRun) -> dict[str, float]:
        return {each.name: each.seconds for each in forecast(work, [run], copy="offsite").phases}

    assert (whole.plain_bytes, whole.combines) == (1100 * MIB, True)
    assert seconds(whole, RUN)["combine"] == pytest.approx(12.0)
    assert seconds(whole, RUN)["fetch and unpack"] == pytest.approx(22.0)
    assert "combine" not in seconds(alone, RUN)
    told = forecast(whole, [without_combining(RUN)], copy="offsite")
    assert (told.seconds, told.basis) == (None, "not measured with its size: combine")
    assert forecast(alone, [without_combining(RUN)], copy="offsite").seconds is not None


def test_of_many_children_of_one_lost_parent_the_newest_few_are_named(
    repository: MemoryRepository,
) -> None:
    chain = store_chain(repository, CODEC, increments=20)
    remove(repository, chain[0])

    with pytest.raises(NoUsableBackup, match=r"; and 12 more$") as told:
        choose_backup(repository)

    assert chain[-1].manifest.id in str(told.value)
    assert chain[5].manifest.id not in str(told.value)
