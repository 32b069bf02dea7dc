"""Some tables of a dump: with all that is theirs, and nothing that cannot stand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_dr.domain.dump_contents import ContentsEntry, DumpContents
from kb_dr.domain.select_entries import Selection, select_entries
from kb_dr.errors import ConfigurationError


def _contents(*entries: ContentsEntry) -> DumpContents:
    return DumpContents("kb", "16.15", "16.15", entries)


def _entry(
    number: int, kind: str, name: str, *needs: int, schema: str | None = "public"
) -> ContentsEntry:
    return ContentsEntry(number, kind, schema, name, "postgres", needs)


_DUMP = _contents(
    _entry(90, "ENCODING", "ENCODING", schema=None),
    _entry(7, "SCHEMA", "Sales", schema=None),
    _entry(2, "EXTENSION", "vector", schema="public"),
    _entry(91, "COMMENT", "EXTENSION vector", 2, schema=None),
    _entry(10, "TYPE", "mood"),
    _entry(11, "FUNCTION", "noted()"),
    _entry(12, "FUNCTION", "counted(orders)", 30),
    _entry(20, "TABLE", "entries", 2, 10, 999),
    _entry(21, "SEQUENCE", "entries_id_seq", 20),
    _entry(22, "SEQUENCE OWNED BY", "entries_id_seq", 21),
    _entry(23, "ACL", "TABLE entries", 20),
    _entry(30, "TABLE", "orders", 7, schema="Sales"),
    _entry(31, "TABLE", "Order Lines", 7, schema="Sales"),
    _entry(40, "TABLE", "part"),
    _entry(41, "TABLE", "part_1", 40),
    _entry(42, "TABLE", "part_2", 40),
    _entry(43, "VIEW", "seen", 20, 30),
    _entry(44, "MATERIALIZED VIEW", "kept", 43),
    _entry(50, "TABLE ATTACH", "part_1", 41, 40),
    _entry(51, "TABLE ATTACH", "part_2", 42, 40),
    _entry(52, "DEFAULT", "entries id", 21, 20),
    _entry(60, "TABLE DATA", "entries", 20),
    _entry(61, "TABLE DATA", "orders", 30, schema="Sales"),
    _entry(62, "TABLE DATA", "part_1", 41),
    _entry(63, "TABLE DATA", "part_2", 42),
    _entry(64, "TABLE DATA", "Order Lines", 31, schema="Sales"),
    _entry(65, "SEQUENCE SET", "entries_id_seq", 21),
    _entry(66, "BLOB", "16411", schema=None),
    _entry(70, "CONSTRAINT", "entries entries_pkey", 20),
    _entry(71, "CONSTRAINT", "part part_pkey", 40),
    _entry(72, "CONSTRAINT", "part_1 part_1_pkey", 71, 41),
    _entry(73, "CONSTRAINT", "orders orders_pkey", 30, schema="Sales"),
    _entry(74, "INDEX", "part_place", 40),
    _entry(75, "INDEX", "part_2_place", 74, 42),
    _entry(76, "INDEX ATTACH", "part_2_place", 75, 74, 42, 40),
    _entry(77, "INDEX ATTACH", "part_1_pkey", 41, 72, 71, 40),
    _entry(78, "INDEX", "entries_place", 20, 2),
    _entry(80, "TRIGGER", "entries note", 11, 20),
    _entry(81, "FK CONSTRAINT", "entries entries_order_fkey", 20, 30, 73, ),
    _entry(82, "POLICY", "entries own", 20, 30),
    _entry(83, "ROW SECURITY", "entries", 20),
    _entry(84, "TRIGGER", "entries count", 12, 20),
    _entry(85, "PUBLICATION TABLE", "news entries", 20),
    _entry(86, "MATERIALIZED VIEW DATA", "kept", 44, 998),
    _entry(87, "FK CONSTRAINT", "Order Lines order_fkey", 31, 30, 73, schema="Sales"),
)  # fmt: skip


def _select(*tables: str, schemas: tuple[str, ...] = ()) -> Selection:
    return select_entries(_DUMP, tables=tables, schemas=schemas)


def test_a_table_comes_with_its_rows_and_all_that_is_its_own() -> None:
    chosen = _select("entries")

    assert chosen.entries == (
        *(90, 2, 91, 10, 11, 20, 21, 22, 23, 52, 60, 65, 70, 78, 80, 83),
    )  # fmt: skip
    assert chosen.tables == (("public", "entries"),)
    why = 'stays out: it needs table "Sales".orders'
    assert chosen.notes == (
        f'fk constraint public."entries entries_order_fkey" {why}',
        f'policy public."entries own" {why}',
        f'trigger public."entries count" {why}',
        "view public.seen stays out: it was not asked for",
        "large objects stay out: they belong to no table",
    )


def test_a_key_between_two_tables_comes_when_both_do() -> None:
    chosen = _select("entries", '"Sales".orders')

    assert {81, 82, 84, 12, 61, 73, 7} <= set(chosen.entries)
    assert 87 not in chosen.entries
    assert chosen.notes == (
        "view public.seen stays out: it was not asked for",
        "large objects stay out: they belong to no table",
    )


def test_a_partitioned_table_comes_with_its_partitions() -> None:
    assert _select("part").entries == (
        *(90, 40, 41, 42, 50, 51, 62, 63, 71, 72, 74, 75, 76, 77),
    )  # fmt: skip


def test_a_partition_comes_with_its_parent_but_none_of_its_sisters() -> None:
    chosen = _select("part_1")

    assert chosen.entries == (90, 40, 41, 50, 62, 71, 72, 77)
    assert chosen.tables == (("public", "part_1"),)
    assert (
        "table public.part is made without its rows: table public.part_1 needs it" in chosen.notes
    )


def test_what_a_view_reads_comes_with_its_rows() -> None:
    chosen = _select("kept")

    assert {44, 43, 20, 30, 60, 61, 86, 81} <= set(chosen.entries)
    assert chosen.tables == (("public", "entries"), ("Sales", "orders"))
    assert 'table "Sales".orders comes with its rows: view public.seen reads it' in chosen.notes


def test_a_schema_comes_with_everything_in_it_and_itself() -> None:
    assert _select(schemas=("Sales",)).entries == (90, 7, 30, 31, 61, 64, 73, 87)
    everything = {each.id for each in _DUMP.entries} - {85, 66}
    assert set(_select(schemas=("public", '"Sales"')).entries) == everything


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("public.entries", "entries"),
        ('"entries"', "entries"),
        ("ENTRIES", "entries"),
        ("Order Lines", "Order Lines"),
        ('"Sales"."Order Lines"', "Order Lines"),
        ("Sales.Order Lines", "Order Lines"),
    ],
)
def test_a_name_is_found_as_people_type_it(typed: str, meant: str) -> None:
    assert _select(typed).tables[0][1] == meant


@pytest.mark.parametrize(
    ("typed", "seen", "hint"),
    [
        ("entrys", "choose table entrys: it is not in the dump", "Near it: public.entries"),
        ("sales.entries", "choose table sales.entries: it is not", "public.entries"),
        ('"ENTRIES"', "it is not in the dump", "public.entries"),
        ("zzz", "it is not in the dump", "It holds"),
        ("a.b.c", "it is not in the dump", ""),
        ("", "it is not in the dump", ""),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_those_near_it(
    typed: str, seen: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        _select(typed)
    assert seen in str(refused.value)
    assert hint in refused.value.hint


def test_a_name_that_is_several_is_not_guessed() -> None:
    dump = _contents(_entry(1, "TABLE", "t", schema="a"), _entry(2, "TABLE", "t", schema="b"))

    with pytest.raises(ConfigurationError, match=r"choose table t: there are a\.t, b\.t"):
        select_entries(dump, tables=["t"])
    with pytest.raises(ConfigurationError, match="neither a table nor a schema"):
        select_entries(dump)
    with pytest.raises(ConfigurationError, match="choose schema c: it is not in the dump"):
        select_entries(dump, schemas=["c"])


_MADE = ("TABLE", "TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FUNCTION", "TYPE")
_TAGGED = ("FK CONSTRAINT", "TRIGGER", "POLICY", "DEFAULT", "CONSTRAINT")
_THEIRS = (
    *("TABLE DATA", "SEQUENCE SET", "INDEX", "ACL", "COMMENT", "TABLE ATTACH", "INDEX ATTACH"),
    *("MATERIALIZED VIEW DATA", *_TAGGED),
)


@st.composite
def _dumps(draw: st.DrawFn) -> DumpContents:
    """Things that need any others, also in circles or in no archive; and what is theirs."""
    made = draw(st.integers(min_value=1, max_value=8))
    kinds = ["TABLE", *(draw(st.sampled_from(_MADE)) for _ in range(made - 1))]
    kinds += draw(st.lists(st.sampled_from(_THEIRS), max_size=10))
    entries: list[ContentsEntry] = []
    for number, kind in enumerate(kinds, start=1):
        among = [each for each in range(1, made + 1) if each != number]
        among += [each.id for each in entries if each.kind in ("CONSTRAINT", "INDEX")]
        among = [each for each in among if kind in _THEIRS or each <= made]
        needs = draw(st.lists(st.sampled_from([*among, 99]), max_size=3, unique=True))
        name = f"n{needs[0]} x" if kind in _TAGGED and needs else f"n{number}"
        schema = draw(st.sampled_from(("a", "b")))
        entries.append(_entry(number, kind, name, *needs, schema=schema))
    return _contents(*draw(st.permutations(entries)))


@given(_dumps(), st.data())
def test_what_is_chosen_can_be_loaded_in_the_order_of_the_archive(
    dump: DumpContents, data: st.DataObject
) -> None:
    tables = [each for each in dump.entries if each.kind == "TABLE"]
    wanted = data.draw(st.lists(st.sampled_from(tables), min_size=1))
    schemas = data.draw(st.lists(st.sampled_from([each.schema or "" for each in tables])))

    chosen = select_entries(
        dump, tables=[f"{each.schema}.{each.name}" for each in wanted], schemas=schemas
    )

    inside = set(chosen.entries)
    order = [each.id for each in dump.entries if each.id in inside]
    assert list(chosen.entries) == order
    assert {each.id for each in wanted} <= inside
    by_id = {each.id: each for each in dump.entries}
    for number in inside:
        assert {each for each in by_id[number].depends_on if each in by_id} <= inside
    whole = set(chosen.tables)
    for each in dump.entries:
        theirs = [by_id[at] for at in each.depends_on if at in by_id]
        rows = [(at.schema, at.name) in whole for at in theirs if at.kind == "TABLE"]
        if each.kind == "TABLE DATA" and len(rows) == len(theirs) == 1:
            assert (each.id in inside) == rows[0]
        if each.kind == "FK CONSTRAINT" and each.id in inside:
            assert all(rows)
