"""Retention of every family of backups, each planned as if it were alone.

The same policy holds for all of them, with tiers of their own: a dump never takes the place of a
base backup in a day or a month, nor the reverse, and no proof of the one lets any of the other go.
WAL is planned by the base backups alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from kb_dr.domain.backup_families import DUMPS, PHYSICAL, Family, family_of
from kb_dr.domain.clusters_apart import clusters_apart, plan_each_apart
from kb_dr.domain.plan_retention import plan_fingerprint
from kb_dr.domain.retention import Candidate, ExpiredBackup, RetentionPlan
from kb_dr.domain.retention_policy import RetentionPolicy

NOTHING = "nothing goes: "
"""How a plan begins to say why."""

_NO_BASE, _NO_DUMP = "no base backup and no WAL goes: ", "no dump goes: "


def plan_families(
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
    stops_of: Mapping[Family, Sequence[str]] | None = None,
) -> RetentionPlan:
    """As plan_each_apart(), of base backups and of dumps apart, as one plan.

    ``stops`` and what cannot be read hold all of it; ``stops_of`` the family it is said of.
    """
    said = stops_of or {}
    apart = clusters_apart([each for each in candidates if family_of(each.kind) is not DUMPS])

    def plan(family: Family, belongs: Callable[[Candidate], bool]) -> RetentionPlan:
        why = [*stops, *said.get(family, ())]
        if family is DUMPS:
            # Its decision is in the other plan.
            why += [f"{name} cannot be read: {text}" for name, text in (unreadable or {}).items()]
        return plan_each_apart(
            [each for each in candidates if belongs(each)],
            policy,
            now,
            copy=copy,
            url=url,
            newest_stored=newest_stored,
            expired=[each for each in expired if belongs(each.backup)],
            unreadable=unreadable if family is PHYSICAL else None,
            stops=why,
            kinds=family,
            # Weekly dumps alone would take weeks to show it.
            known_apart=apart if family is DUMPS else (),
        )

    base = plan(PHYSICAL, lambda each: family_of(each.kind) is not DUMPS)
    if not any(each.kind in DUMPS for each in (*candidates, *(one.backup for one in expired))):
        return base
    return _together(base, plan(DUMPS, lambda each: family_of(each.kind) is DUMPS))


def _together(base: RetentionPlan, dumps: RetentionPlan) -> RetentionPlan:
    decisions = (*base.decisions, *dumps.decisions)
    whole = replace(
        base,
        decisions=tuple(sorted(decisions, key=lambda each: (each.started, each.id))),
        purge_now=(*base.purge_now, *dumps.purge_now),
        notes=tuple(
            dict.fromkeys((*_notes(base, dumps, _NO_BASE), *_notes(dumps, base, _NO_DUMP)))
        ),
        prove_next=(*base.prove_next, *dumps.prove_next),
    )
    return replace(whole, fingerprint=plan_fingerprint(whole))


def _notes(of: RetentionPlan, other: RetentionPlan, apart: str) -> list[str]:
    """What stops both is said of all; what stops one, of that one."""
    return [
        apart + each.removeprefix(NOTHING)
        if each.startswith(NOTHING) and each not in other.notes
        else each
        for each in of.notes
    ]
