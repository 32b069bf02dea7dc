"""Lifecycle rules of a bucket: worked out of the policy, compared, and put there."""

from dataclasses import dataclass

from kb_dr.domain.finding import Finding
from kb_dr.domain.layout import partial_of, timeline_prefix, wal_file_of
from kb_dr.domain.lifecycle import LifecycleRule, lifecycle_rules, too_short
from kb_dr.domain.proof import Outcome
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.wal_names import timeline_of
from kb_dr.errors import LifecycleTooShort
from kb_dr.ports import Bucket, Repository


@dataclass(frozen=True, slots=True)
class LifecyclePlan:
    """The rules one copy should have, and those it has."""

    copy: str
    wanted: tuple[LifecycleRule, ...]
    standing: tuple[LifecycleRule, ...]
    problems: tuple[str, ...]
    """What the standing rules would remove too early; one line each."""

    @property
    def others(self) -> tuple[LifecycleRule, ...]:
        """Rules somebody else made, which are left as they are."""
        return tuple(rule for rule in self.standing if not rule.made_here)

    @property
    def changed(self) -> tuple[LifecycleRule, ...]:
        """What is wanted and does not stand."""
        return tuple(rule for rule in self.wanted if rule not in self.standing)


def plan_lifecycle(
    repository: Repository, bucket: Bucket, policy: RetentionPolicy
) -> LifecyclePlan | None:
    """None where the store has no lifecycle rules. Changes nothing."""
    standing = bucket.lifecycle()
    if standing is None:
        return None
    wanted = lifecycle_rules(policy, stored_timelines(repository))
    return LifecyclePlan(repository.name, wanted, standing, too_short(standing, policy))


def apply_lifecycle(
    repository: Repository, bucket: Bucket, policy: RetentionPolicy
) -> LifecyclePlan | None:
    """Put the rules of the policy into the bucket; return what stands there then.

    Raises LifecycleTooShort, and changes nothing, while a rule of somebody else's would remove
    what the policy keeps: one line more or less of ours would not help against it.
    """
    plan = plan_lifecycle(repository, bucket, policy)
    if plan is None:
        return None
    refused = too_short((*plan.others, *plan.wanted), policy)
    if refused:
        raise LifecycleTooShort(f"set lifecycle rules of {repository.name}: {refused[0]}")
    if plan.changed or len(plan.standing) != len(plan.others) + len(plan.wanted):
        bucket.set_lifecycle(plan.wanted)
    return plan_lifecycle(repository, bucket, policy)


def judge_lifecycle(bucket: Bucket, policy: RetentionPolicy, *, copy: str) -> Finding:
    """Whether the bucket removes nothing by itself that the policy keeps."""
    subject = f"lifecycle of {copy}"
    standing = bucket.lifecycle()
    if standing is None:
        return Finding(subject, Outcome.NOT_APPLICABLE, "the store has no lifecycle rules")
    problems = too_short(standing, policy)
    if problems:
        more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
        return Finding(
            subject,
            Outcome.FAILED,
            problems[0] + more,
            "The store removes what is kept: mend the rule now; `kb-dr retention lifecycle`.",
        )
    ours = sum(rule.made_here for rule in standing)
    seen = f"{len(standing)} rules, {ours} of kb-dr; none is shorter than the policy"
    if any(rule.expire_days is not None for rule in standing):
        seen += "; they know nothing of holds"
    return Finding(subject, Outcome.PASSED, seen)


def stored_timelines(repository: Repository) -> tuple[tuple[int, int], ...]:
    """System identifier and number of every timeline that WAL is stored of; a few listings."""
    found: list[tuple[int, int]] = []
    after = ""
    while (listed := next(iter(repository.list("wal/", start_after=after)), None)) is not None:
        parts = wal_file_of(listed.key) or partial_of(listed.key)
        after = listed.key
        if parts is not None:
            found.append((parts[0], timeline_of(parts[1])))
            # "0" is the byte after "/": all that is under this timeline is passed over.
            after = timeline_prefix(*found[-1]).rstrip("/") + "0"
    return tuple(found)
