"""Proof: what one restore of one copy of one backup showed.

The rule of the house: a copy is proven when its newest conclusive proof, of this very manifest
digest, is PROVEN. Missing evidence is never green; ``could not run`` is neither green nor red.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kb_dr.domain.backup_families import DUMPS, family_of_id
from kb_dr.domain.lsn import Lsn

ROWS_AS_RECORDED = "rows_as_recorded"
"""The check that compares rows with the fingerprint; of a dump nothing is proven without it."""


class Verdict(StrEnum):
    """What a proof says of the copy it read."""

    PROVEN = "PROVEN"
    FAILED = "FAILED"
    """The copy is bad."""
    NOT_PROVEN = "NOT_PROVEN"
    """The proof could not run to its end: no binary, no extension, no space, no key."""


class Outcome(StrEnum):
    """What one check says."""

    PASSED = "passed"
    FAILED = "failed"
    COULD_NOT_RUN = "could_not_run"
    """Something it needs is not at hand; a needed check that could not run proves nothing."""
    NOT_APPLICABLE = "not_applicable"
    """There is nothing of this kind to check, as the manifest itself says."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at in the restored cluster."""

    name: str
    outcome: Outcome
    seen: str
    """Values, for people: what was found, against what was expected."""
    needed: bool = True
    """Whether a proof without it is none."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One part of the work, measured."""

    name: str
    seconds: float
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """Where replay stopped, against the end the plan expected of that copy."""

    expected_timeline: int
    expected_lsn: Lsn
    reached_timeline: int | None
    reached_lsn: Lsn | None
    """None: the proof cannot name where replay stopped, and so proves nothing."""
    newest_commit: datetime | None
    """Commit time of the last transaction replayed; None when there was none in the WAL."""
    asked: str = "latest"
    """The target, as people write it."""
    exact: bool = False
    """Whether replay had to stop at the expected end: one record more is as wrong as one less."""
    expected_commit: datetime | None = None
    """When the last transaction before the expected end ended, as read from WAL."""

    @property
    def complete(self) -> bool:
        """Whether replay came to the expected end, on the expected timeline."""
        if self.reached_lsn is None or self.reached_timeline != self.expected_timeline:
            return False
        if self.exact:
            return self.reached_lsn == self.expected_lsn
        return self.reached_lsn >= self.expected_lsn


@dataclass(frozen=True, slots=True)
class Proof:
    """The evidence one verification left, stored beside the backup and never rewritten."""

    schema_version: int
    id: str
    """Begins with the time it started, ``YYYYMMDD-HHMMSS-…``: ids sort by time."""
    backup_id: str
    manifest_digest: str | None
    """None when the manifest itself could not be read."""
    copy: str
    """Which repository was read: ``primary``, ``offsite``."""
    url: str
    started: datetime
    finished: datetime
    verdict: Verdict
    reason: str
    """One sentence: why this verdict."""
    checks: tuple[Check, ...]
    phases: tuple[Phase, ...]
    reach: Reach | None
    """None where replay did not end; and of a dump, of which nothing is replayed."""
    tools: dict[str, str]
    host: str
    chain: tuple[str, ...] = ()
    """The manifest digests of all that was put together, the full first, this backup's own last;
    empty for a full. It is this backup that is proven, and none of the others: each is restored
    with WAL of its own, which is not looked at here, and its rows are not compared.
    """

    @property
    def of_dump(self) -> bool:
        """Whether it is of a logical dump: it says nothing of WAL, windows and times of recovery
        to a point.
        """
        return is_dump(self.backup_id)

    @property
    def to_the_end(self) -> bool:
        """Whether all WAL of the copy was replayed, and not only what lies before some target.

        A dump needs none: whatever is said of one is said of all of it.
        """
        if self.reach is None:
            return self.of_dump
        return not self.reach.exact

    @property
    def rto_seconds(self) -> float:
        """How long the whole restore and its checks took."""
        return (self.finished - self.started).total_seconds()


def is_dump(backup_id: str) -> bool:
    """Whether this is the id of a logical dump; what is no id is none."""
    return family_of_id(backup_id) is DUMPS


def judge(checks: Iterable[Check], reach: Reach | None) -> tuple[Verdict, str]:
    """The verdict that the evidence of a finished run allows.

    A red check outweighs everything. Without reach, without a single passed check, or with a
    needed check that could not run, nothing is proven.
    """
    seen = tuple(checks)
    red = [check for check in seen if check.outcome is Outcome.FAILED]
    if red:
        return Verdict.FAILED, f"{red[0].name}: {red[0].seen}"
    if reach is None or reach.reached_lsn is None or reach.reached_timeline is None:
        return Verdict.NOT_PROVEN, "nobody can name where replay stopped"
    if not reach.complete:
        # PostgreSQL came to the target by its own reckoning, and the plan reckoned otherwise: that
        # says nothing of the backup. (Where WAL ends too early it does not open at all.)
        return (
            Verdict.NOT_PROVEN if reach.exact else Verdict.FAILED,
            f"replay stopped at {reach.reached_lsn} on timeline {reach.reached_timeline}, "
            f"expected {reach.expected_lsn} on timeline {reach.expected_timeline}",
        )
    if blind := _blind(seen):
        return Verdict.NOT_PROVEN, blind
    if not any(check.outcome is Outcome.PASSED for check in seen):
        return Verdict.NOT_PROVEN, "nothing was looked at"
    return Verdict.PROVEN, f"replayed to {reach.reached_lsn}, every check passed"


def judge_dump(checks: Iterable[Check], *, tables: int) -> tuple[Verdict, str]:
    """The verdict on a dump that was loaded to its end; ``tables`` is how many its fingerprint
    names.

    The exact comparison is what there is of evidence: without its green nothing is proven. Only
    where the source had no table at all there is nothing to compare, and that none came into being
    has to have been seen.
    """
    seen = tuple(checks)
    red = [check for check in seen if check.outcome is Outcome.FAILED]
    if red:
        return Verdict.FAILED, f"{red[0].name}: {red[0].seen}"
    if blind := _blind(seen):
        return Verdict.NOT_PROVEN, blind
    compared = [check for check in seen if check.name == ROWS_AS_RECORDED]
    wanted = Outcome.PASSED if tables else Outcome.NOT_APPLICABLE
    if not compared or any(check.outcome is not wanted for check in compared):
        return Verdict.NOT_PROVEN, "rows were not compared with those of the snapshot"
    if not any(check.outcome is Outcome.PASSED for check in seen):
        return Verdict.NOT_PROVEN, "nothing was looked at"
    if not tables:
        return Verdict.PROVEN, "loaded, empty as the source was, every check passed"
    return Verdict.PROVEN, "loaded, equal to the snapshot, every check passed"


def _blind(checks: Iterable[Check]) -> str:
    """The first needed check that could not run, in words; empty when there is none."""
    return next(
        (
            f"{check.name} could not run: {check.seen}"
            for check in checks
            if check.needed and check.outcome is Outcome.COULD_NOT_RUN
        ),
        "",
    )


class Standing(StrEnum):
    """What is known of one copy of one backup."""

    PROVEN = "proven"
    FAILED = "failed"
    UNPROVEN = "unproven"
    """Nobody has tried, or every try could not run."""
    VOID = "void"
    """Proven by a verifier that does not see damage: not proven, whatever its proof says."""


@dataclass(frozen=True, slots=True)
class Void:
    """Up to when greens say nothing, because a verifier was blind to damage."""

    through: datetime
    """What was begun by then, on whatever host, is void."""
    hosts: Mapping[str, datetime] = field(default_factory=dict)
    """Hosts whose greens are void for longer, and through when."""

    def covers(self, host: str, started: datetime) -> bool:
        """Whether what a host began at this moment is void.

        The begin counts, not the end: what judged it may have been loaded before the mending.
        """
        return started <= max(self.through, self.hosts.get(host, self.through))


def is_void(proof: Proof, void_through: Void | None) -> bool:
    """Whether a proof says nothing because of who made it; FAILED stays FAILED."""
    return (
        proof.verdict is Verdict.PROVEN
        and void_through is not None
        and void_through.covers(proof.host, proof.started)
    )


def standing(
    proofs: Iterable[Proof],
    *,
    digest: str,
    copy: str,
    url: str,
    void_through: Void | None,
) -> tuple[Standing, Proof | None]:
    """Where a copy stands, and the proof that says so.

    Only proofs of this digest read from this copy count. A FAILED proof without a digest (the
    manifest was unreadable) counts as well: it speaks of whatever stands there.

    A green that stopped at a target, as a drill's does, says nothing of the WAL behind it.

    ``url`` is the place that bears the name ``copy`` now. A green read from another place (a
    bucket since replaced, or copies that changed places after a disaster) says nothing of it.

    ``void_through`` is that of kb_dr.domain.control. A void green refutes no older red: the copy
    is FAILED as before it.
    """
    conclusive = [
        proof
        for proof in proofs
        if proof.copy == copy
        and proof.verdict is not Verdict.NOT_PROVEN
        and (proof.verdict is Verdict.FAILED or (proof.url == url and proof.to_the_end))
        and (proof.manifest_digest == digest or proof.manifest_digest is None)
    ]
    if not conclusive:
        return Standing.UNPROVEN, None
    counting = [proof for proof in conclusive if not is_void(proof, void_through)]
    if not counting:
        return Standing.VOID, max(conclusive, key=lambda proof: (proof.finished, proof.id))
    # Of two that ended at once the red one is believed.
    newest = max(
        counting, key=lambda proof: (proof.finished, proof.verdict is Verdict.FAILED, proof.id)
    )
    verdict = Standing.PROVEN if newest.verdict is Verdict.PROVEN else Standing.FAILED
    return verdict, newest


def failed_parent(
    own: tuple[Standing, Proof | None], parents: Iterable[tuple[Standing, Proof | None]]
) -> Proof | None:
    """The red proof of one of its parents that speaks against an increment, too; else None.

    Each is what standing() says. What made the parent's proof fail may be files, which the
    increment is put together from, or WAL, which it does not need: one proven since is good.
    """
    known, proof = own
    green_since = proof.finished if known is Standing.PROVEN and proof is not None else None
    for state, red in parents:
        late = red is not None and (green_since is None or red.finished >= green_since)
        if state is Standing.FAILED and late:
            return red
    return None


def why_parent_failed(
    own: tuple[Standing, Proof | None], parents: Iterable[tuple[Standing, Proof | None]]
) -> str:
    """What failed_parent() says, for people; empty when nothing speaks against the increment."""
    red = failed_parent(own, parents)
    return f"proof {red.id} of its parent {red.backup_id} FAILED: {red.reason}" if red else ""
