"""What each check says of what was seen: passed, failed, or that it could not be known."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from kb_dr.domain.dump import DatabaseShape, DumpFacts, DumpFormat
from kb_dr.domain.fingerprint import Fingerprint, Look, SampledRow, TableFingerprint
from kb_dr.domain.heartbeat import Beat
from kb_dr.domain.inspection import Examined, Relation
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Manifest, VectorBaseline
from kb_dr.domain.proof import Check, Outcome
from kb_dr.errors import (
    ChecksumMismatch,
    KbDrError,
    PostgresCommandFailed,
    PostgresError,
    PostgresProgramMissing,
    VerificationError,
)
from kb_dr.operations.check_restored import (
    check_at_restore_point,
    check_at_tip,
    check_page_checksums,
)
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.stored_backups import store_objects

TABLE = TableFingerprint(
    "public.entries", 2, ("id",), ("id", "words"), (SampledRow("k1", "d1"),), "77"
)
VECTORS = VectorBaseline("public.entries", "place", "entries_place", 384, 0.97, 100)


@dataclass
class FakeInspection:
    """A `kb_dr.ports.Inspection` that answers what a test wrote down."""

    looks: Mapping[str, Look | KbDrError | None] = field(
        default_factory=lambda: {TABLE.table: Look(2, "77", {"k1": "d1", "k2": "d2"})}
    )
    standing: tuple[str, ...] = (TABLE.table,)
    version: str | None = "0007"
    installed: dict[str, str] = field(default_factory=lambda: {"vector": "0.8.5"})
    host: dict[str, str] = field(default_factory=lambda: {"vector": "0.8.5"})
    invalid: tuple[str, ...] = ()
    related: frozenset[Relation] = frozenset()
    objects: int = 0
    dimensions: int | None = 384
    recall: VectorBaseline | None = VECTORS
    examined: Examined = field(default_factory=lambda: Examined(10))

    def look_up(self, recorded: TableFingerprint, seed: str) -> Look | None:
        found = self.looks[recorded.table]
        if isinstance(found, KbDrError):
            raise found
        return found

    def tables(self) -> tuple[str, ...]:
        return self.standing

    def own_tables(self) -> tuple[str, ...]:
        return self.standing

    def schema_version(self) -> str | None:
        return self.version

    def extensions(self) -> dict[str, str]:
        return self.installed

    def extensions_of_host(self) -> dict[str, str]:
        return self.host

    def invalid_indexes(self) -> tuple[str, ...]:
        return self.invalid

    def relations(self) -> frozenset[Relation]:
        return self.related

    def large_objects(self) -> int:
        return self.objects

    def vector_dimensions(self, baseline: VectorBaseline) -> int | None:
        return self.dimensions

    def measure_recall(self, baseline: VectorBaseline) -> VectorBaseline | None:
        return self.recall

    def beat(self) -> Beat | None:
        return None

    def examine_tables(self) -> Examined:
        return self.examined

    def examine_indexes(self) -> Examined:
        return self.examined

    def examine_visibility(self) -> Examined:
        return self.examined


def manifest(
    *tables: TableFingerprint, vectors: tuple[VectorBaseline, ...] = (VECTORS,)
) -> Manifest:
    made = store_objects(MemoryRepository())
    return replace(
        made,
        fingerprint=Fingerprint(made.id, Lsn(1), tables or (TABLE,)),
        source=replace(made.source, vectors=vectors, invalid_indexes=("public.old",)),
    )


def check(name: str, look: FakeInspection, of: Manifest | None = None) -> Check:
    made = of or manifest()
    every = (*check_at_restore_point(look, made), *check_at_tip(look, made))
    (found,) = [each for each in every if each.name == name]
    return found


def outcome(name: str, look: FakeInspection, of: Manifest | None = None) -> Outcome:
    return check(name, look, of).outcome


def test_without_a_single_recorded_table_rows_are_no_evidence() -> None:
    """All tables may have been rewritten while they were recorded, or another database was."""
    made = manifest()
    made = replace(made, fingerprint=replace(made.fingerprint, tables=()))

    assert outcome("rows_as_recorded", FakeInspection(), made) is Outcome.COULD_NOT_RUN
    empty = FakeInspection(standing=())
    assert outcome("rows_as_recorded", empty, made) is Outcome.NOT_APPLICABLE


def test_a_cluster_as_recorded_passes_every_check() -> None:
    look, made = FakeInspection(), manifest()
    every = (*check_at_restore_point(look, made), *check_at_tip(look, made))

    assert {each.outcome for each in every} == {Outcome.PASSED}


@pytest.mark.parametrize(
    "look",
    [
        None,
        Look(1, "77", {"k1": "d1"}),
        Look(2, "78", {"k1": "d1"}),
        Look(2, "77", {"k1": "other"}),
        Look(2, "77", {"k2": "d2"}),
        VerificationError("look up: invalid page"),
    ],
)
def test_rows_that_are_not_as_recorded_fail(look: Look | KbDrError | None) -> None:
    assert outcome("rows_as_recorded", FakeInspection({TABLE.table: look})) is Outcome.FAILED


def test_rows_that_could_not_be_read_are_neither_good_nor_bad() -> None:
    look = FakeInspection(
        {TABLE.table: PostgresError("look up: a statement outlasted its deadline")}
    )

    assert outcome("rows_as_recorded", look) is Outcome.COULD_NOT_RUN
    assert check("rows_as_recorded", look).needed


def test_tables_that_all_moved_while_they_were_recorded_prove_nothing() -> None:
    moved = replace(TABLE, rows=None, row_versions=None, sample=())

    assert outcome("rows_as_recorded", FakeInspection(), manifest(moved)) is Outcome.COULD_NOT_RUN


def test_another_schema_version_fails_unless_the_fingerprint_vouches_for_it() -> None:
    look = FakeInspection(version="0008")
    assert outcome("schema_version", look) is Outcome.FAILED

    alembic = replace(TABLE, table="public.alembic_version")
    good = Look(2, "77", {"k1": "d1"})
    vouched = FakeInspection({alembic.table: good}, version="0008")
    assert outcome("schema_version", vouched, manifest(alembic)) is Outcome.PASSED
    changed = FakeInspection({alembic.table: replace(good, row_versions="1")}, version="0008")
    assert outcome("schema_version", changed, manifest(alembic)) is Outcome.FAILED


def test_extensions_tell_the_copy_from_the_host() -> None:
    assert outcome("extensions", FakeInspection(installed={})) is Outcome.FAILED
    older = FakeInspection(host={"vector": "0.7.4"})
    assert outcome("extensions", older) is Outcome.COULD_NOT_RUN
    assert outcome("extensions", FakeInspection(host={})) is Outcome.COULD_NOT_RUN
    newer = FakeInspection(host={"vector": "0.9.0"})
    assert outcome("extensions", newer) is Outcome.PASSED
    other = FakeInspection(installed={"vector": "0.8.0"})
    assert outcome("extensions", other) is Outcome.FAILED


def test_an_index_that_was_invalid_at_the_source_is_no_fault() -> None:
    assert outcome("indexes_valid", FakeInspection(invalid=("public.old",))) is Outcome.PASSED
    both = FakeInspection(invalid=("public.new", "public.old"))
    assert outcome("indexes_valid", both) is Outcome.FAILED


def test_recall_may_fall_by_a_twentieth_and_no_more() -> None:
    low = FakeInspection(recall=replace(VECTORS, recall_at_10=0.91))
    near = FakeInspection(recall=replace(VECTORS, recall_at_10=0.93))

    assert outcome("vector_recall", low) is Outcome.FAILED
    assert outcome("vector_recall", near) is Outcome.PASSED


def test_an_index_that_was_built_anew_may_answer_a_tenth_worse() -> None:
    shape = DatabaseShape("UTF8", "C", "C", "libc", None)
    dumped = replace(manifest(), dump=DumpFacts(DumpFormat.CUSTOM, "16.15", shape, (), None))

    for recall, expected in ((0.88, Outcome.PASSED), (0.86, Outcome.FAILED)):
        look = FakeInspection(recall=replace(VECTORS, recall_at_10=recall))
        assert outcome("vector_recall", look, dumped) is expected


def test_a_vector_index_is_missed_where_it_was_recorded_and_not_where_it_was_dropped() -> None:
    assert outcome("vector_dimensions", FakeInspection(dimensions=None)) is Outcome.FAILED
    assert outcome("vector_dimensions", FakeInspection(dimensions=383)) is Outcome.FAILED
    assert outcome("vector_recall", FakeInspection(recall=None)) is Outcome.NOT_APPLICABLE
    emptied = FakeInspection(recall=replace(VECTORS, recall_at_10=1.0, queries=0))
    assert outcome("vector_recall", emptied) is Outcome.NOT_APPLICABLE
    without = manifest(vectors=())
    assert outcome("vector_dimensions", FakeInspection(), without) is Outcome.NOT_APPLICABLE


def test_structure_fails_on_damage_and_is_not_needed_only_where_the_tool_is_lacking() -> None:
    damage = FakeInspection(examined=Examined(10, damage=("kb.entries: gone",) * 9))
    assert outcome("btrees", damage) is Outcome.FAILED
    assert check("btrees", damage).seen.endswith("; and 6 more")

    lacking = check("btrees", FakeInspection(examined=Examined(0, lacking=("amcheck",))))
    assert (lacking.outcome, lacking.needed) == (Outcome.COULD_NOT_RUN, False)
    for examined in (Examined(0), Examined(9, unseen=("kb.entries: sorts otherwise",))):
        blind = check("btrees", FakeInspection(examined=examined))
        assert (blind.outcome, blind.needed) == (Outcome.COULD_NOT_RUN, True)


def test_a_chain_is_not_proven_without_a_look_at_its_visibility_maps() -> None:
    look = FakeInspection(examined=Examined(0, lacking=("pg_visibility",)))

    def maps(*, combined: bool) -> Check:
        found = {each.name: each for each in check_at_tip(look, manifest(), combined=combined)}
        assert not found["tables"].needed
        assert not found["btrees"].needed
        return found["visibility_maps"]

    assert maps(combined=True) == Check(
        "visibility_maps",
        Outcome.COULD_NOT_RUN,
        "not installed on this host: pg_visibility",
        needed=True,
    )
    assert not maps(combined=False).needed


@pytest.mark.parametrize(
    ("error", "expected", "needed"),
    [
        (None, Outcome.PASSED, True),
        (ChecksumMismatch("bad"), Outcome.FAILED, True),
        (PostgresCommandFailed("killed"), Outcome.COULD_NOT_RUN, True),
        (PostgresProgramMissing("none"), Outcome.COULD_NOT_RUN, False),
    ],
)
def test_page_checksums(error: KbDrError | None, expected: Outcome, needed: bool) -> None:
    def verify() -> None:
        if error is not None:
            raise error

    found = check_page_checksums(manifest(), verify)

    assert (found.outcome, found.needed) == (expected, needed)


def test_page_checksums_are_looked_at_only_where_the_source_had_them() -> None:
    made = manifest()
    without = replace(made, source=replace(made.source, data_checksums=False))

    assert check_page_checksums(without, lambda: None).outcome is Outcome.NOT_APPLICABLE
