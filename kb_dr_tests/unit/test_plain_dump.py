"""What of a plain dump reaches psql: every statement and row, no command, and no half of one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_dr.domain.plain_dump import PlainDump
from kb_dr.errors import ChecksumMismatch, LoadFailed

_DUMP = rb"""--
-- PostgreSQL database dump
--

\restrict abcDEF123

SET statement_timeout = 0;
SET transaction_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);
/* nested /* ; \! */ still a comment */
CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $_$
\restrict inside
SET transaction_timeout = 0;
select '\! no command' $_$;
CREATE TABLE public."new
line; \" (id int, "a b" text DEFAULT 'it''s \', e text DEFAULT E'\\\'\!;');
COPY public."new
line; \" (id, "a b") FROM stdin;
1	one\\.
2	\N
\.x
SET transaction_timeout = 0;
\restrict within rows
\.


COPY public.empty (id) FROM stdin;
\.


--
-- PostgreSQL database dump complete
--

\unrestrict abcDEF123

"""


def _through(dump: bytes, *, pieces: int = 1 << 20, has_transaction_timeout: bool = True) -> bytes:
    passing = PlainDump(has_transaction_timeout=has_transaction_timeout)
    fed = [passing.feed(dump[at : at + pieces]) for at in range(0, len(dump), pieces)]
    return b"".join(fed) + passing.finish()


@pytest.mark.parametrize("pieces", [1, 7, 1 << 20])
def test_all_but_the_two_commands_of_pg_dump_itself_is_passed_on(pieces: int) -> None:
    expected = _DUMP.replace(b"\\restrict abcDEF123\n", b"").replace(
        b"\\unrestrict abcDEF123\n", b""
    )

    assert _through(_DUMP, pieces=pieces) == expected


def test_a_limit_older_servers_do_not_know_is_left_out_where_it_is_a_statement_alone() -> None:
    passed = _through(_DUMP, has_transaction_timeout=False)

    assert passed.count(b"SET transaction_timeout = 0;") == 2
    assert b"SET statement_timeout = 0;\nSELECT" in passed


@pytest.mark.parametrize(
    "line",
    [
        rb"\! touch /tmp/owned",
        rb"select 1 \! touch /tmp/owned",
        rb"\copy t from program 'id'",
        rb"\connect other",
        rb"\restrict a b",
        rb"select $$text$$ \gexec",
        rb"select e'\'' \gexec",
        rb"select 'a\' \gexec",
        rb"select U&'\' \gexec",
        rb"select typee'\' \gexec",
        rb"-- comment" + b"\n" + rb"\! id",
        rb"/* /* */ */ \! id",
        rb"select a$b$ \! id",
        b"COPY t FROM stdin;\n1\n\\.\n\\! id",
    ],
)
def test_a_command_of_psql_is_refused_wherever_it_stands(line: bytes) -> None:
    with pytest.raises(LoadFailed, match="a command of psql"):
        _through(b"select 1;\n" + line + b"\n")


@pytest.mark.parametrize(
    "statement",
    [
        b"commit;",
        b"-- a\n ROLLBACK ;",
        b"select 1;COMMIT AND CHAIN;",
        b"end;",
        b"End /* a */ work;",
        b"prepare transaction 'a';",
        b"create function f() returns int begin atomic select 1; end; end;",
        b"create function f() returns void begin atomic end; end;",
        b"create table begin_atomic (a int); end;",
    ],
)
def test_a_statement_that_would_end_the_transaction_of_all_is_refused(statement: bytes) -> None:
    with pytest.raises(LoadFailed, match="ends the transaction"):
        _through(statement)


@pytest.mark.parametrize(
    "statement",
    [
        b"alter database kb rename to gone;",
        b"DROP\n DATABASE kb;",
        b"create user me superuser;",
        b'alter role "app" set search_path to x;',
        b"drop /* a */ role app;",
        b"alter system set fsync to off;",
        b"drop owned by app;",
        b"reassign owned by app to me;",
        b"grant postgres to app;",
        b'revoke "on" from app;',
        b"grant all on database kb to app;",
        b"comment on database kb is 'a';",
        b"copy t from program 'id';",
        b"copy (select 1) to program 'id';",
        b"create tablespace a location '/';",
    ],
)
def test_a_statement_that_changes_more_than_its_database_is_refused(statement: bytes) -> None:
    with pytest.raises(LoadFailed, match="changes more than its database"):
        _through(b"select 1;\n" + statement + b"\n")


@pytest.mark.parametrize(
    "statement",
    [
        b"alter table public.database owner to app;",
        b"grant select on table public.database to app;",
        b"grant select (a, b) on table t to app;",
        b"alter default privileges for role app grant all on tables to app;",
        b"create function f() returns int begin atomic select case when a then 1 end; end;",
        b"CREATE SUBSCRIPTION s CONNECTION 'a' PUBLICATION p WITH (connect = false);",
        b"create user mapping for app server s;",
        b"create view role as select 'drop database kb';",
        b'comment on column "database".a is $$drop database kb$$;',
        b"select case when true then 1\nend;",
        b"copy program (to_program) from stdin;\ndrop database kb;\n\\.\n",
    ],
)
def test_what_pg_dump_writes_of_one_database_is_passed_on(statement: bytes) -> None:
    assert _through(statement) == statement


def test_a_transaction_around_large_objects_becomes_part_of_the_one_of_all() -> None:
    function = b"CREATE FUNCTION f() RETURNS int\nBEGIN ATOMIC\n SELECT 1;\nEND;\nrollback to a;\n"

    assert _through(b"BEGIN;\nselect 1;\nCOMMIT;\n" + function) == b"select 1;\n" + function


@pytest.mark.parametrize(
    "line",
    [
        rb"select '\! id';",
        rb"select e'\\\' \! id';",
        rb"select $a$ $b$ \! id $a$;",
        rb'select 1 as "\! id";',
        rb"-- \! id",
        b"COPY t FROM stdin;\n\\! id\n\\.",
        b"copy t (a)\n from\n  STDIN with (null 'x');\n\\! id\n\\.\n",
    ],
)
def test_what_only_looks_like_a_command_is_passed_on(line: bytes) -> None:
    assert _through(line) == line


@given(
    st.integers(min_value=60, max_value=len(_DUMP) - len(b"--\n\n\\unrestrict abcDEF123\n\n") - 2)
)
def test_a_dump_cut_anywhere_is_never_taken_for_a_whole_one(at: int) -> None:
    with pytest.raises(ChecksumMismatch):
        _through(_DUMP[:at])


@pytest.mark.parametrize(
    "cut",
    [b"COPY t FROM stdin;\n1\n", b"COPY t FROM stdin;", b"select 'a", b"select $$a", b"/* a"],
)
def test_statements_of_anybody_are_not_ended_within_something(cut: bytes) -> None:
    with pytest.raises(ChecksumMismatch, match="ends within"):
        _through(cut)


_PIECES = (b"'", b'"', b"$$", b"$a$", b"--", b"/*", b"*/", b"\n", b";", b"\\", b"E'", b" ", b"x")
_LINES = (b"COPY t FROM stdin;\n", b"\n\\.\n", b"\\restrict a\n", b"SET transaction_timeout = 0;\n")


@given(
    st.lists(st.sampled_from(_PIECES + _LINES), max_size=60).map(b"".join),
    st.integers(min_value=1, max_value=50),
)
def test_pieces_make_no_difference(junk: bytes, pieces: int) -> None:
    def outcome(size: int) -> object:
        try:
            return _through(junk, pieces=size)
        except (LoadFailed, ChecksumMismatch) as error:
            return str(error)

    assert outcome(pieces) == outcome(1 << 20)


@pytest.mark.parametrize("statement", [b"CREATE ROLE kb;\n", b"GRANT a TO b;\n"])
def test_only_what_is_said_of_roles_may_reach_beyond_one_database(statement: bytes) -> None:
    ours = PlainDump(has_transaction_timeout=True, of_roles=True)

    assert ours.feed(statement) + ours.finish() == statement
    with pytest.raises(LoadFailed, match="changes more than its database"):
        _through(statement)


def test_what_is_said_of_roles_holds_no_command_either() -> None:
    ours = PlainDump(has_transaction_timeout=True, of_roles=True)
    ours.feed(b"\\! id\n")

    with pytest.raises(LoadFailed, match="command of psql"):
        ours.finish()
