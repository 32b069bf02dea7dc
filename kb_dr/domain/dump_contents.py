"""The table of contents of a dump, as ``pg_restore --list --verbose`` prints it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContentsEntry:
    """One thing that is restored by itself."""

    id: int
    """The dump id, by which entries depend on one another and are asked for."""
    kind: str
    """pg_dump's own word: ``TABLE``, ``TABLE DATA``, ``INDEX``, ``FK CONSTRAINT`` ..."""
    schema: str | None
    """Of an extension: the one its objects are in, though it is listed in none."""
    name: str
    """Its tag: of what belongs to a table, table and own name."""
    owner: str
    depends_on: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class DumpContents:
    """Everything in one archive."""

    database: str
    server_version: str
    """Of the server it was dumped from, as pg_dump wrote it."""
    program_version: str
    """Of the pg_dump that wrote it."""
    entries: tuple[ContentsEntry, ...]

    @property
    def extension_schemas(self) -> dict[str, str]:
        """Extension to the schema its objects are in."""
        return {
            each.name: each.schema
            for each in self.entries
            if each.kind == "EXTENSION" and each.schema is not None
        }
