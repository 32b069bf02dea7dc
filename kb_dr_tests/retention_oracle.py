"""What must be true of any retention, stated without a word of its own code.

``expected_kept`` is the slow way: each backup against every other, calendars by their own names.
"""

from datetime import datetime, timedelta

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr_tests.retention_world import Made, WalFile, World

TIERS = ("hourly", "daily", "weekly", "monthly", "quarterly")


def number_of_period(tier: str, moment: datetime) -> int:
    """Periods of a tier, counted: the next period has the next number."""
    day = moment.toordinal()
    if tier == "hourly":
        return day * 24 + moment.hour
    if tier == "daily":
        return day
    if tier == "weekly":
        return day // 7  # day 7 was a Sunday, as 1 was a Monday
    if tier == "monthly":
        return moment.year * 12 + moment.month - 1
    return moment.year * 4 + (moment.month - 1) // 3


def lives(tier: str, moment: datetime, policy: RetentionPolicy, now: datetime) -> bool:
    """Whether any part of the period a moment lies in is younger than the tier keeps."""
    period = number_of_period(tier, moment)
    if tier == "hourly":
        first = number_of_period(tier, now - timedelta(hours=policy.hourly_hours))
    elif tier == "daily":
        first = number_of_period(tier, now - timedelta(days=policy.daily_days))
    elif tier == "weekly":
        first = number_of_period(tier, now - timedelta(days=7 * policy.weekly_weeks))
    elif tier == "monthly":
        first = number_of_period(tier, now) - policy.monthly_months
    else:
        first = number_of_period(tier, now) - 4 * policy.quarterly_years
    return period >= first


def tiers_of(policy: RetentionPolicy) -> list[str]:
    """The tiers that keep anything."""
    counts = (
        policy.hourly_hours,
        policy.daily_days,
        policy.weekly_weeks,
        policy.monthly_months,
        policy.quarterly_years,
    )
    return [tier for tier, count in zip(TIERS, counts, strict=True) if count > 0]


class Oracle:
    """One moment of a world, looked at the slow way."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.now = world.believed
        self.backups = world.present
        self.policy = world.policy
        self.past = [e for e in self.backups if max(e.started, e.finished) <= self.now]
        self.good = [each for each in self.past if self.whole(each)]
        self.proven = [e for e in self.good if world.standing(e) is Standing.PROVEN]
        counting = [each for each in self.good if self.counts(each)]
        self._members = {tier: self._first_ones(tier, counting) for tier in TIERS}

    def whole(self, made: Made) -> bool:
        """Present down to the full backup, and nothing known against any of it."""
        return all(
            link.present and self.world.standing(link) is not Standing.FAILED for link in made.chain
        )

    def same_bytes(self, made: Made) -> list[Made]:
        """The good ones that bear the very bytes of one, itself among them."""
        return [each for each in self.good if self._origin(each) is self._origin(made)]

    def _origin(self, made: Made) -> Made:
        while made.replaces is not None:
            made = made.replaces
        return made

    def counts(self, made: Made) -> bool:
        """Of good ones with the same bytes the last proven counts; with none proven, the first."""
        same = self.same_bytes(made)
        proven = [each for each in same if each in self.proven]
        return made is (proven[-1] if proven else same[0])

    def superseded(self, made: Made) -> bool:
        """Whether its bytes are there under later keys, and proven."""
        if made not in self.good:
            return False
        same = self.same_bytes(made)
        return any(each in self.proven for each in same[same.index(made) + 1 :])

    @property
    def stopped(self) -> bool:
        """Whether nothing may go."""
        return self.world.failing or any(
            self.world.standing(each) is Standing.VOID for each in self.backups
        )

    def members(self, tier: str) -> list[Made]:
        """The first good full backup of each period, or the first incremental where none is."""
        return self._members[tier]

    def _first_ones(self, tier: str, backups: list[Made]) -> list[Made]:
        periods: dict[int, list[Made]] = {}
        for each in backups:
            periods.setdefault(number_of_period(tier, each.started), []).append(each)
        return [
            next((each for each in there if each.kind is BackupKind.FULL), there[0])
            for there in periods.values()
        ]

    def lives(self, tier: str, made: Made) -> bool:
        """Whether its period is young enough."""
        return lives(tier, made.started, self.policy, self.now)

    def may_shed(self, tier: str, made: Made) -> bool:
        """F2: whether a newer member of this tier is proven."""
        return any(
            each.started > made.started for each in self.members(tier) if each in self.evident
        )

    @property
    def evident(self) -> list[Made]:
        """What a restore has read that is not forgotten: the proven, and the newest one's chain."""
        return [*self.proven, *(self.proven[-1].chain if self.proven else ())]

    def in_daily(self, made: Made) -> bool:
        """Whether the daily tier has not let go of it."""
        return (
            self.policy.daily_days > 0
            and made in self.members("daily")
            and (self.lives("daily", made) or not self.may_shed("daily", made))
        )

    def expected_kept(self) -> set[str]:
        """The ids of all that stays, for whatever reason."""
        if self.stopped:
            return {each.id for each in self.backups}
        kept = {e for e in self.backups if e.holds or e not in self.past}
        kept |= {e for e in self.past if e.locked_until and e.locked_until > self.now}
        kept |= {e for e in self.past if self.now - e.finished < timedelta(days=1)}
        for tier in tiers_of(self.policy):
            members = self.members(tier)
            kept |= {e for e in members if self.lives(tier, e) or not self.may_shed(tier, e)}
            taken = {number_of_period(tier, e.started) for e in members}
            bad = [e for e in self.past if e not in self.good]
            kept |= {
                e
                for e in self._first_ones(tier, bad)
                if self.lives(tier, e) and number_of_period(tier, e.started) not in taken
            }
        standing = self.world.standing
        red_below = [e for e in self.past if standing(e) is Standing.PROVEN]
        for some in (self.past, self.good, self.proven, red_below):
            kept |= set(some[-1:])
        newest = self.proven[-1].started if self.proven else None
        kept |= {
            e
            for e in self.past
            if (newest is None or e.started >= newest) and not self.superseded(e)
        }
        kept |= {
            e
            for e in self.good
            if not self.superseded(e)
            and any(o in kept for o in self.same_bytes(e) if self.counts(o))
        }
        return {link.id for each in kept for link in each.chain if link.present}

    def expected_wal(self, kept: set[str], standing_after: list[Made]) -> set[WalFile]:
        """The WAL that stays when ``kept`` stay, and of ``standing_after`` the objects stand."""
        world = self.world
        if self.stopped:
            return set(world.wal)
        retained = [each for each in self.backups if each.id in kept]
        daily = [each.started for each in retained if self.in_daily(each)]
        if not daily:
            return set(world.wal)
        since = min(daily)
        green = [e.started for e in retained if world.standing(e) is Standing.PROVEN]
        since = min(since, max(green, default=since))
        known = {each.system for each in world.made if each.stands}
        young = since - timedelta(days=self.policy.wal_days)
        needed = {wal for each in standing_after for wal in world.needs(each)}
        begins = {each for each in retained if each.started >= since}
        for system in {each.system for each in retained}:
            of_it = [each for each in retained if each.system == system]
            hopeful = [each for each in of_it if world.standing(each) is not Standing.FAILED]
            # Where a recovery of this cluster to its newest begins.
            for some in (of_it, hopeful):
                begins |= set(sorted(some, key=lambda e: (e.started, e.finished, e.id))[-1:])
        for each in retained:
            if each in begins:
                needed |= {
                    (system, timeline, number)
                    for system, timeline, number in world.wal
                    if system == each.system and timeline >= each.timeline and number >= each.first
                }
        return {
            wal
            for wal, modified in world.wal.items()
            if wal in needed or modified >= young or wal[0] not in known
        }
