"""Judge what came of a dump that was loaded: by its manifest, and by its own table of contents."""

from dataclasses import replace

from kb_dr.domain.dump_contents import DumpContents
from kb_dr.domain.inspection import RELATION_KINDS, Relation
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.proof import Check, Outcome
from kb_dr.operations.check_restored import check_at_restore_point, check_at_tip, checked, some
from kb_dr.ports import Inspection

_UTF8 = "UTF8"
_HEARTBEAT = ("kb_dr", "heartbeat")


def check_dump(look: Inspection, manifest: Manifest, contents: DumpContents) -> tuple[Check, ...]:
    """Rows, versions, vectors and structure of a loaded dump, each against what was recorded."""
    dumped = _as_dumped(manifest, contents)
    return (
        *check_at_restore_point(look, dumped, loaded=True),
        checked("came_into_being", lambda: _relations(look, manifest, contents)),
        checked("large_objects", lambda: _large_objects(look, contents)),
        *check_at_tip(look, dumped),
        *_unrecorded(manifest, contents),
    )


def _as_dumped(manifest: Manifest, contents: DumpContents) -> Manifest:
    """Without the vector indexes that were dropped before the snapshot was taken: indexes are
    measured first, and a migration may have run between the two.
    """
    indexes = {each.name for each in contents.entries if each.kind == "INDEX"}
    kept = tuple(each for each in manifest.source.vectors if each.index in indexes)
    return replace(manifest, source=replace(manifest.source, vectors=kept))


def _unrecorded(manifest: Manifest, contents: DumpContents) -> tuple[Check, ...]:
    """What the fingerprint does not record. Where it names no table, the archive must hold no rows
    either, unlogged tables included; those of extensions and of the heartbeat are nobody's content.
    """
    if manifest.fingerprint.tables:
        unseen = [each.table for each in manifest.fingerprint.tables if each.rows is None]
        if not unseen:
            return ()
        seen = f"could not be looked at when it was dumped: {some(unseen)}"
        return (Check("every_table_recorded", Outcome.COULD_NOT_RUN, seen),)
    name = "nothing_recorded"
    made, filled = (
        {(each.schema, each.name) for each in contents.entries if each.kind == kind}
        for kind in ("TABLE", "TABLE DATA")
    )
    rows = made & filled - {_HEARTBEAT}
    if rows:
        seen = f"the archive holds rows of {len(rows)} tables, and none was recorded"
        return (Check(name, Outcome.COULD_NOT_RUN, seen),)
    return (Check(name, Outcome.PASSED, "the archive holds rows of no table either"),)


def _relations(look: Inspection, manifest: Manifest, contents: DumpContents) -> Check:
    """Everything the archive lists stands there, whatever pg_restore said of it."""
    name = "came_into_being"
    listed = {
        Relation(each.kind, each.schema or "", each.name)
        for each in contents.entries
        if each.kind in RELATION_KINDS and _readable(each.name + (each.schema or ""), manifest)
    }
    standing = look.relations()
    lost = sorted(listed - standing, key=lambda each: (each.kind, each.schema, each.name))
    if lost:
        seen = some(f"{each.kind} {each.schema}.{each.name} is missing" for each in lost)
        return Check(name, Outcome.FAILED, seen)
    if not listed:
        return Check(name, Outcome.NOT_APPLICABLE, "the archive lists nothing of the kind")
    tables, indexes = (sum(each.kind == kind for each in listed) for kind in ("TABLE", "INDEX"))
    seen = f"all {len(listed)} listed in the archive, {tables} tables and {indexes} indexes of them"
    return Check(name, Outcome.PASSED, seen)


def _readable(name: str, manifest: Manifest) -> bool:
    """Whether a name in the archive is the one the server tells: it is written in the encoding of
    the database.
    """
    shape = manifest.dump.shape if manifest.dump else None
    return name.isascii() or shape is None or shape.encoding == _UTF8


def _large_objects(look: Inspection, contents: DumpContents) -> Check:
    """Up to PostgreSQL 16 each is an entry of its own; since then one entry is of many."""
    name = "large_objects"
    each_its_own = sum(each.kind == "BLOB" for each in contents.entries)
    of_many = sum(each.kind == "BLOB METADATA" for each in contents.entries)
    if not each_its_own and not of_many:
        return Check(name, Outcome.NOT_APPLICABLE, "the archive holds none")
    found = look.large_objects()
    if found != each_its_own if each_its_own else found < of_many:
        expected = f"{each_its_own}" if each_its_own else f"at least {of_many}"
        return Check(name, Outcome.FAILED, f"{found}, expected {expected}")
    return Check(name, Outcome.PASSED, f"{found}")
