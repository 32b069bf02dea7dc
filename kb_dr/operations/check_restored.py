"""Judge a restored cluster by what its manifest says it has to be."""

from collections.abc import Callable, Iterable

from kb_dr.domain.fingerprint import Difference, Fingerprint, differences
from kb_dr.domain.inspection import Examined
from kb_dr.domain.manifest import Manifest, VectorBaseline
from kb_dr.domain.proof import ROWS_AS_RECORDED, Check, Outcome
from kb_dr.domain.versions import older
from kb_dr.errors import PostgresError, PostgresProgramMissing, RepositoryError, VerificationError
from kb_dr.operations.run_beside import Beside
from kb_dr.ports import Inspection

RECALL_TOLERANCE = 0.05
"""How far recall@10 may fall below the source's (F4)."""
REBUILT_RECALL_TOLERANCE = 0.1
"""The same of an index that loading a dump built anew: HNSW draws its levels by chance, and two of
the very same rows were seen 0.06 apart. A stale one, a fifth of whose rows moved, loses 0.2."""

_LINES = 3
"""Faults named in one check; the rest are counted."""


def check_at_restore_point(
    look: Inspection, manifest: Manifest, *, loaded: bool = False
) -> tuple[Check, ...]:
    """Replay stands at the very point the fingerprint was taken at, or the dump of that very
    snapshot is ``loaded``: all must be equal.
    """
    extensions = _loaded_extensions if loaded else _extensions
    # A dump holds no tables of extensions, and so its fingerprint names none.
    stand = look.own_tables if loaded else look.tables
    return (
        checked(ROWS_AS_RECORDED, lambda: _rows(look, manifest.fingerprint, stand)),
        checked("schema_version", lambda: _schema_version(look, manifest)),
        checked("extensions", lambda: extensions(look, manifest)),
        checked("indexes_valid", lambda: _valid_indexes(look, manifest)),
        checked("vector_dimensions", lambda: _dimensions(look, manifest)),
    )


def check_at_tip(
    look: Inspection, manifest: Manifest, *, combined: bool = False
) -> tuple[Check, ...]:
    """Replay has ended and the cluster is open: its structure and its vector indexes hold.

    ``combined`` out of increments, nothing is proven without a look at the visibility maps: that is
    what PostgreSQL's own increments were once found to spoil (17.10 and 18.4, and older), while its
    verification and amcheck both passed. Of a full they are looked at where pg_visibility is here.
    """
    maps = "visibility_maps"
    # Each reads the whole cluster, on one core. Not the maps, though: beside other sessions
    # pg_check_visible() of PostgreSQL 16 and older may see damage where there is none.
    tables = Beside(
        lambda: checked("tables", lambda: _examined("tables", look.examine_tables())), "tables"
    )
    btrees = checked("btrees", lambda: _examined("btrees", look.examine_indexes()))
    recall = checked("vector_recall", lambda: _recall(look, manifest))
    return (
        tables.result(),
        btrees,
        checked(maps, lambda: _examined(maps, look.examine_visibility(), needed=combined)),
        recall,
    )


def check_page_checksums(manifest: Manifest, verify: Callable[[], None]) -> Check:
    """Every page of the stopped cluster, where the source had checksums on."""
    name = "page_checksums"
    if not manifest.source.data_checksums:
        return Check(name, Outcome.NOT_APPLICABLE, "the source has none")
    try:
        verify()
    except PostgresProgramMissing as error:
        return Check(name, Outcome.COULD_NOT_RUN, str(error), needed=False)
    except RepositoryError as error:
        return Check(name, Outcome.FAILED, str(error))
    except PostgresError as error:
        return Check(name, Outcome.COULD_NOT_RUN, str(error))
    return Check(name, Outcome.PASSED, "every page of the cluster")


def checked(name: str, look: Callable[[], Check]) -> Check:
    """A look that finds damage fails; one that could not be taken says so."""
    try:
        return look()
    except VerificationError as error:
        return Check(name, Outcome.FAILED, str(error))
    except PostgresError as error:
        return Check(name, Outcome.COULD_NOT_RUN, str(error))


def _rows(
    look: Inspection, fingerprint: Fingerprint, tables_there: Callable[[], tuple[str, ...]]
) -> Check:
    name = ROWS_AS_RECORDED
    if not fingerprint.tables:
        if stand := tables_there():
            why = f"none of the {len(stand)} tables was recorded: there is nothing to compare"
            return Check(name, Outcome.COULD_NOT_RUN, why)
        return Check(name, Outcome.NOT_APPLICABLE, "the source had no tables")
    found: list[Difference] = []
    counted = rows = sampled = 0
    for table in fingerprint.tables:
        seen = look.look_up(table, fingerprint.restore_point)
        if seen is None:
            found.append(Difference(table.table, "the table is missing"))
            continue
        found += differences(table, seen.rows, seen.digests, seen.row_versions)
        counted += table.rows is not None
        rows += table.rows or 0
        sampled += len(table.sample)
    if found:
        return Check(name, Outcome.FAILED, some(f"{each.table}: {each.seen}" for each in found))
    tables = len(fingerprint.tables)
    if not counted and not sampled:
        why = f"all {tables} tables changed while they were recorded: there is nothing to compare"
        return Check(name, Outcome.COULD_NOT_RUN, why)
    return Check(
        name,
        Outcome.PASSED,
        f"{tables} tables, {rows} rows in the {counted} whose count is recorded, {sampled} sampled "
        "rows equal",
    )


def _schema_version(look: Inspection, manifest: Manifest) -> Check:
    name, recorded = "schema_version", manifest.source.schema_version
    found = look.schema_version()
    if found == recorded:
        outcome = Outcome.NOT_APPLICABLE if recorded is None else Outcome.PASSED
        return Check(name, outcome, f"{found or 'no table alembic_version'}")
    seen = f"{found}, expected {recorded}"
    # The version is read before the base backup, the fingerprint after it: a migration may have
    # run between the two, and the fingerprint then vouches for the newer version.
    for table in manifest.fingerprint.tables:
        if table.table.endswith(".alembic_version") and table.rows and table.sample:
            now = look.look_up(table, manifest.fingerprint.restore_point)
            if now and not differences(table, now.rows, now.digests, now.row_versions):
                return Check(name, Outcome.PASSED, f"{seen}: migrated while the backup ran")
    return Check(name, Outcome.FAILED, seen)


def _extensions(look: Inspection, manifest: Manifest) -> Check:
    name, recorded = "extensions", manifest.source.extensions
    found, host = look.extensions(), look.extensions_of_host()
    lost = [f"{each} is missing" for each in sorted(recorded.keys() - found.keys())]
    if lost:
        return Check(name, Outcome.FAILED, some(lost))
    blind = []
    for each, version in sorted(found.items()):
        if each not in host:
            blind.append(f"{each} {version} is not installed on this host")
        elif older(host[each], version):
            blind.append(f"this host has {each} {host[each]}, the cluster needs {version}")
    if blind:
        return Check(name, Outcome.COULD_NOT_RUN, some(blind))
    changed = [
        f"{each} {found[each]}, expected {version}"
        for each, version in sorted(recorded.items())
        if found[each] != version
    ]
    if changed:
        return Check(name, Outcome.FAILED, some(changed))
    return Check(name, Outcome.PASSED, ", ".join(f"{e} {v}" for e, v in sorted(found.items())))


def _loaded_extensions(look: Inspection, manifest: Manifest) -> Check:
    """As pg_dump writes them down, extensions have no version: each server creates its own. With
    one older than the source's, what fails later would be this host's fault.
    """
    name, recorded = "extensions", manifest.source.extensions
    found = look.extensions()
    lost = [f"{each} is missing" for each in sorted(recorded.keys() - found.keys())]
    if lost:
        return Check(name, Outcome.FAILED, some(lost))
    aged = [
        f"{each} {found[each]}, at the source {version}"
        for each, version in sorted(recorded.items())
        if older(found[each], version)
    ]
    if aged:
        return Check(name, Outcome.COULD_NOT_RUN, some(aged))
    seen = (
        f"{each} {found[each]}" + (f" (at the source {version})" if found[each] != version else "")
        for each, version in sorted(recorded.items())
    )
    return Check(name, Outcome.PASSED, ", ".join(seen))


def _valid_indexes(look: Inspection, manifest: Manifest) -> Check:
    name, known = "indexes_valid", set(manifest.source.invalid_indexes)
    invalid = look.invalid_indexes()
    new = [each for each in invalid if each not in known]
    if new:
        return Check(name, Outcome.FAILED, f"not valid: {some(new)}")
    seen = f"invalid at the source already: {some(invalid)}" if invalid else "all are valid"
    return Check(name, Outcome.PASSED, seen)


def _dimensions(look: Inspection, manifest: Manifest) -> Check:
    name, wrong = "vector_dimensions", []
    if not manifest.source.vectors:
        return Check(name, Outcome.NOT_APPLICABLE, "the source had no vector index")
    for each in manifest.source.vectors:
        found = look.vector_dimensions(each)
        if found is None:
            wrong.append(f"{each.index} on {each.table}.{each.column} is missing or not valid")
        elif found != each.dimensions:
            wrong.append(f"{each.table}.{each.column} has {found}, expected {each.dimensions}")
    if wrong:
        return Check(name, Outcome.FAILED, some(wrong))
    seen = (f"{each.table}.{each.column} {each.dimensions}" for each in manifest.source.vectors)
    return Check(name, Outcome.PASSED, ", ".join(seen))


def _recall(look: Inspection, manifest: Manifest) -> Check:
    name = "vector_recall"
    if not manifest.source.vectors:
        return Check(name, Outcome.NOT_APPLICABLE, "the source had no vector index")
    tolerance = REBUILT_RECALL_TOLERANCE if manifest.is_dump else RECALL_TOLERANCE
    measured, low, gone = [], [], []
    for baseline in manifest.source.vectors:
        found = look.measure_recall(baseline)
        if found is None:
            # It stood at the restore point, as vector_dimensions says: WAL dropped it since.
            gone.append(f"{baseline.index} was dropped after the backup")
        elif found.queries == 0 and baseline.queries:
            gone.append(f"{baseline.table} was emptied after the backup")
        elif found.recall_at_10 < baseline.recall_at_10 - tolerance:
            low.append(_recall_words(baseline, found))
        else:
            measured.append(_recall_words(baseline, found))
    if low:
        return Check(name, Outcome.FAILED, some(low))
    if not measured:
        return Check(name, Outcome.NOT_APPLICABLE, some(gone))
    return Check(name, Outcome.PASSED, "; ".join((*measured, *gone)))


def _recall_words(baseline: VectorBaseline, found: VectorBaseline) -> str:
    return (
        f"{baseline.index}: recall@10 {found.recall_at_10:.3f} over {found.queries} queries, "
        f"at the source {baseline.recall_at_10:.3f}"
    )


def _examined(name: str, found: Examined, *, needed: bool = False) -> Check:
    """``needed``: whether it must be looked at also on a host that lacks what it takes."""
    if found.damage:
        return Check(name, Outcome.FAILED, some(found.damage))
    if found.lacking:
        seen = f"not installed on this host: {', '.join(found.lacking)}"
        return Check(name, Outcome.COULD_NOT_RUN, seen, needed=needed)
    if found.unseen or not found.objects:
        # A cluster without a single catalog table is none: nothing was looked at.
        return Check(name, Outcome.COULD_NOT_RUN, some(found.unseen) or "nothing was found")
    return Check(name, Outcome.PASSED, f"{found.objects} looked at")


def some(lines: Iterable[str]) -> str:
    """The first few of them; the rest are counted."""
    every = list(lines)
    more = f"; and {len(every) - _LINES} more" if len(every) > _LINES else ""
    return "; ".join(every[:_LINES]) + more
