"""A proof of a dump: what is evidence, what is not, and that nothing is green without it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr import records
from kb_dr.domain.dump_contents import ContentsEntry, DumpContents
from kb_dr.domain.fingerprint import Look, TableFingerprint
from kb_dr.domain.forecast import measured_runs
from kb_dr.domain.inspection import Relation
from kb_dr.domain.layout import manifest_key
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.proof import Check, Outcome, Standing, Verdict, judge_dump, standing
from kb_dr.errors import LoadFailed, PostgresProgramMissing, TargetLacks
from kb_dr.operations.initialise import init_repository
from kb_dr_tests.fakes import FakeClock, MemoryRepository
from kb_dr_tests.loading_bench import ARCHIVE, CONTENTS, LISTED, STANDING, Bench, prove, store_dump
from kb_dr_tests.read_proofs import outcomes
from kb_dr_tests.unit.test_check_restored import TABLE, FakeInspection


@pytest.fixture
def repository() -> MemoryRepository:
    made = MemoryRepository()
    init_repository(made, FakeClock(), service="kb", org="default")
    return made


def test_a_dump_that_loads_and_compares_equal_is_proven_without_any_replay(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    stored = store_dump(repository)
    bench = Bench(tmp_path, passed_over=('schema "public" already exists',))

    proof = prove(repository, bench)

    assert proof.verdict is Verdict.PROVEN, (proof.reason, proof.checks)
    assert proof.reach is None
    assert proof.to_the_end
    assert outcomes(proof)["rows_as_recorded"] is Outcome.PASSED
    assert outcomes(proof)["came_into_being"] is Outcome.PASSED
    assert outcomes(proof)["roles"] is Outcome.PASSED
    (loaded,) = (check.seen for check in proof.checks if check.name == "loaded")
    assert "by 3 at once" in loaded
    assert 'schema "public" already exists' in loaded
    assert [phase.name for phase in proof.phases] == [
        "read manifest", "read what else is named", "fetch", "make the cluster", "load",
        "analyze", "checks",
    ]  # fmt: skip
    assert proof.tools | {"kb-dr": ""} == {
        "kb-dr": "", "postgres": "16.15", "pg_restore": "16.15"
    }  # fmt: skip
    steps = ["create", "extensions", "load by 3", "analyze", "look", "cluster gone"]
    assert bench.done[-6:] == steps, "extensions come first, and nothing outlives the proof"
    known = standing(
        [proof], digest=stored.digest, copy=repository.name, url=repository.url, void_through=None
    )
    assert known == (Standing.PROVEN, proof)


def test_a_proof_of_a_dump_says_nothing_of_recovery_to_a_point(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    store_dump(repository)

    proof = prove(repository, Bench(tmp_path))

    assert measured_runs([proof]) == [], "how long a dump loads foretells no restore of files"


def test_roles_nobody_wrote_down_are_made_by_name_and_the_proof_says_so(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    store_dump(repository, roles=None, named=('o"dd', "app"))
    bench = Bench(tmp_path)

    proof = prove(repository, bench)

    assert proof.verdict is Verdict.PROVEN, proof.reason
    made = [each for each in bench.done if each.startswith("run ")]
    assert made == ['run CREATE ROLE "app" NOLOGIN;\nCREATE ROLE "o""dd" NOLOGIN;']
    assert outcomes(proof)["roles"] is Outcome.COULD_NOT_RUN


def test_a_materialized_view_that_would_ask_another_server_is_left_empty(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    store_dump(repository)
    views = (
        ContentsEntry(4, "FOREIGN TABLE", "public", "there", "app", (99,)),
        ContentsEntry(5, "VIEW", "public", "seen", "app", (4,)),
        ContentsEntry(6, "MATERIALIZED VIEW", "public", "kept", "app", (5, 1)),
        ContentsEntry(7, "MATERIALIZED VIEW DATA", "public", "kept", "app", (6,)),
        ContentsEntry(8, "MATERIALIZED VIEW", "public", "own", "app", (1,)),
        ContentsEntry(9, "MATERIALIZED VIEW DATA", "public", "own", "app", (8, 9)),
    )
    stand = {Relation(e.kind, "public", e.name) for e in views if not e.kind.endswith("DATA")}
    look = FakeInspection(related=STANDING | stand)
    bench = Bench(tmp_path, look=look, contents=replace(CONTENTS, entries=(*LISTED, *views)))

    proof = prove(repository, bench)

    assert proof.verdict is Verdict.PROVEN, (proof.reason, proof.checks)
    assert "load only [1, 2, 3, 4, 5, 6, 8, 9]" in bench.done
    (loaded,) = (check.seen for check in proof.checks if check.name == "loaded")
    assert "other servers would be asked: public.kept" in loaded


def _lost(kind: str) -> FakeInspection:
    return FakeInspection(related=frozenset(e for e in STANDING if e.kind != kind))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param({"look": FakeInspection(looks={TABLE.table: None}, related=STANDING)},
                     "the table is missing", id="a table is missing"),
        pytest.param({"look": _lost("INDEX")},
                     "INDEX public.entries_place is missing", id="an index is missing"),
        pytest.param({"look": FakeInspection(related=STANDING, invalid=("public.x",))},
                     "public.x", id="an index is not valid"),
        pytest.param({"look": FakeInspection(related=STANDING, version="0006")},
                     "0006, expected 0007", id="another schema version"),
        pytest.param({"look": FakeInspection(related=STANDING, installed={})},
                     "vector is missing", id="an extension is lost"),
        pytest.param({"contents": DumpContents("other", "16.14", "16.14", LISTED)},
                     "of other", id="the archive of another database"),
        pytest.param({"contents": DumpContents("kb", "15.1", "16.14", LISTED)},
                     "PostgreSQL 15.1", id="the archive of another server"),
        pytest.param({"contents": DumpContents("kb", "16.14", "16.14", ())},
                     "the archive lists nothing", id="an empty archive"),
        pytest.param({"contents": DumpContents("kb", "16.14", "16.14", (
                         *LISTED, ContentsEntry(9, "BLOB", None, "17001", "app", ())))},
                     "0, expected 1", id="a large object is lost"),
        pytest.param({"fails": {"load by 3": LoadFailed("load: function f(text) does not exist")}},
                     "function f(text) does not exist", id="a statement fails"),
    ],
)  # fmt: skip
def test_what_is_not_as_it_was_recorded_fails(
    change: dict[str, object], named: str, repository: MemoryRepository, tmp_path: Path
) -> None:
    store_dump(repository)

    proof = prove(repository, replace(Bench(tmp_path), **change))  # type: ignore[arg-type]  # a test's own words

    assert proof.verdict is Verdict.FAILED, (proof.reason, proof.checks)
    assert named in proof.reason


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"fails": {"check": PostgresProgramMissing("no pgvector")}}, id="extension"),
        pytest.param({"fails": {"extensions": TargetLacks("too old")}}, id="extension's version"),
        pytest.param({"fails": {"create": TargetLacks("no locale xx")}}, id="locale"),
        pytest.param({"free": 1 << 20}, id="no room"),
        pytest.param({"look": FakeInspection(related=STANDING, installed={"vector": "0.7.0"})},
                     id="an extension older than the source's"),
        pytest.param({"fails": {"load by 3": LoadFailed("server closed the connection")},
                      "log": "LOG:  server process (PID 7) was terminated by signal 9: Killed"},
                     id="the server crashed"),
        pytest.param({"fails": {"load by 3": LoadFailed("load: No space left on device")}},
                     id="the disk filled"),
    ],
)  # fmt: skip
def test_what_this_host_lacks_leaves_the_dump_unjudged(
    change: dict[str, object], repository: MemoryRepository, tmp_path: Path
) -> None:
    store_dump(repository)

    proof = prove(repository, replace(Bench(tmp_path), **change))  # type: ignore[arg-type]  # a test's own words

    assert proof.verdict is Verdict.NOT_PROVEN, (proof.reason, proof.checks)


def test_without_room_nothing_is_fetched(repository: MemoryRepository, tmp_path: Path) -> None:
    store_dump(repository)
    bench = Bench(tmp_path, free=len(ARCHIVE))

    proof = prove(repository, bench)

    assert proof.verdict is Verdict.NOT_PROVEN
    assert "bytes are free" in proof.reason
    assert bench.done == ["check"]


def test_a_dump_is_not_proven_where_none_can_be_loaded(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    store_dump(repository)

    assert prove(repository, Bench(tmp_path), loads=False).verdict is Verdict.NOT_PROVEN


def test_damaged_roles_fail_the_dump(repository: MemoryRepository, tmp_path: Path) -> None:
    stored = store_dump(repository)
    assert stored.manifest.dump is not None
    assert stored.manifest.dump.globals is not None
    repository.bodies[stored.manifest.dump.globals.key] += b"!"

    assert prove(repository, Bench(tmp_path)).verdict is Verdict.FAILED


ROWS = Check("rows_as_recorded", Outcome.PASSED, "1 table")
OTHER = Check("extensions", Outcome.PASSED, "vector 0.8.5")


@pytest.mark.parametrize(
    ("checks", "tables", "verdict"),
    [
        ((ROWS, OTHER), 1, Verdict.PROVEN),
        ((OTHER,), 1, Verdict.NOT_PROVEN),
        ((OTHER,), 0, Verdict.NOT_PROVEN),
        ((), 0, Verdict.NOT_PROVEN),
        ((replace(ROWS, outcome=Outcome.NOT_APPLICABLE), OTHER), 0, Verdict.PROVEN),
        ((replace(ROWS, outcome=Outcome.NOT_APPLICABLE), OTHER), 1, Verdict.NOT_PROVEN),
        ((replace(ROWS, outcome=Outcome.NOT_APPLICABLE),), 0, Verdict.NOT_PROVEN),
        ((ROWS, OTHER), 0, Verdict.NOT_PROVEN),
        ((replace(ROWS, outcome=Outcome.COULD_NOT_RUN), OTHER), 1, Verdict.NOT_PROVEN),
        (
            (replace(ROWS, outcome=Outcome.COULD_NOT_RUN, needed=False), OTHER),
            1,
            Verdict.NOT_PROVEN,
        ),
        ((ROWS, replace(OTHER, outcome=Outcome.COULD_NOT_RUN)), 1, Verdict.NOT_PROVEN),
        ((ROWS, replace(OTHER, outcome=Outcome.COULD_NOT_RUN, needed=False)), 1, Verdict.PROVEN),
        ((ROWS, replace(OTHER, outcome=Outcome.FAILED, needed=False)), 1, Verdict.FAILED),
        ((replace(ROWS, outcome=Outcome.FAILED), OTHER), 0, Verdict.FAILED),
    ],
)
def test_only_an_exact_comparison_makes_a_dump_green(
    checks: Sequence[Check], tables: int, verdict: Verdict
) -> None:
    assert judge_dump(checks, tables=tables)[0] is verdict


BEAT = (
    ContentsEntry(1, "TABLE", "kb_dr", "heartbeat", "app", ()),
    ContentsEntry(2, "TABLE DATA", "kb_dr", "heartbeat", "app", ()),
    # Rows of an extension's table, which is not made by the archive itself.
    ContentsEntry(3, "TABLE DATA", "public", "spatial_ref_sys", "app", ()),
)


@pytest.mark.parametrize(
    ("stand", "entries", "verdict"),
    [
        pytest.param((), BEAT, Verdict.PROVEN, id="nothing anywhere"),
        pytest.param(("public.entries",), BEAT, Verdict.NOT_PROVEN, id="a table came of it"),
        pytest.param((), LISTED, Verdict.NOT_PROVEN, id="an unlogged table is in the archive"),
    ],
)
def test_an_empty_database_is_proven_only_as_empty(
    stand: tuple[str, ...],
    entries: tuple[ContentsEntry, ...],
    verdict: Verdict,
    repository: MemoryRepository,
    tmp_path: Path,
) -> None:
    stored = store_dump(repository)
    empty = replace(stored.manifest.fingerprint, tables=())
    _overwrite(repository, replace(stored.manifest, fingerprint=empty))
    beating = frozenset({*STANDING, Relation("TABLE", "kb_dr", "heartbeat")})
    look = FakeInspection(standing=stand, related=beating)
    bench = Bench(tmp_path, look=look, contents=replace(CONTENTS, entries=entries))

    assert prove(repository, bench).verdict is verdict


def test_a_table_that_was_not_looked_at_when_it_was_dumped_leaves_the_dump_unjudged(
    repository: MemoryRepository, tmp_path: Path
) -> None:
    stored = store_dump(repository)
    recorded = stored.manifest.fingerprint
    unseen = TableFingerprint("public.unseen", None, (), (), ())
    both = replace(recorded, tables=(*recorded.tables, unseen))
    _overwrite(repository, replace(stored.manifest, fingerprint=both))
    look = FakeInspection(
        looks={**FakeInspection().looks, unseen.table: Look(7, "9", {})},
        standing=tuple(each.table for each in both.tables),
        related=STANDING,
    )

    proof = prove(repository, Bench(tmp_path, look=look))

    assert proof.verdict is Verdict.NOT_PROVEN
    assert "public.unseen" in proof.reason


def _overwrite(repository: MemoryRepository, manifest: Manifest) -> None:
    repository.bodies[manifest_key(manifest.backup_id)] = records.to_json(manifest)
