"""Errors of pg_restore that are expected: they say nothing against what was loaded.

The list is short on purpose, and each line has its reason. Whatever is not on it is a failure.
Message and statement both have to be the ones named, each from its beginning to its end: an error
that only begins like one of these is another one.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExpectedError:
    """One error that is passed over."""

    message: re.Pattern[str]
    """The server's own words, without its severity."""
    statement: re.Pattern[str]
    """All of what was being run."""
    reason: str
    """Why nothing is lost by it, for people."""


EXPECTED_ERRORS = (
    ExpectedError(
        re.compile(r'unrecognized configuration parameter "transaction_timeout"'),
        re.compile(r"SET transaction_timeout = 0;"),
        "programs of PostgreSQL 17 and newer set it, and older servers have no such limit",
    ),
    ExpectedError(
        re.compile(r'schema "(?s:.+)" already exists'),
        re.compile(r"CREATE SCHEMA (?s:.+);"),
        "every new database has public, and others were made for extensions; owner, grants and "
        "comment are set all the same",
    ),
    ExpectedError(
        re.compile(r"must be owner of extension .+"),
        re.compile(r"COMMENT ON EXTENSION (?s:.+);"),
        "the extension is there, and its comment came with it",
    ),
)


def why_expected(message: str, statement: str) -> str | None:
    """Why this error is passed over; None when it is a failure."""
    for each in EXPECTED_ERRORS:
        if each.message.fullmatch(message) and each.statement.fullmatch(statement):
            return each.reason
    return None
