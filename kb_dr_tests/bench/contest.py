"""What was measured of each contestant, and what follows from it: pure values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

US = "kb_dr"
"""The contestant all others are held against."""

US_RESTORING = "kb_dr restore"
"""Us again at WAL replay: the server that `kb-dr restore` starts, and serves itself."""

OURS = frozenset({US, US_RESTORING})

PLAIN_CP = "cp"
"""The limit of WAL: PostgreSQL's own textbook commands on a local directory. No peer."""


class Work(StrEnum):
    """What each contestant is asked to do."""

    BACKUP = "full backup"
    RESTORE = "restore to a started server"
    PUSH = "WAL push of a burst"
    REPLAY = "WAL replay"
    CHECK = "check of what is stored"
    """Every stored byte is read, and nothing restored."""
    PROOF = "proof by restore"
    """To a scratch server: tables and B-trees read by amcheck, each row of the tables recorded
    counted, and the checksum of every page of the stopped cluster, where the source has them."""


@dataclass(frozen=True, slots=True)
class Try:
    """One piece of work, done once by one contestant: one line of the raw results."""

    work: Work
    contestant: str
    store: str
    """``directory``, ``S3`` or ``S3 over TLS``."""
    plain_bytes: int
    """What the data directory, or the WAL, takes before it is compressed."""
    round: int
    seconds: float
    cpu_seconds: float
    """Of all processes that took part: the command's tree, PostgreSQL's backends, the store."""
    peak_bytes: int
    """The most memory the command's own tree held, PostgreSQL's servers and the store left out."""
    stored_bytes: int | None = None
    """What it added to the store; None where it adds nothing."""
    requests: int | None = None
    """Sent to the S3 server; None in a directory."""
    segments: int | None = None
    """Of WAL; None for the other works."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What must be known of a contestant before its figures are read."""

    name: str
    version: str
    compression: str
    encryption: str
    """Empty: it has none."""
    uneven: tuple[str, ...] = ()
    """Where its work is not ours: less, more, or otherwise; one sentence each."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One contestant at one piece of work on one store and one size: the rounds taken together."""

    work: Work
    contestant: str
    store: str
    plain_bytes: int
    rounds: int
    seconds: float
    """Median."""
    spread: tuple[float, float]
    """Least and most seconds."""
    cpu_seconds: float
    peak_bytes: int
    stored_bytes: int | None
    requests: int | None
    segments: int | None


@dataclass(frozen=True, slots=True)
class Duel:
    """Us against one peer, or against the best of them, in the same rounds."""

    us: Standing
    peer: Standing

    @property
    def seconds_ratio(self) -> float:
        """Below 1 we are faster."""
        return self.us.seconds / self.peer.seconds

    @property
    def cpu_ratio(self) -> float:
        """Below 1 we take less CPU."""
        return self.us.cpu_seconds / self.peer.cpu_seconds

    @property
    def behind(self) -> bool:
        """Whether the page must say so first."""
        return self.seconds_ratio > 1.0 or self.cpu_ratio > 1.0


def standings(tries: Iterable[Try]) -> tuple[Standing, ...]:
    """The rounds of each work, contestant, store and size taken together, in order of sight."""
    groups: dict[tuple[Work, str, str, int], list[Try]] = {}
    for each in tries:
        groups.setdefault((each.work, each.contestant, each.store, each.plain_bytes), []).append(
            each
        )
    return tuple(
        Standing(
            *key,
            rounds=len(group),
            seconds=median(each.seconds for each in group),
            spread=(min(each.seconds for each in group), max(each.seconds for each in group)),
            cpu_seconds=median(each.cpu_seconds for each in group),
            peak_bytes=max(each.peak_bytes for each in group),
            stored_bytes=group[-1].stored_bytes,
            requests=group[-1].requests,
            segments=group[-1].segments,
        )
        for key, group in groups.items()
    )


def duels(found: Iterable[Standing]) -> tuple[Duel, ...]:
    """Us against every peer that did the same work on the same store at the same size."""
    all_of_them = tuple(found)
    return tuple(
        Duel(us, peer)
        for us in all_of_them
        if us.contestant in OURS
        for peer in all_of_them
        if peer.contestant not in {*OURS, PLAIN_CP}
        and (peer.work, peer.store, peer.plain_bytes) == (us.work, us.store, us.plain_bytes)
    )


@dataclass(frozen=True, slots=True)
class Idle:
    """What it costs to do nothing: the daemon and its code server, with everything scheduled."""

    seconds: float
    cpu_seconds: Mapping[str, float]
    """By process: ``daemon``, ``code server``, ``webserver``."""

    @property
    def cores(self) -> float:
        """Part of one core; the target is below 0.1."""
        return sum(self.cpu_seconds.values()) / self.seconds


@dataclass(frozen=True, slots=True)
class Waiting:
    """How long a person waits for something to begin."""

    what: str
    """``Launch pressed until the first byte of the backup is stored``, ``UI until it answers``."""
    seconds: tuple[float, ...]
    """Of each round."""


@dataclass(frozen=True, slots=True)
class Growth:
    """One verb at growing sizes: time should be linear, memory flat."""

    what: str
    unit: str
    """What ``size`` counts: ``bytes``, ``backups``, ``segments``."""
    points: tuple[tuple[int, float, int], ...]
    """size, seconds, peak bytes; in ascending order of size."""
