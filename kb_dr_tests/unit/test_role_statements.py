"""Roles are taken over as they were, tablespaces never: whatever the names and comments hold."""

import pytest

from kb_dr.domain.role_statements import without_grantors, without_tablespaces

ROLES = r"""--
-- PostgreSQL database cluster dump; "quoted' in a comment
--

\restrict Abc'def

SET standard_conforming_strings = on;

CREATE ROLE "o'brien";
ALTER ROLE "o'brien" WITH LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b''c';
COMMENT ON ROLE "o'brien" IS 'he said: CREATE TABLESPACE x;
COMMENT ON TABLESPACE too';
GRANT "o'brien" TO app;
ALTER ROLE app SET search_path TO 'kb', 'public';
GRANT SET ON PARAMETER work_mem TO app;
"""
TABLESPACES = """CREATE TABLESPACE "fa;st" OWNER "o'brien" LOCATION '/mnt/fa;st''s';
ALTER TABLESPACE "fa;st" SET (seq_page_cost=1);
GRANT ALL ON TABLESPACE "fa;st" TO app;
REVOKE CREATE ON TABLESPACE "fa;st" FROM app;
COMMENT ON TABLESPACE "fa;st" IS 'two
lines; of it';
SECURITY LABEL FOR dummy ON TABLESPACE "fa;st" IS 'secret';
"""


def test_only_the_statements_of_tablespaces_are_left_out() -> None:
    left = without_tablespaces(f"{ROLES}\n-- Tablespaces\n\n{TABLESPACES}\n\\unrestrict Abc'def\n")

    assert left.startswith(ROLES)
    assert left.endswith("\\unrestrict Abc'def\n")
    assert "fa;st" not in left


@pytest.mark.parametrize("text", ["", "\n", ROLES, "-- nothing\n", "CREATE ROLE a"])
def test_without_any_the_text_stays_as_it_is(text: str) -> None:
    assert without_tablespaces(text) == text


@pytest.mark.parametrize(
    ("written", "run"),
    [
        (
            "GRANT boss TO hand WITH INHERIT TRUE GRANTED BY postgres;\n",
            "GRANT boss TO hand WITH INHERIT TRUE;\n",
        ),
        ('-- of "it"\nGRANT a TO b GRANTED BY "o\'br;""ien";', '-- of "it"\nGRANT a TO b;'),
        ('GRANT a TO "x GRANTED BY y";', 'GRANT a TO "x GRANTED BY y";'),
        ('GRANT a TO "x GRANTED BY """;', 'GRANT a TO "x GRANTED BY """;'),
        ("COMMENT ON ROLE a IS 'b GRANTED BY c';", "COMMENT ON ROLE a IS 'b GRANTED BY c';"),
    ],
)
def test_memberships_are_granted_by_whoever_makes_them(written: str, run: str) -> None:
    assert without_grantors(written) == run


def test_what_ends_within_a_quote_is_read_at_once() -> None:
    # Each way to divide the words would be tried: for ever.
    without_tablespaces("CREATE ROLE " + "a" * 100 + " 'not closed")
