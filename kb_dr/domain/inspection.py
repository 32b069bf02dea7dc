"""What looking at a restored server yields, before anybody judges it."""

from dataclasses import dataclass

RELATION_KINDS = frozenset(
    {
        *("TABLE", "SEQUENCE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"),
        *("INDEX", "CONSTRAINT", "FK CONSTRAINT", "TRIGGER"),
    }
)
"""Kinds, in pg_dump's words, of which a database can say what stands in it."""


@dataclass(frozen=True, slots=True)
class Examined:
    """One kind of look at every object of that kind, in every database."""

    objects: int
    """How many were looked at."""
    damage: tuple[str, ...] = ()
    """What is broken, one line each."""
    unseen: tuple[str, ...] = ()
    """What could not be looked at though the tool is at hand, and why."""
    lacking: tuple[str, ...] = ()
    """What is not installed on this host and would be needed to look."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One thing that stands in a database, named as in an archive of pg_dump."""

    kind: str
    """One of RELATION_KINDS."""
    schema: str
    name: str
    """Of what belongs to a table, table and own name."""
