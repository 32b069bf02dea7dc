"""Results of checks as notices: those of a run, and what is red now."""

from collections.abc import Iterator

import dagster as dg

from kb_dr.defs import ledger
from kb_dr.defs.alerting.conditions import Condition
from kb_dr.defs.check_results import UNKNOWN_SINCE
from kb_dr.defs.evaluations import Evaluated, newest_of, newest_of_each
from kb_dr.domain.alert_kinds import CHECKS
from kb_dr.domain.notice import Notice, State

_MOST_NUMBERS = 8
"""Of a check's numbers in an alert; the page has all of them."""


def check_key(check: dg.AssetCheckKey, partition: str | None) -> str:
    """The condition a check speaks of."""
    name = f"check/{'/'.join(check.asset_key.path)}/{check.name}"
    return f"{name}/{partition}" if partition else name


def check_notice(found: Evaluated, *facts: tuple[str, str]) -> Notice:
    """One result. The same result has the same id, whoever reads it, and however often."""
    key = check_key(found.check, found.partition)
    hint = found.texts.get("hint", "")
    kind = CHECKS[found.check.name]
    numbers = sorted(found.numbers.items())[:_MOST_NUMBERS]
    return Notice(
        id=f"check/{found.run_id}/{key.removeprefix('check/')}",
        key=key,
        kind=kind.name,
        state=State.MENDED if found.passed else State.BROKEN,
        severity=found.severity,
        at=found.at,
        seen=found.seen or ("true again" if found.passed else kind.broken),
        do="" if found.passed or hint == kind.first_move else hint,
        subjects=() if found.passed else found.subjects,
        run_id=found.run_id,
        unsure=not found.passed and UNKNOWN_SINCE in found.texts,
        facts=(
            *((("backup", found.partition),) if found.partition else ()),
            *((name, f"{value:g}") for name, value in numbers),
            *facts,
        ),
    )


def look_at_checks(instance: dg.DagsterInstance, repository: dg.RepositoryDefinition) -> Iterator[
    Condition
]:  # fmt: skip
    """What each check says now, whoever came to it: also what no run of a job reported.

    A check without partitions is what it last said. One of a partition is what the page shows: of
    a backup whose evidence is gone, or that was purged, nothing is said any more.
    """
    graph = repository.asset_graph
    known = [key for key in graph.asset_check_keys if key.name in CHECKS]
    plain = [key for key in known if graph.get(key).partitions_def is None]
    said = {found.check: found for found in newest_of_each(instance, plain)}
    for check in plain:
        # One whose results were wiped is not well for that: what was told stands until it speaks.
        key, last = check_key(check, None), said.get(check)
        yield Condition(key, check_notice(last) if last else None, unsettled=last is None)
    busy = ledger.partitions_under_way(instance)
    for check in known:
        if check in plain:
            continue
        for partition, green in ledger.lights(instance, check).items():
            key = check_key(check, partition)
            # That it is being looked at again mends nothing yet.
            if partition in busy or green is None:
                yield Condition(key, None, unsettled=True)
            elif green:
                yield Condition(key, None)
            elif (last := newest_of(instance, check, partition)) is not None:
                yield Condition(key, check_notice(last))
