"""Two installations that share one repository: neither loses its backups to the other.

A cluster that was upgraded takes the place of the one before, and its backups that of older ones.
Of two clusters that both live, no backup is ever worth one of the other's: each is planned by
itself, and people are told.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import combinations, pairwise

from kb_dr.domain.backup_families import PHYSICAL, Family
from kb_dr.domain.plan_retention import plan_fingerprint, plan_retention
from kb_dr.domain.retention import Candidate, ExpiredBackup, RetentionPlan
from kb_dr.domain.retention_policy import RetentionPolicy

_TURNS = 4
"""A, B, A, B. An upgrade is A, B; one that was taken back A, B, A; the next one makes a C."""


def clusters_apart(backups: Iterable[Candidate]) -> tuple[int, ...]:
    """The system identifiers of clusters that take turns with another, in order; mostly none."""
    turns: list[int] = []
    for each in sorted(backups, key=lambda one: (one.started, one.id)):
        if not turns or turns[-1] != each.system_identifier:
            turns.append(each.system_identifier)
    found: set[int] = set()
    for pair in combinations(sorted(set(turns)), 2):
        both = [system for system in turns if system in pair]
        taken = 1 + sum(one != other for one, other in pairwise(both))
        if taken >= _TURNS:
            found.update(pair)
    return tuple(sorted(found))


def plan_each_apart(
    candidates: Sequence[Candidate],
    policy: RetentionPolicy,
    now: datetime,
    *,
    copy: str,
    url: str,
    newest_stored: datetime | None = None,
    expired: Sequence[ExpiredBackup] = (),
    unreadable: Mapping[str, str] | None = None,
    stops: Sequence[str] = (),
    kinds: Family = PHYSICAL,
    known_apart: Iterable[int] = (),
) -> RetentionPlan:
    """As plan_retention(), of each cluster by itself that takes turns with another, and of those
    that are ``known_apart``.
    """
    apart = tuple(sorted({*clusters_apart(candidates), *known_apart}))
    here, gone = (
        defaultdict[int, list[Candidate]](list),
        defaultdict[int, list[ExpiredBackup]](list),
    )
    for each in candidates:
        here[_part(each, apart)].append(each)
    for old in expired:
        gone[_part(old.backup, apart)].append(old)

    def plan(part: int, why: Sequence[str]) -> RetentionPlan:
        return plan_retention(
            here[part],
            policy,
            now,
            copy=copy,
            url=url,
            newest_stored=newest_stored,
            expired=gone[part],
            unreadable=unreadable if part == _REST else None,
            stops=why,
            kinds=kinds,
        )

    plans = [plan(part, stops) for part in (_REST, *apart)]
    if not apart:
        return plans[0]
    stopped = next((each for each in plans if each.stopped), None)
    if stopped is not None:
        note = stopped.notes[0].removeprefix("nothing goes: ")
        plans = [plan(part, (*stops, note)) for part in (_REST, *apart)]
    return _together(plans, apart)


_REST = -1


def _part(backup: Candidate, apart: Sequence[int]) -> int:
    return backup.system_identifier if backup.system_identifier in apart else _REST


def _together(plans: Sequence[RetentionPlan], apart: Sequence[int]) -> RetentionPlan:
    decisions = [each for plan in plans for each in plan.decisions]
    notes = dict.fromkeys(each for plan in plans for each in plan.notes)
    told = (
        f"clusters {' and '.join(map(str, apart))} take turns in this repository, so each is "
        "planned by itself: give each installation a repository of its own"
    )
    whole = replace(
        plans[0],
        decisions=tuple(sorted(decisions, key=lambda each: (each.started, each.id))),
        purge_now=tuple(each for plan in plans for each in plan.purge_now),
        notes=(told, *notes),
        prove_next=tuple(each for plan in plans for each in plan.prove_next),
        stopped=any(plan.stopped for plan in plans),
    )
    return replace(whole, fingerprint=plan_fingerprint(whole))
