"""Rules of a bucket are longer than the policy, and spare what must never go by age."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.lifecycle import (
    MARGIN_DAYS,
    LifecycleRule,
    lifecycle_rules,
    needed_days,
    too_short,
)
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Outcome
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.wal_names import Segment, history_name
from kb_dr.errors import LifecycleTooShort
from kb_dr.operations.lifecycle import (
    apply_lifecycle,
    judge_lifecycle,
    plan_lifecycle,
    stored_timelines,
)
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.made_bucket import MemoryBucket

POLICY = RetentionPolicy()
DIGEST = "0" * 64
BACKUP = BackupId.parse("kb-full-20261120-020000")
RECORDS = [
    layout.MARKER,
    layout.proof_key(BACKUP, "primary", "p"),
    layout.drill_key("d"),
    layout.control_key("c"),
    layout.failure_key(BACKUP, "a1"),
    layout.hold_key(BACKUP, "h"),
    layout.tombstone_key(BACKUP, "primary", "t"),
    layout.report_key("r"),
    layout.wal_key(7, history_name(2), DIGEST),
    layout.wal_key(7, history_name(0x1F), DIGEST),
]
"""Nothing of these ever goes by its age."""

policies = st.builds(
    RetentionPolicy,
    hourly_hours=st.integers(0, 9000),
    daily_days=st.integers(1, 4000),
    weekly_weeks=st.integers(0, 600),
    monthly_months=st.integers(0, 200),
    quarterly_years=st.integers(0, 20),
    wal_days=st.integers(0, 100),
    undelete_days=st.integers(0, 100),
)
timelines = st.sets(st.tuples(st.integers(1, 2**63), st.integers(1, 2**32 - 1)), max_size=4)


def days_of(rules: tuple[LifecycleRule, ...], key: str) -> list[int]:
    return [
        rule.expire_days
        for rule in rules
        if rule.expire_days is not None and key.startswith(rule.prefix)
    ]


@given(policies, timelines)
def test_no_rule_is_shorter_than_its_policy(
    policy: RetentionPolicy, found: set[tuple[int, int]]
) -> None:
    rules = lifecycle_rules(policy, found)

    assert too_short(rules, policy) == ()
    assert all(
        rule.expire_days is None or rule.expire_days >= needed_days(policy) + MARGIN_DAYS
        for rule in rules
    )
    assert needed_days(policy) >= policy.longest.days
    assert len({rule.id for rule in rules}) == len(rules)


def test_backups_and_segments_expire_and_nothing_else() -> None:
    rules = lifecycle_rules(POLICY, [(7, 2), (7, 0x1F)])
    longest = needed_days(POLICY) + MARGIN_DAYS

    for key in (
        layout.manifest_key(BACKUP),
        layout.chunk_key(BACKUP, "a1", 0),
        layout.manifest_key(BackupId.parse("kb-incr-20261120-030000")),
        layout.wal_key(7, Segment(2, 3, 1 << 24).name, DIGEST),
        layout.wal_key(7, Segment(0x1F, 2**30, 1 << 24).name, DIGEST),
        layout.partial_key(7, Segment(2, 3, 1 << 24).name, Lsn.parse("0/3000028")),
    ):
        assert days_of(rules, key) == [longest], key
    for key in RECORDS:
        assert days_of(rules, key) == [], key


@pytest.mark.parametrize(
    "prefix",
    ["", "wal/", "wal/7/", "wal/7/00000002/", "wal/7/00000002/00000002", "proofs/", "holds/",
     "tombstones/kb", "repository.json", "f", "wal/7/00000002/000000020.", "fullest/"],
)  # fmt: skip
def test_a_rule_that_reaches_what_never_goes_by_age_is_too_short(prefix: str) -> None:
    rule = LifecycleRule("theirs", prefix, expire_days=36500, made_here=False)

    if prefix == "wal/7/00000002/000000020.":
        assert too_short([rule], POLICY) == ()
    else:
        (line,) = too_short([rule], POLICY)
        assert "never go by age" in line


def test_a_rule_of_fewer_days_than_the_policy_is_too_short() -> None:
    needed = needed_days(POLICY)
    for rule, said in (
        (LifecycleRule("r", "full/", expire_days=needed - 1), f"after {needed - 1} days"),
        (LifecycleRule("r", "full/2026", expire_days=0), "after 0 days"),
        (LifecycleRule("r", "incr/", noncurrent_days=needed - 1), "removes hidden versions"),
        (LifecycleRule("r", "", noncurrent_days=9999), "never go by age"),
        (LifecycleRule("r", "", archive_days=30), "cannot be restored at once"),
    ):
        (line,) = too_short([rule], POLICY)
        assert said in line
    for rule in (
        LifecycleRule("r", "full/", expire_days=needed, noncurrent_days=needed),
        LifecycleRule("r", "", abort_days=1, remove_markers=True),
        LifecycleRule("r", "", archive_days=needed),
    ):
        assert too_short([rule], POLICY) == ()


def test_the_timelines_there_are_come_from_a_few_listings() -> None:
    repository = MemoryRepository()
    for system, timeline, number in ((7, 1, 3), (7, 1, 4), (7, 2, 4), (70, 1, 9)):
        name = Segment(timeline, number, 1 << 24).name
        repository.put(layout.wal_key(system, name, DIGEST), b"x")
    partial = layout.partial_key(70, Segment(3, 9, 1 << 24).name, Lsn.parse("0/9000028"))
    repository.put(partial, b"x")
    repository.put("wal/strange", b"x")

    assert sorted(stored_timelines(repository)) == [(7, 1), (7, 2), (70, 1), (70, 3)]


def test_rules_are_put_once_and_kept_up_with_the_policy() -> None:
    repository, bucket = MemoryRepository(), MemoryBucket()
    repository.put(layout.wal_key(7, Segment(1, 3, 1 << 24).name, DIGEST), b"x")
    theirs = LifecycleRule("logs", "", abort_days=1, made_here=False)
    bucket.rules = (theirs,)

    first = plan_lifecycle(repository, bucket, POLICY)
    assert first is not None
    assert first.changed == first.wanted
    done = apply_lifecycle(repository, bucket, POLICY)

    assert done is not None
    assert done.changed == ()
    assert bucket.rules == (theirs, *done.wanted)
    longer = replace(POLICY, quarterly_years=10)
    assert judge_lifecycle(bucket, longer, copy="primary").outcome is Outcome.FAILED
    apply_lifecycle(repository, bucket, longer)
    assert judge_lifecycle(bucket, longer, copy="primary").outcome is Outcome.PASSED


def test_nothing_is_put_beside_a_shorter_rule_of_somebody_else() -> None:
    theirs = LifecycleRule("logs", "", expire_days=30, made_here=False)
    bucket = MemoryBucket(rules=[theirs])

    with pytest.raises(LifecycleTooShort, match="'logs' expires objects of the whole repository"):
        apply_lifecycle(MemoryRepository(), bucket, POLICY)

    assert bucket.rules == (theirs,)


def test_a_store_without_rules_has_none_put() -> None:
    bucket = MemoryBucket(rules=None)

    assert apply_lifecycle(MemoryRepository(), bucket, POLICY) is None
    assert judge_lifecycle(bucket, POLICY, copy="primary").outcome is Outcome.NOT_APPLICABLE
    assert bucket.rules is None
