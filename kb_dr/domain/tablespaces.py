"""Where extra tablespaces lie in a backup and in what is restored from it.

Never where they lay at the source: a link to that path, followed by a restored server on the same
host, would write into the live cluster. In the tar they stand below the data directory, and the
links that lead to them are relative, so that they hold wherever it is unpacked.
"""

from dataclasses import dataclass

TABLESPACES = "kb_dr_tablespaces"
"""A directory in the data directory; one directory a tablespace, named by its OID."""

LINKS = "pg_tblspc"
"""PostgreSQL's own directory of links, one a tablespace, named by its OID."""

TABLESPACE_MAP = "tablespace_map"
"""A file in which PostgreSQL sends the source's paths. Recovery makes links to them again, so no
tar of ours holds it."""


@dataclass(frozen=True, slots=True)
class Tablespace:
    """One tablespace besides pg_default and pg_global, as it was at the source."""

    oid: int
    name: str
    location: str
    """An absolute path on the source's host; for people. Nothing is ever restored to it."""


def directory_of(oid: int) -> str:
    """Where the tablespace lies, relative to the data directory."""
    return f"{TABLESPACES}/{oid}"


def link_to(oid: int) -> str:
    """What its link in ``pg_tblspc`` says, relative to that."""
    return f"../{directory_of(oid)}"
