"""A service, its backups and one copy of them, in memory: what retention is let loose upon.

It knows what a restore needs from how the backups were made, and asks retention nothing. Time runs
in hours of true time; the product's clock may be off by any skew, the store's is right.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.hold import HoldAction, HoldEvent
from kb_dr.domain.proof import Standing, Verdict
from kb_dr.domain.retention import Candidate, ExpiredBackup
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.wal_names import Segment

WalFile = tuple[int, int, int]
"""System identifier, timeline and number of one segment."""

STRANGER: WalFile = (9_999, 1, 5)
"""WAL of a cluster no backup is of."""


@dataclass(slots=True, eq=False)
class Made:
    """One backup, and everything that is true of it."""

    id: str
    kind: BackupKind
    started: datetime
    finished: datetime
    system: int
    timeline: int
    first: int
    last: int
    parent: "Made | None" = None
    replaces: "Made | None" = None
    """The backup whose very bytes these are."""
    present: bool = True
    expired_at: datetime | None = None
    """Set while its objects stand without a manifest."""
    proofs: list[tuple[int, Verdict]] = field(default_factory=list)
    """Number of the proof among all proofs of the copy, and verdict; without NOT_PROVEN."""
    holds: set[str] = field(default_factory=set)
    locked_until: datetime | None = None

    @property
    def chain(self) -> "list[Made]":
        """Itself, and everything it is built upon."""
        return [self] if self.parent is None else [self, *self.parent.chain]

    @property
    def stands(self) -> bool:
        """Whether its objects are there."""
        return self.present or self.expired_at is not None


@dataclass(slots=True)
class World:
    """All there is."""

    true: datetime = datetime(2026, 1, 28, 5, 20, tzinfo=UTC)
    skew: timedelta = timedelta(0)
    policy: RetentionPolicy = field(default_factory=RetentionPolicy)
    made: list[Made] = field(default_factory=list)
    """Everything ever made, in the order it was made."""
    wal: dict[WalFile, datetime] = field(default_factory=dict)
    """What stands, and when the store took it."""
    forks: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    """System and timeline to the timeline it left, and in which segment."""
    system: int = 1
    timeline: int = 1
    segment: int = 10
    newest_stored: datetime = datetime(2026, 1, 28, 5, 20, tzinfo=UTC)
    proofs: list[tuple[Made, Verdict]] = field(default_factory=list)
    void_before: int = 0
    """Greens with a lower number are void."""

    @property
    def ours(self) -> datetime:
        """What the product takes for now."""
        return self.true + self.skew

    @property
    def believed(self) -> datetime:
        """What ages are counted to: never more than a day ahead of what the store last took."""
        return min(self.ours, self.newest_stored + timedelta(days=1))

    def pass_time(self, hours: int, *, writing: bool = True) -> None:
        """Let time pass; a segment is archived in the first and the last hour, and some between.

        Long stretches archive as many segments as short ones: a quiet service writes little.
        """
        steps = min(hours, 4)  # none for no hours
        for step in range(1, steps + 1):
            at = self.true + timedelta(hours=hours * step // steps)
            if writing:
                self._archive(at)
        self.true += timedelta(hours=hours)

    def back_up(self, kind: BackupKind, parent: Made | None) -> Made:
        """A backup that comes to its end in three minutes; its WAL is archived by then."""
        started = self.ours
        names = {each.id for each in self.made}
        while (name := str(BackupId.of("kb", kind, started))) in names:
            started += timedelta(seconds=1)
        self.true += timedelta(minutes=3)
        finished = max(started, self.ours)
        first = self.segment
        self._archive(self.true)
        self._archive(self.true)
        made = Made(
            name, kind, started, finished, self.system, self.timeline, first, first + 1, parent
        )
        self.made.append(made)
        return made

    def recovery_point(self, parent: Made) -> Made:
        """No files of its own: the parent's, and WAL from its start on."""
        made = self.back_up(BackupKind.INCR, parent)
        made.first = parent.first
        return made

    def back_up_ahead_of_time(self, days: int) -> Made:
        """One that a wrong clock dates into the future."""
        skew, self.skew = self.skew, timedelta(days=days)
        made = self.back_up(BackupKind.FULL, None)
        self.skew = skew
        return made

    def encrypt_anew(self, old: Made) -> None:
        """The same bytes under another id, with the times of the old one."""
        names = {each.id for each in self.made}
        stamp = old.started
        while (name := str(BackupId.of("kb", old.kind, stamp))) in names:
            stamp += timedelta(seconds=1)
        made = Made(
            name,
            old.kind,
            old.started,
            old.finished,
            old.system,
            old.timeline,
            old.first,
            old.last,
            replaces=old,
        )
        self.made.append(made)
        self._touch()

    def promote(self) -> None:
        """A standby takes over: another timeline, from the middle of the segment being written."""
        self._archive(self.true)
        self.segment -= 1
        self.forks[self.system, self.timeline + 1] = (self.timeline, self.segment)
        self.timeline += 1

    def upgrade(self) -> None:
        """pg_upgrade: another system identifier, timeline 1, WAL counted from low again."""
        self.system += 1
        self.timeline = 1
        self.segment = 3

    def prove(self, made: Made, verdict: Verdict) -> None:
        """One restore of this copy, and what it showed."""
        if verdict is not Verdict.NOT_PROVEN:
            made.proofs.append((len(self.proofs), verdict))
            self.proofs.append((made, verdict))
        self._touch()

    def void(self) -> None:
        """The verifier turns out to be blind: no green so far says anything."""
        self.void_before = len(self.proofs)
        self._touch()

    def standing(self, made: Made) -> Standing:
        """Where a backup stands: its newest proof that counts decides."""
        counting = [
            verdict
            for number, verdict in made.proofs
            if verdict is Verdict.FAILED or number >= self.void_before
        ]
        if counting:
            return Standing.PROVEN if counting[-1] is Verdict.PROVEN else Standing.FAILED
        return Standing.VOID if made.proofs else Standing.UNPROVEN

    @property
    def failing(self) -> bool:
        """Whether the newest proof of all that counts is red."""
        counting = [
            verdict
            for number, (_, verdict) in enumerate(self.proofs)
            if verdict is Verdict.FAILED or number >= self.void_before
        ]
        return bool(counting) and counting[-1] is Verdict.FAILED

    @property
    def present(self) -> list[Made]:
        """The backups that have a manifest, in order of time."""
        return sorted(
            (each for each in self.made if each.present),
            key=lambda each: (each.started, each.id),
        )

    def newest_native(self) -> Made | None:
        """What the next incremental is built upon: the newest of this line with no red proof."""
        found = [
            each
            for each in self.present
            if (each.system, each.timeline) == (self.system, self.timeline)
            and all(self.standing(link) is not Standing.FAILED for link in each.chain)
            and each.first + 1 == each.last
        ]
        return found[-1] if found else None

    def undelete(self, made: Made) -> None:
        """Bring a backup back, and what it is built upon."""
        for each in made.chain:
            if each.expired_at is not None:
                each.present, each.expired_at = True, None
        self._touch()

    def expire(self, name: str) -> None:
        """The manifest goes."""
        made = self._of(name)
        made.present, made.expired_at = False, self.believed

    def purge(self, name: str) -> None:
        """The objects go."""
        self._of(name).expired_at = None

    def candidate(self, made: Made) -> Candidate:
        """What retention gets to see of a backup."""
        size = 16 * 1024 * 1024
        return Candidate(
            id=made.id,
            kind=made.kind,
            digest=f"digest of {made.id}",
            started=made.started,
            finished=made.finished,
            system_identifier=made.system,
            timeline=made.timeline,
            wal=(
                Segment(made.timeline, made.first, size),
                Segment(made.timeline, made.last, size),
            ),
            parent=made.parent.id if made.parent else None,
            parent_digest=f"digest of {made.parent.id}" if made.parent else None,
            replaces=made.replaces.id if made.replaces else None,
            standing=self.standing(made),
            holds=tuple(
                HoldEvent(1, name, made.id, HoldAction.HOLD, made.finished, name, "host")
                for name in sorted(made.holds)
            ),
            locked_until=made.locked_until,
        )

    def expired(self) -> list[ExpiredBackup]:
        """What can be brought back still."""
        return [
            ExpiredBackup(self.candidate(each), each.expired_at)
            for each in self.made
            if each.expired_at is not None
        ]

    def needs(self, made: Made) -> set[WalFile]:
        """The WAL without which it is not even consistent."""
        return {(made.system, made.timeline, number) for number in range(made.first, made.last + 1)}

    def line_from(self, made: Made) -> set[WalFile]:
        """All WAL that stands and that a recovery from it may replay, whichever way it goes on."""
        on = {made.timeline: made.first}
        for (system, timeline), (left, fork) in sorted(self.forks.items()):
            if system == made.system and left in on:
                on[timeline] = max(fork, on[left])
        return {
            (system, timeline, number)
            for system, timeline, number in self.wal
            if system == made.system and timeline in on and number >= on[timeline]
        }

    def state(self) -> tuple[object, ...]:
        """Everything retention may change."""
        return (
            [(each.present, each.expired_at) for each in self.made],
            frozenset(self.wal),
        )

    def set_policy(self, **changed: int) -> None:
        """Change the settings."""
        self.policy = replace(self.policy, **changed)

    def _of(self, name: str) -> Made:
        return next(each for each in reversed(self.made) if each.id == name and each.stands)

    def _archive(self, at: datetime) -> None:
        self.wal[self.system, self.timeline, self.segment] = at
        self.segment += 1
        self.newest_stored = max(self.newest_stored, at)

    def _touch(self) -> None:
        self.newest_stored = max(self.newest_stored, self.true)
