"""Loading a dump into a database, worked out before anything is changed."""

from dataclasses import dataclass, field
from pathlib import Path

from kb_dr.domain.dump import DatabaseShape, DumpFormat
from kb_dr.domain.dump_contents import DumpContents
from kb_dr.domain.local_dump import DumpHead
from kb_dr.domain.manifest import Manifest, StoredManifest


@dataclass(frozen=True, slots=True)
class Part:
    """What of a dump is asked for, and how."""

    tables: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    owners: bool = True
    grants: bool = True
    make_roles: bool = False
    """Create roles that are missing, without a login."""
    jobs: int = 2

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.tables and not self.schemas


@dataclass(frozen=True, slots=True)
class StoredDump:
    """A dump in one copy of the repository."""

    stored: StoredManifest
    copy: str
    url: str
    passed_over: tuple[str, ...] = ()

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return self.stored.manifest


@dataclass(frozen=True, slots=True)
class LocalDump:
    """A file, or a directory, that was read from its beginning to its end, and is whole."""

    path: Path
    form: DumpFormat
    compressed: bool
    """Of a plain one: by gzip."""
    size_bytes: int
    trace: tuple[int, ...]
    """Tells it from what may stand there later."""
    checksum: str
    """What vouches for it, for people."""
    major: int
    """Major version of the server it was dumped from; 0 where it does not say."""
    contents: DumpContents | None
    """None of a plain one."""
    head: DumpHead | None = None
    """What a plain one of ours says of itself."""
    rows: dict[str, int] | None = None
    """Counts its end records; None where it records none."""
    extensions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    """Owners, and of a plain one also who is granted something."""


What = StoredDump | LocalDump


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Everything a restore of a dump is going to do; nothing has been changed yet."""

    what: What
    part: Part
    service: str
    server: str
    """Where it runs, for people."""
    url: str
    """The database that people ask for in the end; never with a password."""
    system_identifier: int
    made: str
    """The database that is created and loaded."""
    replaces: str | None
    """The database whose name it takes then; None when it keeps its own."""
    kept: str | None
    """What that one is called then."""
    production: bool
    """Whether that one is the database under protection."""
    shape: DatabaseShape | None
    extensions: dict[str, str]
    make_roles: tuple[str, ...]
    """Roles that are missing and are created."""
    spooled_bytes: int
    """Room it takes in the scratch directory while it is loaded."""
    expected_schema: str | None
    stamp: str
    notes: tuple[str, ...] = field(default=())

    @property
    def named(self) -> str:
        """What is restored, in a few characters."""
        what = self.what
        return what.manifest.id if isinstance(what, StoredDump) else what.path.name
