"""Compare a database that was loaded with what was recorded when it was dumped."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from kb_dr.domain.fingerprint import TableFingerprint, differences
from kb_dr.domain.manifest import Source
from kb_dr.domain.wording import first_few
from kb_dr.errors import LoadFailed
from kb_dr.operations.check_restored import REBUILT_RECALL_TOLERANCE
from kb_dr.ports import Inspection


def check_rows(
    look: Inspection, tables: Iterable[TableFingerprint], seed: str, *, made: str, named: str
) -> str:
    """Hold every recorded table against what is there now; what was compared, for people.

    Counts and sampled rows must be exactly those recorded. Raises LoadFailed.
    """
    wrong: list[str] = []
    count = rows = sampled = uncounted = 0
    for recorded in tables:
        # Loading makes new row versions: only their number and what they hold can be the same.
        table = replace(recorded, row_versions=None)
        seen = look.look_up(table, seed)
        if seen is None:
            wrong.append(f"{table.table}: the table is missing")
            continue
        wrong += (f"{d.table}: {d.seen}" for d in differences(table, seen.rows, seen.digests))
        count += 1
        uncounted += table.rows is None
        rows += seen.rows
        sampled += len(table.sample)
    if wrong:
        raise LoadFailed(f"compare {made} with {named}: {'; '.join(first_few(wrong))}")
    if count == uncounted and not sampled:
        return "no rows are recorded of what was restored: nothing was compared"
    exact = f"{count} tables, {rows} rows" + (f", {sampled} sampled rows" if sampled else "")
    rest = f"; of {uncounted} no count is recorded" if uncounted else ""
    return f"{exact}: exactly as recorded{rest}"


def check_structure(look: Inspection, source: Source, *, whole: bool, made: str) -> tuple[str, ...]:
    """Extensions, indexes and vector search; notes. Raises LoadFailed."""
    return tuple(_structure(look, source, whole=whole, made=made))


def _structure(look: Inspection, source: Source, *, whole: bool, made: str) -> Iterator[str]:
    if whole:
        there = look.extensions()
        lost = sorted(set(source.extensions) - set(there))
        if lost:
            raise LoadFailed(f"compare {made}: extensions missing: {', '.join(lost)}")
        for name, version in sorted(source.extensions.items()):
            if there[name] != version:
                yield f"extension {name} is {there[name]} here, {version} when it was dumped"
    known = set(source.invalid_indexes)
    invalid = [each for each in look.invalid_indexes() if each not in known]
    if invalid:
        raise LoadFailed(f"compare {made}: indexes not valid: {', '.join(first_few(invalid))}")
    for baseline in source.vectors:
        found = look.measure_recall(baseline)
        if found is None:
            if whole:
                raise LoadFailed(f"compare {made}: vector index {baseline.index} is missing")
            continue
        if found.recall_at_10 < baseline.recall_at_10 - REBUILT_RECALL_TOLERANCE:
            raise LoadFailed(
                f"compare {made}: {baseline.index} answers with recall@10 "
                f"{found.recall_at_10:.3f}, expected {baseline.recall_at_10:.3f}"
            )
        yield f"vector search works: {baseline.index}, recall@10 {found.recall_at_10:.3f}"
