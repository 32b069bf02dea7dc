"""What is refused before a dump is loaded, and what tells production from any other database."""

from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr.domain.database_mark import DatabaseMark
from kb_dr.domain.database_url import (
    DatabaseUrl,
    database_url,
    is_database_url,
    parse_database_url,
)
from kb_dr.domain.dump import DatabaseShape, DumpFormat
from kb_dr.domain.dump_target import ServerLook
from kb_dr.domain.fingerprint import Look, SampledRow, TableFingerprint
from kb_dr.domain.load_plan import LoadPlan, LocalDump, Part
from kb_dr.domain.local_dump import DumpHead
from kb_dr.domain.space import Space
from kb_dr.domain.sql_dump import SqlDump, SqlDumpReader
from kb_dr.errors import KbDrError, LoadFailed, RecoveryError, ServiceUnhealthy, TargetLacks
from kb_dr.operations.check_loaded import check_rows
from kb_dr.operations.plan_load import LONGEST_NAME, Asked, Known, kept_name, plan_load
from kb_dr_tests.fakes import FakeClock

FILE = LocalDump(
    path=Path("/x/kb.sql.gz"),
    form=DumpFormat.PLAIN,
    compressed=True,
    size_bytes=10,
    trace=(),
    checksum="sha256 …",
    major=16,
    contents=None,
    head=DumpHead("kb-dump-20261120-020000", FakeClock().now(), 160015, "16.15", "0/1", "kb",
                  {"plpgsql": "1.0", "vector": "0.8.0"}, "v1"),
    rows={},
    roles=("app",),
)  # fmt: skip
LOOK = ServerLook(
    server_version=160015,
    system_identifier=7,
    databases=("kb", "postgres"),
    roles=("postgres", "app"),
    extensions={"vector": ("0.7.0", "0.8.0")},
    in_recovery=False,
    may_create=True,
)
ASKED = Asked("host:5432 as me", "postgresql://me@host/{}".format, None, False, True)
KNOWN = Known("kb", "kb", 7, None, False, "20261120-020000")


def plan(
    *,
    what: LocalDump = FILE,
    part: Part | None = None,
    asked: Asked = ASKED,
    known: Known = KNOWN,
    look: ServerLook = LOOK,
    marks: dict[str, DatabaseMark] | None = None,
) -> LoadPlan:
    return plan_load(what, part or Part(), asked, known, look, marks or {}, Space(100, 100))


def test_beside_is_the_default_and_takes_no_name_that_is_there() -> None:
    assert (plan().made, plan().replaces) == ("kb_restored_20261120-020000", None)
    taken = replace(LOOK, databases=("kb", "kb_restored_20261120-020000"))
    assert plan(look=taken).made == "kb_restored_20261120-020000-2"


@pytest.mark.parametrize(
    ("look", "error", "text"),
    [
        (replace(LOOK, in_recovery=True), RecoveryError, "standby"),
        (replace(LOOK, may_create=False), TargetLacks, "may not create"),
        (replace(LOOK, server_version=150010), TargetLacks, "it is PostgreSQL 15, expected 16"),
        (replace(LOOK, extensions={}), TargetLacks, "needed: vector"),
        (replace(LOOK, roles=("postgres",)), TargetLacks, "granted something: app"),
    ],
)
def test_a_server_that_will_not_do_is_refused(
    look: ServerLook, error: type[KbDrError], text: str
) -> None:
    with pytest.raises(error, match=text) as caught:
        plan(look=look)
    assert caught.value.hint.startswith("Nothing was changed")


@pytest.mark.parametrize(
    ("name", "own_address", "own_identifier", "is_production"),
    [
        (None, True, 7, True),
        ("kb", False, 7, True),  # the same server by another address
        ("kb", True, 8, True),  # the same address, whatever it is said to be
        ("kb", True, None, True),
        ("kb", False, 8, False),
        ("kb", False, None, True),  # its own does not answer: nothing says that it is another
        ("postgres", False, None, False),
        ("postgres", True, 7, False),
    ],
)
def test_production_is_told_by_address_and_by_system_identifier(
    name: str | None, own_address: bool, own_identifier: int | None, is_production: bool
) -> None:
    asked = replace(ASKED, name=name, replace=True, is_own_server=own_address)
    known = replace(KNOWN, system_identifier=own_identifier)
    assert plan(asked=asked, known=known).production is is_production


@pytest.mark.parametrize(("name", "in_place"), [(None, False), ("new", False), (None, True)])
def test_the_address_that_is_said_leads_to_what_was_restored(
    name: str | None, in_place: bool
) -> None:
    planned = plan(asked=replace(ASKED, name=name, replace=in_place))

    assert planned.url == f"postgresql://me@host/{planned.replaces or planned.made}"
    assert (planned.url == "postgresql://me@host/kb") is in_place


def test_a_file_that_names_no_encoding_takes_that_of_the_database_it_stands_for() -> None:
    shape = DatabaseShape("UTF8", "C", "C.UTF-8", "libc", None)
    look = replace(LOOK, shapes={"kb": shape})

    assert plan(look=look).shape == plan(look=look, asked=replace(ASKED, replace=True)).shape
    assert plan(look=look).shape == shape
    assert plan(look=look, asked=replace(ASKED, name="other")).shape is None


def test_a_schema_that_is_not_expected_is_said_beside_and_refused_in_its_place() -> None:
    known = replace(KNOWN, expected_schema="v2")
    in_place = replace(ASKED, replace=True)

    assert any(note.startswith("WARNING: schema version v1") for note in plan(known=known).notes)
    with pytest.raises(ServiceUnhealthy, match="expects v2"):
        plan(known=known, asked=in_place)
    assert plan(known=replace(known, migrates=True), asked=in_place).replaces == "kb"


def test_what_a_killed_restore_left_is_said() -> None:
    left = DatabaseMark("t", "kb.dump", complete=False)
    notes = plan(marks={"kb_restored_1": left, "kb2": replace(left, complete=True)}).notes
    assert [note for note in notes if "DROP DATABASE" in note and '"kb_restored_1"' in note]
    assert not [note for note in notes if "kb2" in note]


def test_the_name_of_what_is_kept_is_one_postgresql_takes() -> None:
    name = kept_name("ü" * 31, "before", "20261120-020000")
    assert len(name.encode()) <= LONGEST_NAME
    assert name.endswith("_before_20261120-020000")


def test_a_mark_is_read_back_and_nobody_elses_comment_is_one() -> None:
    mark = DatabaseMark("t", "kb-dump-1", complete=True, kept="kb_before_1")
    assert DatabaseMark.parse(mark.text()) == mark
    for text in (None, "", "the knowledge base", "kb-dr: soon gone", "kb-dr: {}", "kb-dr: []"):
        assert DatabaseMark.parse(text) is None


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("postgresql://me@host:5433/kb", DatabaseUrl("host", 5433, "me", "kb")),
        ("postgres:///a%20b%22", DatabaseUrl(None, None, None, 'a b"')),
        ("postgresql://u@/kb?host=/run/pg&port=5", DatabaseUrl("/run/pg", 5, "u", "kb")),
        ("postgresql://u@[::1]:5/kb", DatabaseUrl("::1", 5, "u", "kb")),
    ],
)
def test_an_address_is_taken_apart(text: str, parts: DatabaseUrl) -> None:
    assert parse_database_url(text) == parts
    if parts.host and parts.port and parts.user:
        again = database_url(parts.host, parts.port, parts.user, parts.database)
        assert parse_database_url(again) == parts


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:secret@host/kb",
        "postgresql://host/kb?password=secret",
        "postgresql://host/secret/kb",
        "postgresql://host/secret/",
        "postgresql://host//secret",
        "postgresql://host/secret%00",
        "postgresql+asyncpg://me@host/secret",
        "postgresql://secret",
        "postgresql://host:secret/kb",
        "postgresql://host/kb?options=secret",
        "postgres+mysql://secret/kb",
    ],
)
def test_an_address_that_cannot_be_used_is_never_shown(text: str) -> None:
    assert is_database_url(text)  # and no directory, which would be shown, or made
    with pytest.raises(ValueError, match=r".") as caught:
        parse_database_url(text)
    assert "secret" not in str(caught.value)


class _Rows:
    """A look that finds these rows."""

    def __init__(self, look: Look | None) -> None:
        self._look = look

    def look_up(self, recorded: TableFingerprint, seed: str) -> Look | None:
        return self._look


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "missing"),
        (Look(2, "other", {"k": "d"}), "2 rows, expected 3"),
        (Look(3, "other", {"k": "changed"}), "1 of 1 sampled rows differ"),
        (Look(3, "other", {}), "1 of 1 sampled rows are missing"),
    ],
)
def test_rows_that_are_not_as_recorded_are_a_failure(found: Look | None, text: str) -> None:
    table = TableFingerprint("public.t", 3, ("id",), ("id",), (SampledRow("k", "d"),))
    with pytest.raises(LoadFailed, match=text):
        check_rows(_Rows(found), (table,), "seed", made="new", named="dump")  # type: ignore[arg-type]  # one question of it is asked
    same = _Rows(Look(3, "other", {"k": "d"}))
    said = check_rows(same, (table,), "seed", made="new", named="dump")  # type: ignore[arg-type]  # likewise
    assert said == "1 tables, 3 rows, 1 sampled rows: exactly as recorded"


def test_rows_that_were_not_counted_are_not_said_to_be_as_recorded() -> None:
    counted = TableFingerprint("public.t", 3, (), (), ())
    moved = replace(counted, rows=None)
    look = _Rows(Look(3, "other", {}))

    def said(*tables: TableFingerprint) -> str:
        return check_rows(look, tables, "seed", made="new", named="dump")  # type: ignore[arg-type]  # one question of it is asked

    assert "nothing was compared" in said(moved)
    assert said(counted, moved).endswith("exactly as recorded; of 1 no count is recorded")


def _read(text: bytes) -> SqlDump:
    reader = SqlDumpReader()
    for each in text:
        reader.feed(bytes([each]))
    return reader.finish()


def test_what_a_plain_dump_demands_is_read_and_nothing_inside_of_texts_is() -> None:
    read = _read(
        b"CREATE EXTENSION IF NOT EXISTS vector WITH SCHEMA public;\n"
        b'ALTER TABLE public.t OWNER TO "Odd ""one""";\n'
        b"GRANT SELECT ON TABLE public.t TO reader WITH GRANT OPTION;\n"
        b"GRANT USAGE ON SCHEMA public TO PUBLIC;\n"
        b"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$\n\\connect no\n"
        b"ALTER TABLE t OWNER TO nobody;\n$$;\n"
        b"COPY public.t (a) FROM stdin;\nGRANT x TO nobody;\n\\connect no\n\\.\n"
        b"\\restrict abc\n\\unrestrict abc\n"
    )
    assert read.extensions == ["vector"]
    assert read.roles == {'Odd "one"', "reader"}
