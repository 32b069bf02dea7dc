"""A round of controls touches nothing but its record, and tells what it could not do."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from kb_dr.adapters.overlay_repository import OverlayRepository
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.control import ALL, ControlRun, Damage, Harm, void_through
from kb_dr.domain.fingerprint import Fingerprint, TableFingerprint
from kb_dr.domain.manifest import Source, StoredManifest, VectorBaseline
from kb_dr.domain.proof import Check, Outcome, Proof, Verdict
from kb_dr.domain.recovery import Replay
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import NotProven, NoUsableBackup, RepositoryUnavailable, UnreadableRecord
from kb_dr.operations import run_controls as round_of
from kb_dr.operations.catalog import read_manifest, store_manifest
from kb_dr.operations.controls import gather_control_runs, load_control_runs, store_control_run
from kb_dr.operations.do_damage import DamagingInspector
from kb_dr.operations.proofs import store_proof
from kb_dr.operations.run_controls import ControlTools, run_controls
from kb_dr.ports import Clock, Codec, Inspection, Repository, RestoredServer
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.made_controls import BLIND, COULD_NOT_RUN, GOOD, MISJUDGED, made_run
from kb_dr_tests.made_installation import made_proof
from kb_dr_tests.made_wal import WalWriter
from kb_dr_tests.stored_backups import (
    STARTED,
    SYSTEM,
    segment,
    store_backup,
    store_objects,
    store_wal,
)

CODEC = PlainCodec()


class Recording(MemoryRepository):
    """Takes records of controls, and raises on every other write."""

    sealed = False

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        assert not self.sealed or key.startswith(layout.CONTROLS), f"put {key}"
        return super().put(key, body)

    def delete(self, key: str) -> None:
        assert not self.sealed, f"delete {key}"
        super().delete(key)


def protected(clock: FakeClock) -> tuple[Recording, StoredManifest]:
    """A repository with a backup and four segments of WAL, closed to everything but records."""
    repository = Recording(clock=clock)
    stored = store_manifest(repository, store_objects(repository))
    writer = WalWriter(segment(2), system_identifier=SYSTEM)
    writer.fill(4)
    for name, content in list(writer.segments().items())[:4]:
        store_wal(repository, CODEC, name, content)
    repository.sealed = True
    return repository, stored


class Played:
    """A verifier that looks at the copy as far as it goes without restoring, and says so."""

    def __init__(self, answer: Callable[[Repository, Codec], tuple[Verdict, str]]) -> None:
        self.answer = answer
        self.copies: list[Repository] = []
        self.backups: list[BackupId] = []
        self.slept = 0.0

    def __call__(
        self,
        repository: Repository,
        codec: Codec,
        host: object,
        scratch: object,
        inspector: object,
        clock: Clock,
        progress: object,
        *,
        backup: BackupId,
        loading: object,
    ) -> Proof:
        self.copies.append(repository)
        self.backups.append(backup)
        before = clock.monotonic()
        clock.sleep(30)
        self.slept += clock.monotonic() - before
        verdict, reason = self.answer(repository, codec)
        stored = StoredManifest(store_objects(MemoryRepository()), "d", "primary")
        proof = replace(made_proof(stored, verdict), reason=reason, copy=repository.name)
        store_proof(repository, proof)
        return proof


def tools(clock: FakeClock) -> ControlTools:
    nothing = cast("Any", None)
    return ControlTools(
        codec=CODEC,
        stranger=PlainCodec(),
        host=nothing,
        scratch=nothing,
        inspector=nothing,
        damager=nothing,
        overlay=OverlayRepository,
        clock=clock,
    )


def sees(damaged: Repository, codec: Codec) -> tuple[Verdict, str]:
    """Reads everything, and names what is wrong."""
    if codec is not CODEC:
        return Verdict.NOT_PROVEN, "no identity at hand"
    here = {listed.key: listed.size_bytes for listed in damaged.list("")}
    real = REAL[0]
    gone = [key for key in real.bodies if key not in here]
    other = [key for key in here if key in real.bodies and damaged.read(key) != real.bodies[key]]
    return (Verdict.FAILED, f"{gone} {other}") if gone or other else (Verdict.PROVEN, "all good")


REAL: list[MemoryRepository] = []


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(STARTED + timedelta(hours=2))


@pytest.fixture
def real(clock: FakeClock) -> Recording:
    repository, _ = protected(clock)
    REAL[:] = [repository]
    return repository


def go(
    real: Repository,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    verifier: Played,
    **words: Any,
) -> ControlRun:
    monkeypatch.setattr(round_of, "verify_backup", verifier)
    return run_controls(real, tools(clock), RecordingProgress(), **words)


IN_THE_COPY = (
    Damage.WAL_MISSING,
    Damage.WAL_EMPTY,
    Damage.CHUNK_FLIPPED,
    Damage.CHUNK_FORGED,
    Damage.WRONG_KEY,
)


def test_each_damage_is_another_and_the_real_copy_gets_nothing_but_the_record(
    real: Recording, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(real.bodies)
    verifier = Played(sees)

    run = go(real, clock, monkeypatch, verifier, damages=IN_THE_COPY)

    assert [(each.damage, each.outcome) for each in run.results] == [
        (damage, GOOD) for damage in IN_THE_COPY
    ]
    assert run.passed
    assert {key: body for key, body in real.bodies.items() if key in before} == before
    assert set(real.bodies) - set(before) == {layout.control_key(run.id)}
    assert load_control_runs(real) == (run,)
    assert [copy.name for copy in verifier.copies] == [
        f"control-{damage}-of-primary" for damage in IN_THE_COPY
    ]
    assert all(copy.url != real.url for copy in verifier.copies)


def test_a_hole_is_in_the_middle_and_nobody_waits_for_it_to_close(
    real: Recording, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = Played(sees)

    run = go(real, clock, monkeypatch, verifier, damages=(Damage.WAL_MISSING,))

    # 2 and 3 the backup needs itself, 5 is the newest.
    assert run.results[0].detail == f"{segment(4).name} is missing"
    assert verifier.slept == 30.0
    assert clock.monotonic() == 0.0


def test_a_forged_manifest_fits_the_forged_chunk(
    real: Recording, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trusts_the_manifest(damaged: Repository, codec: Codec) -> tuple[Verdict, str]:
        for chunk in read_manifest(damaged, verifier.backups[-1]).manifest.chunks:
            damaged.get(chunk)
        return Verdict.PROVEN, "all digests fit"

    verifier = Played(trusts_the_manifest)

    run = go(real, clock, monkeypatch, verifier, damages=(Damage.CHUNK_FORGED,))

    assert [each.outcome for each in run.blind] == [BLIND]
    assert void_through([run]) == ALL


def test_what_keeps_one_control_from_running_is_in_its_result(
    real: Recording, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(damaged: Repository, codec: Codec) -> tuple[Verdict, str]:
        raise RepositoryUnavailable("get: down")

    damages = (Damage.HISTORY_MISSING, Damage.VECTOR_INDEX_STALE, Damage.WAL_EMPTY)
    run = go(real, clock, monkeypatch, Played(down), damages=damages)

    assert [each.outcome for each in run.results] == [COULD_NOT_RUN] * 3
    assert [each.verdict for each in run.results] == [None] * 3
    assert "never promoted" in run.results[0].reason
    assert "vector index" in run.results[1].reason
    assert run.results[2].reason == "get: down"
    assert not run.passed


def test_a_host_that_can_verify_nothing_does_not_pass(
    real: Recording, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = Played(lambda *_: (Verdict.NOT_PROVEN, "restore PostgreSQL 16: no programs"))

    run = go(real, clock, monkeypatch, verifier, damages=IN_THE_COPY)

    assert {each.outcome for each in run.results} == {COULD_NOT_RUN}
    assert not run.passed


def test_red_for_another_reason_is_misjudged(
    real: Recording, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier = Played(lambda *_: (Verdict.FAILED, "something or other"))

    run = go(real, clock, monkeypatch, verifier, damages=(Damage.WAL_EMPTY, Damage.WRONG_KEY))

    assert [each.outcome for each in run.results] == [MISJUDGED, MISJUDGED]


def test_an_interrupted_round_leaves_a_record_only_if_it_was_blind(
    real: Recording, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Callable[[], tuple[Verdict, str]]] = []

    def interrupted() -> tuple[Verdict, str]:
        raise KeyboardInterrupt

    verifier = Played(lambda *_: answers.pop(0)())
    answers += [lambda: (Verdict.FAILED, "of no use"), interrupted]
    with pytest.raises(KeyboardInterrupt):
        go(real, clock, monkeypatch, verifier, damages=IN_THE_COPY)
    assert load_control_runs(real) == ()

    answers += [lambda: (Verdict.PROVEN, "all good"), interrupted]
    with pytest.raises(KeyboardInterrupt):
        go(real, clock, monkeypatch, verifier, damages=IN_THE_COPY)

    (run,) = load_control_runs(real)
    assert [each.outcome for each in run.results] == [BLIND]
    assert void_through([run]) == ALL


def test_on_a_clock_set_back_a_blind_round_is_still_the_newest(
    real: Recording, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = made_run(clock.now() + timedelta(days=3))
    store_control_run((real,), ahead)

    run = go(real, clock, monkeypatch, Played(lambda *_: (Verdict.PROVEN, "")), damages=IN_THE_COPY)

    assert run.finished > ahead.finished
    assert void_through(load_control_runs(real)) == ALL


def test_the_newest_proven_backup_is_damaged_else_the_newest(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = MemoryRepository()
    first = store_backup(repository, CODEC)
    second = store_backup(repository, CODEC, started=STARTED + timedelta(days=1))
    third = store_backup(repository, CODEC, started=STARTED + timedelta(days=2))
    words = {"damages": (Damage.WRONG_KEY,)}

    newest = go(repository, clock, monkeypatch, Played(sees), **words)
    for stored, verdict in (
        (first, Verdict.PROVEN),
        (second, Verdict.PROVEN),
        (third, Verdict.FAILED),
    ):
        store_proof(repository, made_proof(stored, verdict, copy="primary"))
    proven = go(repository, clock, monkeypatch, Played(sees), **words)
    asked = go(
        repository, clock, monkeypatch, Played(sees), backup=first.manifest.backup_id, **words
    )

    assert [run.backup_id for run in (newest, proven, asked)] == [
        third.manifest.id,
        second.manifest.id,
        first.manifest.id,
    ]


def test_without_a_backup_there_is_nothing_to_damage(
    clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NoUsableBackup):
        go(MemoryRepository(), clock, monkeypatch, Played(sees))


def test_a_history_is_taken_from_the_newest_backup_that_has_one(
    real: Recording, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real.sealed = False
    older = store_objects(real, started=STARTED - timedelta(days=1), attempt="a0")
    older = replace(older, wal=replace(older.wal, timeline=2))
    store_manifest(real, older)
    store_wal(real, CODEC, "00000002.history", b"1\t0/200000\tno recovery target\n")
    real.sealed = True
    verifier = Played(sees)

    run = go(real, clock, monkeypatch, verifier, damages=(Damage.HISTORY_MISSING,))

    assert run.results[0].outcome is GOOD
    assert verifier.backups == [older.backup_id]
    assert older.id in run.results[0].detail


# --- records ----------------------------------------------------------------------------------


def test_a_record_is_kept_wherever_it_can_be() -> None:
    here, there = MemoryRepository("primary"), MemoryRepository("offsite")
    here.failures[""] = RepositoryUnavailable("put: down")
    run = made_run(STARTED, {Damage.WAL_EMPTY: BLIND})

    store_control_run((here, there), run)

    assert load_control_runs(there) == (run,)
    there.failures[""] = RepositoryUnavailable("put: down as well")
    with pytest.raises(RepositoryUnavailable):
        store_control_run((here, there), run)


def test_a_record_that_is_damaged_here_is_read_there() -> None:
    here, there = MemoryRepository("primary"), MemoryRepository("offsite")
    run = made_run(STARTED, {Damage.WAL_EMPTY: BLIND})
    store_control_run((here, there), run)
    here.bodies[layout.control_key(run.id)] = b"damaged"

    gathered = gather_control_runs((here, there))

    assert (gathered.runs, gathered.problems) == ((run,), ())
    with pytest.raises(UnreadableRecord):
        load_control_runs(here)
    there.bodies[layout.control_key(run.id)] = b"damaged"
    assert [type(each) for each in gather_control_runs((here, there)).problems] == [
        UnreadableRecord
    ]


def test_a_record_under_another_name_is_none() -> None:
    here = MemoryRepository()
    run = made_run(STARTED)
    store_control_run((here,), run)
    here.bodies[layout.control_key("another")] = here.bodies.pop(layout.control_key(run.id))

    assert gather_control_runs((here,)).runs == ()
    assert len(gather_control_runs((here,)).problems) == 1


# --- damage in the restored cluster -------------------------------------------------------------


class Server:
    """A restored server, as far as a damage asks for it."""

    def __init__(self, *, paused: bool) -> None:
        self.paused = paused

    def replay(self) -> Replay:
        return Replay(None, None, self.paused, self.paused, None)


class Damager:
    """Remembers what it was asked to do."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.tables: tuple[str, ...] = ()

    def drop_rows(self, server: RestoredServer, source: Source, tables: Sequence[str]) -> Harm:
        self.done.append("rows")
        self.tables = tuple(tables)
        return Harm("rows", tables[0])

    def make_index_stale(self, server: RestoredServer, source: Source) -> Harm:
        self.done.append("index")
        return Harm("index", "i")

    def make_vector_index_stale(self, server: RestoredServer, source: Source) -> Harm:
        raise NotProven("make a vector index stale: none")


class Looking:
    """An inspector that notes what was damaged by the time of its look."""

    def __init__(self, damager: Damager) -> None:
        self.damager = damager
        self.seen: list[list[str]] = []

    @contextmanager
    def look_into(self, server: RestoredServer, source: Source) -> Iterator[Inspection]:
        self.seen.append(list(self.damager.done))
        yield cast("Inspection", None)


def looked(damage: Damage) -> tuple[Looking, DamagingInspector, Damager]:
    damager = Damager()
    looking = Looking(damager)
    manifest = replace(
        store_objects(MemoryRepository()),
        fingerprint=Fingerprint(
            "point",
            store_objects(MemoryRepository()).fingerprint.lsn,
            tuple(
                TableFingerprint(name, rows, (), (), ())
                for name, rows in (("a", 5), ("b", None), ("c", 0), ("d", 900), ("e", 50))
            ),
        ),
    )
    vector = VectorBaseline("d", "v", "d_v", 8, 1.0, 100)
    manifest = replace(manifest, source=replace(manifest.source, vectors=(vector,)))
    inspector = DamagingInspector(looking, damager, damage, manifest)
    for paused in (True, False, False):
        server = cast("RestoredServer", Server(paused=paused))
        with inspector.look_into(server, manifest.source):
            pass
    return looking, inspector, damager


def test_rows_go_before_they_are_compared_and_only_then() -> None:
    looking, inspector, damager = looked(Damage.ROWS_DROPPED)

    assert looking.seen == [["rows"], ["rows"], ["rows"]]
    assert damager.tables == ("e", "a", "d"), "recorded ones, those with vectors last"
    assert inspector.harm == Harm("rows", "e")


def test_an_index_goes_stale_once_the_cluster_is_open() -> None:
    looking, inspector, _ = looked(Damage.INDEX_STALE)

    assert looking.seen == [[], ["index"], ["index"]]
    assert inspector.harm.names == "i"


def test_a_damage_that_cannot_be_done_ends_the_look() -> None:
    with pytest.raises(NotProven):
        looked(Damage.VECTOR_INDEX_STALE)


def test_checks_that_could_not_run_count_among_the_reasons() -> None:
    proof = made_proof(StoredManifest(store_objects(MemoryRepository()), "d", "p"), Verdict.FAILED)
    proof = replace(
        proof,
        checks=(
            Check("a", Outcome.PASSED, "said in passing"),
            Check("b", Outcome.FAILED, "table t"),
            Check("c", Outcome.COULD_NOT_RUN, "no amcheck"),
        ),
    )

    assert round_of._reasons(proof) == [proof.reason, "table t", "no amcheck"]
