"""What was measured, and the arithmetic on it: pure values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import median
from typing import Any

from kb_dr_tests.bench.contest import Facts, Growth, Idle, Try, Waiting

TARGET_RATIO = 1.15
"""The whole command against its binding limit."""
MEMORY_LIMIT_BYTES = 400 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Cost:
    """What one piece of work took."""

    seconds: float
    """On the wall."""
    cpu_seconds: float
    """Of all processes that took part, servers too."""


def median_cost(costs: Sequence[Cost]) -> Cost:
    """The median of each measure by itself; of one measurement, itself."""
    return Cost(median(cost.seconds for cost in costs), median(cost.cpu_seconds for cost in costs))


def floor_seconds(stages: Mapping[str, Cost], cores: int) -> float:
    """What no pipeline of these stages can beat: the slowest, or all their work on all cores."""
    slowest = max(cost.seconds for cost in stages.values())
    return max(slowest, sum(cost.cpu_seconds for cost in stages.values()) / cores)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A backup or a restore of one database through one kind of repository."""

    direction: str
    """``backup`` or ``restore``."""
    store: str
    plain_bytes: int
    stored_bytes: int
    stages: Mapping[str, Cost]
    """Each measured alone."""
    pipeline_seconds: float
    """All stages at once, as the command ran them."""
    command: Cost
    """The whole command, from start to exit."""
    phases: Mapping[str, float]
    """Seconds of each part of the command."""
    cores: int
    rounds: int
    """Of which each figure is the median."""

    @property
    def slowest(self) -> str:
        """The name of the stage that takes longest alone."""
        return max(self.stages, key=lambda name: self.stages[name].seconds)

    @property
    def floor_seconds(self) -> float:
        """What the pipeline is held against."""
        return floor_seconds(self.stages, self.cores)

    @property
    def binding(self) -> str:
        """What binds: the name of the slowest stage, or ``all cores`` together."""
        slowest = self.slowest
        return slowest if self.floor_seconds <= self.stages[slowest].seconds else "all cores"

    @property
    def ratio(self) -> float:
        """The pipeline against its floor."""
        return self.pipeline_seconds / self.floor_seconds

    @property
    def command_ratio(self) -> float:
        """The whole command against the same floor; the target is TARGET_RATIO."""
        return self.command.seconds / self.floor_seconds

    @property
    def work_ratio(self) -> float:
        """CPU of the whole command against that of its stages alone; steady on a busy machine."""
        return self.command.cpu_seconds / sum(cost.cpu_seconds for cost in self.stages.values())


@dataclass(frozen=True, slots=True)
class Memory:
    """The most memory one command took, PostgreSQL's servers and the store not counted."""

    command: str
    store: str
    plain_bytes: int
    peak_bytes: int

    @property
    def ratio(self) -> float:
        """Against the limit."""
        return self.peak_bytes / MEMORY_LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class Call:
    """One `kb-dr wal push` or `wal fetch` of one segment."""

    verb: str
    store: str
    cost: Cost
    interpreter_seconds: float
    """What Python takes to start and end without doing anything."""
    import_share: float
    """Part of the call that is spent importing, 0 to 1."""
    rounds: int


@dataclass(frozen=True, slots=True)
class Archive:
    """One way to make a compressed archive of a database."""

    how: str
    stored_bytes: int
    cost: Cost
    """From the first word of pg_dump to the last byte in a file."""
    rounds: int


@dataclass(frozen=True, slots=True)
class Load:
    """The same archive, loaded with pg_restore through one connection and through several."""

    jobs: int
    archive_bytes: int
    one: Cost
    several: Cost
    rounds: int

    @property
    def ratio(self) -> float:
        """Several connections against one; the target is less than 1."""
        return self.several.seconds / self.one.seconds


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tool that was not measured."""

    name: str
    why: str


EACH_FILE, UNFORCED = "kb_dr, file by file", "kb_dr, nothing forced to disk"
"""Other ways a restore could treat the disk; what we ship is ``contest.US``."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a part of the bench found, or all parts together; empty where nobody looked."""

    tries: tuple[Try, ...] = ()
    facts: tuple[Facts, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    memory: tuple[Memory, ...] = ()
    calls: tuple[Call, ...] = ()
    archives: tuple[Archive, ...] = ()
    """The first is what the others are held against."""
    loads: tuple[Load, ...] = ()
    synced: tuple[Try, ...] = ()
    """Restores by ``contest.US``, ``EACH_FILE`` and ``UNFORCED``, in turn."""
    idle: tuple[Idle, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    growth: tuple[Growth, ...] = ()


def together(found: Iterable[Findings]) -> Findings:
    """All of them as one; of each contestant and each tool left out there is one line."""
    every = tuple(found)
    joined: dict[str, Any] = {
        each.name: tuple(value for part in every for value in getattr(part, each.name))
        for each in fields(Findings)
    }
    known = {each.name for each in joined["facts"]}
    joined["facts"] = _by_name(joined["facts"])
    joined["left_out"] = tuple(
        {each.name: each for each in joined["left_out"] if each.name not in known}.values()
    )
    return Findings(**joined)


def _by_name(found: Iterable[Facts]) -> tuple[Facts, ...]:
    kept: dict[str, Facts] = {}
    for each in found:
        before = kept.get(each.name, each)
        uneven = dict.fromkeys((*before.uneven, *each.uneven))
        kept[each.name] = Facts(
            each.name, each.version, each.compression, each.encryption, tuple(uneven)
        )
    return tuple(kept.values())
