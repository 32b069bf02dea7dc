"""Lifecycle rules: what a bucket removes by itself, when nobody else does.

A second line behind `kb-dr retention apply`, never a shorter one. A store knows ages and prefixes;
it knows nothing of holds, proofs, parents or of which backup is the newest. So its rules leave far
more time than the policy, and what must never go by age has none.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kb_dr.domain.backup_families import FAMILIES
from kb_dr.domain.layout import backups_prefix, timeline_prefix
from kb_dr.domain.retention_policy import RetentionPolicy

MARGIN_DAYS = 90
"""So much longer than the policy: time for somebody to notice that backups, proofs or purges
have stopped, before the store removes what is then the newest there is."""

ABORT_DAYS = 7
"""Unfinished multipart uploads go after this; kb-dr makes none."""

_KINDS = tuple(kind for family in FAMILIES for kind in family)
_SEGMENTS = re.compile(r"wal/\d+/([0-9A-F]{8})/\1[0-9A-F].*")
"""A prefix that no history file begins with."""


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """One rule of a bucket, as far as it matters here."""

    id: str
    prefix: str
    """In the repository; empty for all of it."""
    expire_days: int | None = None
    """Age at which an object is removed or, in a bucket with versions, hidden. 0: at a date."""
    noncurrent_days: int | None = None
    """How long after it was hidden or overwritten a version is removed."""
    archive_days: int | None = None
    """Age at which an object goes where it cannot be read without asking for it hours before."""
    abort_days: int | None = None
    """Age at which an unfinished multipart upload is removed."""
    remove_markers: bool = False
    """Whether delete markers go that hide nothing any more."""
    made_here: bool = True
    """Whether kb-dr made it; others' are looked at, and left alone."""

    def __str__(self) -> str:
        does = [
            f"{what} after {days} days"
            for what, days in (
                ("expires", self.expire_days),
                ("hidden versions go", self.noncurrent_days),
                ("archived", self.archive_days),
                ("unfinished uploads go", self.abort_days),
            )
            if days is not None
        ]
        return ", ".join(does + ["empty delete markers go"] * self.remove_markers)


def needed_days(policy: RetentionPolicy) -> int:
    """The age up to which the policy may need an object: that of a backup kept longest.

    Its WAL and its parents are older than its end, and it can be brought back after it expired.
    """
    return (
        math.ceil(policy.longest.total_seconds() / 86400) + policy.wal_days + policy.undelete_days
    )


def lifecycle_rules(
    policy: RetentionPolicy, timelines: Iterable[tuple[int, int]]
) -> tuple[LifecycleRule, ...]:
    """The rules of a repository that has WAL of these (system identifier, timeline).

    Backups and WAL segments alone ever expire. Not so timeline histories, which any backup after
    a failover needs whatever its age, and not records: proofs, holds, tombstones, failures,
    drills, controls, reports, alerts and the marker.
    """
    needed = needed_days(policy)
    prefixes = [backups_prefix(kind) for kind in _KINDS]
    prefixes += [_segments_prefix(*each) for each in sorted(set(timelines))]
    return (
        LifecycleRule("debris", "", abort_days=ABORT_DAYS, remove_markers=True),
        *(
            LifecycleRule(prefix.rstrip("/"), prefix, needed + MARGIN_DAYS, needed)
            for prefix in prefixes
        ),
    )


def too_short(rules: Iterable[LifecycleRule], policy: RetentionPolicy) -> tuple[str, ...]:
    """What these rules of a bucket would remove too early, or put out of reach; one line each."""
    return tuple(line for rule in rules for line in _shortcomings(rule, policy))


def _shortcomings(rule: LifecycleRule, policy: RetentionPolicy) -> Iterator[str]:
    needed = needed_days(policy)
    may_age = any(rule.prefix.startswith(backups_prefix(kind)) for kind in _KINDS)
    may_age = may_age or _SEGMENTS.fullmatch(rule.prefix) is not None
    where = rule.prefix or "the whole repository"
    for days, does in (
        (rule.expire_days, "expires objects"),
        (rule.noncurrent_days, "removes hidden versions"),
    ):
        if days is None:
            continue
        if not may_age:
            yield f"rule {rule.id!r} {does} of {where}: records among them must never go by age"
        elif days < needed:
            yield f"rule {rule.id!r} {does} of {where} after {days} days, expected {needed} or more"
    if rule.archive_days is not None and rule.archive_days < needed:
        yield (
            f"rule {rule.id!r} archives {where} after {rule.archive_days} days: what is archived "
            "cannot be restored at once"
        )


def _segments_prefix(system_identifier: int, timeline: int) -> str:
    """What every segment of a timeline begins with, and its history file does not.

    A segment is named by timeline, log and number; the first digit of the log is 0 for the first
    exbibyte of WAL.
    """
    return f"{timeline_prefix(system_identifier, timeline)}{timeline:08X}0"
