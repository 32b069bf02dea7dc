"""Decide what one copy keeps, and say why (K1-K3, F2). Nothing is read and nothing is done here.

Time alone orders backups: a cluster that was upgraded begins again at timeline 1 under another
system identifier, and its backups are the newest all the same.

In each period of each tier the first good full backup at or after the anchor represents it, where
there is no full one the first good incremental. A tier sheds what its period is too old for only
once a newer backup that represents a period of this tier is proven: by a restore of its own, or by
that of the newest proven backup, if it is built upon it. What represents nothing goes once
anything newer is proven.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_chains import BackupChains
from kb_dr.domain.backup_families import PHYSICAL, Family
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.encrypted_anew import encrypted_anew
from kb_dr.domain.hold import holds_in_force
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate, Decision, ExpiredBackup, RetentionPlan, WalRange
from kb_dr.domain.retention_periods import period_name, span_name
from kb_dr.domain.retention_policy import RetentionPolicy, Tier
from kb_dr.domain.serve_tiers import Tiers
from kb_dr.domain.wording import moment

CLOCK_GRACE = timedelta(days=1)
"""How far our clock is believed ahead of the newest thing in the store."""
YOUNG = timedelta(days=1)
"""Nothing younger goes: an incremental backup that has just begun may be built upon it."""


def plan_retention(
    candidates: Iterable[Candidate],
    policy: RetentionPolicy,
    now: datetime,
    *,
    copy: str,
    url: str,
    newest_stored: datetime | None = None,
    expired: Iterable[ExpiredBackup] = (),
    unreadable: Mapping[str, str] | None = None,
    stops: Sequence[str] = (),
    kinds: Family = PHYSICAL,
) -> RetentionPlan:
    """What goes from a copy, and why each backup stays or goes; its WAL is planned after it.

    ``newest_stored`` is the newest modification the store itself names: a clock far ahead of it is
    not believed. ``unreadable`` names backups whose manifest could not be read, by id or by the
    manifest's key, and why; ``stops`` are sentences that say why nothing at all may go: a record
    that could not be read, a listing that broke off, and what ``proofs_that_stop`` finds.
    ``kinds`` are those planned here, one family of them: what is of another kind is kept.
    """
    at = now if newest_stored is None else min(now, newest_stored + CLOCK_GRACE)
    found = sorted(candidates, key=_order)
    here = _Copy(found, policy, at, kinds)
    why = [*stops]
    why += [f"{name} cannot be read: {problem}" for name, problem in (unreadable or {}).items()]
    if void := [each.id for each in found if each.standing is Standing.VOID]:
        why.append(
            f"the proof of {_some(void)} is void: the verifier did not see damage done on purpose"
        )
    decisions = here.decide(why[0] if why else None)
    decisions += [
        _unreadable(name, problem)
        for name, problem in (unreadable or {}).items()
        if name not in here.ids
    ]
    decisions.sort(key=lambda each: (each.started, each.id))
    purge, left = ([], []) if why else here.purge(expired)
    notes = [f"nothing goes: {each}" for each in why] + here.notes() + left
    if at < now:
        notes.append(
            f"ages are counted to {moment(at)}: our clock says {moment(now)}, but nothing was "
            f"stored here since {moment(newest_stored)}"
        )
    plan = RetentionPlan(
        copy=copy,
        url=url,
        at=at,
        decisions=tuple(decisions),
        purge_now=tuple(purge),
        notes=tuple(notes),
        prove_next=here.prove_next(),
        stopped=bool(why),
    )
    return replace(plan, fingerprint=plan_fingerprint(plan))


def with_wal(
    plan: RetentionPlan, ranges: Iterable[WalRange], notes: Iterable[str] = ()
) -> RetentionPlan:
    """The plan with the WAL that goes, and a fingerprint of all of it."""
    whole = replace(plan, wal=tuple(ranges), notes=(*plan.notes, *notes))
    return replace(whole, fingerprint=plan_fingerprint(whole))


def plan_fingerprint(plan: RetentionPlan) -> str:
    """SHA-256 over what goes from where. The moment, what stays and the reasons play no part."""
    lines = ["kb-dr retention 1", plan.copy, plan.url]
    lines += [f"expire {each.id} {each.digest}" for each in plan.expire]
    lines += [f"purge {each}" for each in plan.purge_now]
    lines += [
        f"wal {each.system_identifier} {each.timeline} {each.first} {each.last} "
        f"{each.files} {each.stored_bytes}"
        for each in plan.wal
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class _Copy:
    """The backups of one copy at one moment."""

    def __init__(
        self, found: Sequence[Candidate], policy: RetentionPolicy, at: datetime, kinds: Family
    ) -> None:
        self._found = found
        self._policy = policy
        self._at = at
        self._kinds = kinds
        self._named = Counter(each.id for each in found)
        self.ids = self._named.keys()
        self._chains = BackupChains(found)
        self._ours = [each for each in found if each.kind in kinds and not self._ahead(each)]
        self._anew = encrypted_anew(self._ours, self._chains)
        self._tiers = Tiers(self._ours, self._chains, policy, at, not_counting=self._anew)

    def decide(self, stop: str | None) -> list[Decision]:
        """Keep or expire, each with its reasons."""
        reasons = {each.id: self._reasons(each) for each in self._found}
        self._keep_newest(reasons)
        self._keep_encrypted_anew(reasons)
        self._keep_parents(reasons)
        decisions = []
        for each in self._found:
            serves, owed = self._tiers.living(each), self._tiers.owed(each)
            why = reasons[each.id]
            keep = bool(why) or stop is not None
            if not why:
                gone = self._why_it_goes(each)
                why = [f"nothing goes: {stop}", f"else it would: {gone}"] if stop else [gone]
            decisions.append(
                Decision(
                    id=each.id,
                    started=each.started,
                    digest=each.digest,
                    keep=keep,
                    tiers=tuple(serves),
                    reasons=tuple(why),
                    owed=tuple(owed),
                )
            )
        return decisions

    def purge(self, expired: Iterable[ExpiredBackup]) -> tuple[list[str], list[str]]:
        """The ids of what is purged now, and why others whose time is over are not."""
        undelete = timedelta(days=self._policy.undelete_days)
        gone = {each.backup.id: each for each in expired if each.backup.id not in self.ids}
        why: dict[str, str] = {}
        for each in gone.values():
            # Not at the very moment it expired, even where it cannot be brought back for long.
            if self._at <= each.at + undelete:
                why[each.backup.id] = ""
            elif said := self._why_not_purged(each.backup):
                why[each.backup.id] = said
        standing = [*self._found, *(gone[name].backup for name in why)]
        for each_standing in standing:
            below = each_standing
            while below.parent is not None and below.parent in gone and below.parent not in why:
                why[below.parent] = f"{below.id}, which still stands, is built upon it"
                below = gone[below.parent].backup
        ordered = sorted((each.backup for each in gone.values()), key=_order)
        return (
            [each.id for each in ordered if each.id not in why],
            [
                f"{each.id} expired and is not purged: {why[each.id]}"
                for each in ordered
                if why.get(each.id)
            ],
        )

    def prove_next(self) -> tuple[str, ...]:
        """The newest of each tier that holds on to something older, too old for it."""
        owed = {
            tier
            for each in self._ours
            for tier in self._tiers.owed(each)
            if self._tiers.newest_of(tier).started > each.started
        }
        wanted = [self._tiers.newest_of(tier) for tier in Tier if tier in owed]
        return tuple(dict.fromkeys(each.id for each in wanted))

    def notes(self) -> list[str]:
        """What people should know of backups that retention cannot make use of."""
        broken = [
            each.id
            for each in self._found
            if each.standing is not Standing.FAILED and not self._chains.whole(each)
        ]
        if not broken:
            return []
        return [
            f"{_some(broken)} cannot be restored: a backup it is built upon is missing, is another "
            "one, or failed its proof"
        ]

    def _reasons(self, each: Candidate) -> list[str]:
        """Why it stays, whatever becomes of others; empty when nothing speaks for it."""
        why = [
            f"held: {event.reason} ({event.host}, {moment(event.at)})"
            for event in holds_in_force(each.holds)
        ]
        if each.locked_until is not None and each.locked_until > self._at:
            why.append(f"locked until {moment(each.locked_until)}: the store refuses to delete it")
        if each.kind not in self._kinds:
            planned = " and ".join(self._kinds)
            return [*why, f"a backup of kind {each.kind}: only {planned} are planned here"]
        living = self._tiers.living(each).items()
        why += [period_name(tier, start) for tier, start in living]
        why += [
            f"older than {span_name(tier, self._policy)}, but nothing newer that serves the "
            f"{tier} tier is proven"
            for tier in self._tiers.owed(each)
            if not living
        ]
        if self._named[each.id] > 1:
            why.append(f"{self._named[each.id]} backups bear this id")
        if self._ahead(each):
            why.append(f"its times are ahead of {moment(self._at)}: a clock was wrong")
        elif not why and self._at - each.finished < YOUNG:
            why.append("less than 24 hours old")
        why += [
            f"{period_name(tier, start)} has nothing better, though no restore of this one can "
            "succeed as it is"
            for tier, start in self._tiers.spoilt(each).items()
        ]
        if not why and not self._is_superseded(each) and not self._tiers.replaced_by_any(each):
            why.append("nothing newer is proven")
        return why

    def _keep_newest(self, reasons: dict[str, list[str]]) -> None:
        good = [each for each in self._ours if self._chains.whole(each)]
        proven = [each for each in good if each.standing is Standing.PROVEN]
        for kept, why in (
            (proven, "the newest proven"),
            (self._ours, "the newest"),
            (good, "the newest with nothing against it"),
        ):
            if kept and not any(said.startswith("the newest") for said in reasons[kept[-1].id]):
                reasons[kept[-1].id].append(why)

    def _keep_encrypted_anew(self, reasons: dict[str, list[str]]) -> None:
        """What is to take the place of anything kept is kept with it."""
        for each in self._ours:
            counts = self._anew.get(each.id)
            if counts is not None and reasons[counts.id] and not self._is_superseded(each):
                reasons[each.id].append(
                    f"encrypted anew from {counts.id}, and takes its place once it is proven"
                )

    def _is_superseded(self, each: Candidate) -> bool:
        """Whether the same bytes are there, encrypted anew later on, and proven."""
        counts = self._anew.get(each.id)
        return (
            counts is not None
            and counts.standing is Standing.PROVEN
            and _order(counts) > _order(each)
        )

    def _keep_parents(self, reasons: dict[str, list[str]]) -> None:
        """What anything kept is built upon is kept with it, down to the full backup."""
        reached: set[str] = set()
        for each in self._found:
            if reasons[each.id]:
                for parent in self._chains.ancestors(each):
                    if parent.id in reached:
                        break
                    reached.add(parent.id)
        upon: dict[str, list[str]] = {}
        for each in reversed(self._found):
            if each.parent is not None and (reasons[each.id] or each.id in reached):
                upon.setdefault(each.parent, []).append(each.id)
        for name in reached:
            reasons[name].append(f"parent of {_some(upon[name])}, which is kept")

    def _why_it_goes(self, each: Candidate) -> str:
        if each.standing is Standing.FAILED:
            return f"its proof failed; newer and proven: {self._tiers.newest_proven_id}"
        if not self._chains.whole(each):
            return f"its chain is broken; newer and proven: {self._tiers.newest_proven_id}"
        if self._is_superseded(each):
            return f"encrypted anew as {self._anew[each.id].id}, which is proven"
        if each.id in self._anew:
            return f"the same bytes as {self._anew[each.id].id}, which goes as well"
        over = self._tiers.over(each)
        if not over:
            return (
                "represents no hour, day or longer period; newer and proven: "
                f"{self._tiers.newest_proven_id}"
            )
        (longest, start), *shorter = reversed(over.items())
        ages = [f"{period_name(longest, start)} is older than {span_name(longest, self._policy)}"]
        ages += [f"{tier} than {span_name(tier, self._policy)}" for tier, _ in shorter]
        proven = dict.fromkeys(self._tiers.shed_for(tier) for tier in reversed(over))
        return f"{', '.join(ages)}; newer and proven: {', '.join(proven)}"

    def _why_not_purged(self, backup: Candidate) -> str:
        held = holds_in_force(backup.holds)
        if held:
            return f"held: {held[0].reason}"
        if backup.locked_until is not None and backup.locked_until > self._at:
            return f"locked until {moment(backup.locked_until)}"
        if not self._tiers.replaced_by_any(backup):
            return "nothing newer is proven any more"
        return ""

    def _ahead(self, each: Candidate) -> bool:
        return max(each.started, each.finished) > self._at


def _order(each: Candidate) -> tuple[datetime, str]:
    return each.started, each.id


def _unreadable(name: str, problem: str) -> Decision:
    return Decision(
        id=name,
        started=_stamped(name),
        digest="",
        keep=True,
        tiers=(),
        reasons=(f"its manifest cannot be read: {problem}",),
    )


def _stamped(name: str) -> datetime:
    """When a backup began whose id or manifest's key is all that is known."""
    known = layout.stamp_of_manifest(name)
    try:
        return BackupId("any", *known).started if known else BackupId.parse(name).started
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return names[0] + more
