"""A plain dump is read as psql reads it, piece by piece, whatever stands in it."""

import random
from datetime import UTC, datetime

import pytest

from kb_dr.domain.local_dump import (
    DumpHead,
    DumpTail,
    head_line,
    is_local_file,
    name_parts,
    parse_line,
    tail_line,
)
from kb_dr.domain.sql_dump import SqlDump, SqlDumpReader, table_of

HEAD = DumpHead(
    id="kb-dump-20261120-020000",
    taken=datetime(2026, 11, 20, 2, tzinfo=UTC),
    postgres=160015,
    pg_dump="16.15",
    lsn="0/3000028",
    database='odd "name"\n-- of two lines',
    extensions={"vector": "0.8.5"},
    schema_version="0007_ü",
)
AWKWARD = ('a "b".c', "line\nline; COPY x.y FROM stdin;")
QUOTED = '"a ""b"".c"."line\nline; COPY x.y FROM stdin;"'
TAIL = DumpTail(
    rows={"public.entries": 3, "public.nothing": 0, QUOTED: 2}, data_blocks=3, data_rows=5
)
BODY = rb"""--
-- PostgreSQL database dump
--

\restrict abcDEF1

-- Dumped from database version 16.15

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

--
-- Name: it's; Type: FUNCTION; Schema: public; Owner: kb
--

CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $_$
COPY public.ghosts (id) FROM stdin;
1
\.
select 'it''s', "odd;", $1; -- '
-- PostgreSQL database dump complete
-- kb-dr: {"no": "json of ours
$_$;
CREATE VIEW public.v AS SELECT E'it\'s \\' AS a, E'two''s; \'' AS b, 'plain\' AS c; /* it's /* ; */ */
COMMENT ON VIEW public.v IS 'of three
-- kb-dr: {"complete": true}
COPY public.ghosts FROM stdin;
lines';

COPY public.entries (id, "the ""text"" ") FROM stdin;
1	it's
2	$$ \\. ; -- "
3	\\N
\.


COPY public.nothing (id) FROM stdin;
\.


COPY "a ""b"".c"."line
line; COPY x.y FROM stdin;" (id) FROM stdin;


\.


ALTER TABLE ONLY public.entries ADD CONSTRAINT entries_pkey PRIMARY KEY (id);

--
-- PostgreSQL database dump complete
--

\unrestrict abcDEF1

"""  # noqa: E501 - one statement of pg_dump's is one line
WHOLE = head_line(HEAD) + BODY + tail_line(TAIL)


def read(dump: bytes, *pieces: int) -> SqlDump:
    """Read in pieces of these lengths, and what is left in one."""
    reader = SqlDumpReader()
    for length in pieces:
        reader.feed(dump[:length])
        dump = dump[length:]
    reader.feed(dump)
    return reader.finish()


def test_rows_are_those_between_copy_and_its_end_and_nothing_else() -> None:
    found = read(WHOLE)

    assert found.rows == {("public", "entries"): 3, ("public", "nothing"): 0, AWKWARD: 2}
    assert (found.data_blocks, found.data_rows) == (3, 5)
    assert (found.begins, found.complete, found.cut_off_in) == (True, True, "")
    assert found.damaged_notes == []


def test_what_a_file_says_of_itself_is_read_back_as_it_was_written() -> None:
    found = read(WHOLE)

    assert (found.head, found.tail) == (HEAD, TAIL)
    assert found.tail_is_last


def test_how_a_file_is_cut_into_pieces_changes_nothing() -> None:
    whole = read(WHOLE)

    assert read(WHOLE, *[1] * len(WHOLE)) == whole
    chosen = random.Random(7)
    for _ in range(200):
        pieces = [chosen.randrange(1, 200) for _ in range(chosen.randrange(1, 30))]
        assert read(WHOLE, *pieces) == whole


def test_a_file_that_ends_anywhere_before_its_end_is_seen_to_be_cut_short() -> None:
    last = WHOLE.index(b"-- PostgreSQL database dump complete", WHOLE.index(b"ALTER TABLE"))

    for length in range(len(WHOLE) - 1):
        found = read(WHOLE[:length])
        assert not (found.complete and not found.cut_off_in and found.tail), length
        if length < last:
            assert not found.complete, length


@pytest.mark.parametrize(
    ("end", "within"),
    [
        (b"3\t\\\\N\n", "the rows of public.entries"),
        (b"-- '\n", "a text in dollar quotes"),
        (b"ADD CONSTRAINT", "a statement"),
        (b"-- kb-dr: {\"complete\": true}\n", "a quoted text"),
    ],
)  # fmt: skip
def test_what_it_ends_within_is_named(end: bytes, within: str) -> None:
    upto = BODY.index(end) + len(end)

    assert read(BODY[:upto]).cut_off_in == within


def test_statements_behind_the_end_are_not_passed_over() -> None:
    assert not read(WHOLE + b"DROP TABLE public.entries;\n").complete
    assert not read(WHOLE + b"DROP TABLE public.entries;\n").tail_is_last
    assert read(WHOLE + WHOLE).damaged_notes == ["it is there twice"] * 2


def test_names_in_another_encoding_are_read_in_it() -> None:
    dump = BODY.replace(b"'UTF8'", b"'LATIN1'").replace(b"public.entries (", b'"\xfc"."\xe4" (')

    assert ("ü", "ä") in read(dump).rows


def test_a_file_without_lines_of_ours_is_read_as_well() -> None:
    found = read(BODY)

    assert (found.head, found.tail, found.complete) == (None, None, True)


@pytest.mark.parametrize(
    "line",
    [
        b"-- kb-dr: {\n",
        b"-- kb-dr: []\n",
        b'-- kb-dr: {"complete": false, "rows": {}, "data_blocks": 0}\n',
        b'-- kb-dr: {"complete": true, "rows": {"a.b": null}}\n',
        b'-- kb-dr: {"id": "kb-dump-20261120-020000"}\n',
    ],
)
def test_a_damaged_line_of_ours_is_no_line_of_somebody_else(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_line(line)
    assert read(BODY + line).damaged_notes != []


def test_a_line_of_ours_is_one_line_of_ascii() -> None:
    for line in (head_line(HEAD), tail_line(TAIL)):
        assert line.count(b"\n") == 1
        assert line.isascii()


def test_fields_of_a_newer_version_are_passed_over() -> None:
    newer = tail_line(TAIL).replace(b"{", b'{"new": [1], ', 1)

    assert parse_line(newer) == TAIL


def test_names_are_taken_apart_as_sql_writes_them() -> None:
    assert table_of("public.entries") == ("public", "entries")
    assert table_of(QUOTED) == AWKWARD
    assert table_of('"a.b".c') == ("a.b", "c")
    assert table_of("entries") is None


def test_the_files_of_dumps_are_known_by_their_names() -> None:
    for name in ("kb-backup-20261120-020000.sql.gz", "kb-backup-20261120-020000.dir/toc.dat"):
        assert is_local_file(name)
        assert is_local_file(name + ".sha256")
    for name in ("kb-backup-20261399-020000.sql.gz", "repository.json", "full/x", "notes.sql.gz"):
        assert not is_local_file(name)
        assert name_parts(name) is None
