"""The roles in what pg_dumpall --globals-only writes, for a cluster that is another one."""

import re

_STATEMENT = re.compile(
    r"""(?:
        [^;'"\\-]++ | '(?:[^']|'')*' | "(?:[^"]|"")*" | --[^\n]* | -(?!-) | \\[^\n]*
    )*(?:;|\Z)""",
    re.VERBOSE,
)
"""One statement with what stands before it. pg_dumpall doubles quotes and writes no dollar quotes;
a backslash begins a line of psql's own (\\restrict), or stands within quotes."""

_WORDS = re.compile(r"(?:\s|--[^\n]*\n|\\[^\n]*\n)*(?P<words>.*)", re.DOTALL)

_OF_TABLESPACES = re.compile(
    r"(?:CREATE|ALTER)\s+TABLESPACE\b"
    r"|(?:COMMENT|SECURITY\s+LABEL\s+(?:FOR\s+\S+\s+)?)\s*ON\s+TABLESPACE\b"
    r"|(?:GRANT|REVOKE)\s[^;'\"]*?\sON\s+TABLESPACE\b"
)

_GRANTOR = re.compile(r"""\s+GRANTED\s+BY\s+(?:"(?:[^"]|"")*+"|[^\s;"]+)\s*;\Z""")
"""At the end of a statement; within a quoted name no such end is possible."""


def without_grantors(text: str) -> str:
    """The same memberships, each granted by whoever runs the statements.

    Since PostgreSQL 16 they name who granted them, the source's first superuser most of all: in
    another cluster that role is an ordinary superuser, which may not be named so.
    """
    made = []
    for found in _STATEMENT.finditer(text):
        words = _WORDS.match(found[0])
        grants = words is not None and words["words"].startswith("GRANT ")
        made.append(_GRANTOR.sub(";", found[0]) if grants else found[0])
    return "".join(made)


def without_tablespaces(text: str) -> str:
    """The same statements but those of tablespaces: they name directories that only the source
    has, and CREATE TABLESPACE cannot run in a transaction.
    """
    kept = []
    for found in _STATEMENT.finditer(text):
        statement = found[0]
        words = _WORDS.match(statement)
        if words is None or not _OF_TABLESPACES.match(words["words"]):
            kept.append(statement)
    return "".join(kept)
