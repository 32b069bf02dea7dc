"""A logical dump: tables as pg_dump writes them, seen in one snapshot.

It needs no WAL and no parent, restores into another major version, and gives back one table. It is
no base for point-in-time recovery: nothing here may take it for one.
"""

from dataclasses import dataclass
from enum import StrEnum

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.stored import StoredObject

PG_DUMP = "pg_dump"
"""Engine: an archive as ``pg_dump --format=custom`` writes it."""

NO_PASSWORDS = b"-- kb-dr: without the hashes of passwords, which the role may not read\n"
"""First line of the globals where that is so."""


class DumpFormat(StrEnum):
    """How pg_dump writes it down; the names are its own."""

    CUSTOM = "custom"
    """One archive that pg_restore reads, whole or in parts, in parallel where it is a file."""
    DIRECTORY = "directory"
    """A file for each table, written and read in parallel."""
    PLAIN = "plain"
    """Statements, for psql."""


@dataclass(frozen=True, slots=True)
class DatabaseShape:
    """What a database is given when it is created, and never loses."""

    encoding: str
    collate: str
    ctype: str
    provider: str
    """``libc``, ``icu`` or ``builtin``."""
    locale: str | None
    """Of ICU or the builtin provider; None with libc."""


@dataclass(frozen=True, slots=True)
class SnapshotPlace:
    """Where in the life of the cluster a snapshot was taken."""

    timeline: int
    lsn: Lsn
    """Asked for just after: every commit the snapshot shows lies before it, and nothing that began
    after it is shown. What was being committed in that moment may lie before it and not be."""


@dataclass(frozen=True, slots=True)
class DumpFacts:
    """What a manifest says of a dump beyond what it says of every backup."""

    format: DumpFormat
    program: str
    """Version of the pg_dump that wrote it: an older pg_restore may not read it."""
    shape: DatabaseShape
    roles: tuple[str, ...]
    """Those that own something in it, or are granted something: without them, owners and grants
    cannot be restored."""
    globals: StoredObject | None
    """Roles and tablespaces of the cluster, as pg_dumpall writes them; None where the role that
    dumped may not read them."""


@dataclass(frozen=True, slots=True)
class DumpEnd:
    """A dump whose program ended well."""

    plain_bytes: int
    """Length of what it wrote."""
    plain_sha256: str
    """Lower-case hex digest of that."""
