"""What was asked for, what was measured, and where we are behind: pure arithmetic."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from kb_dr_tests.bench.contest import OURS, PLAIN_CP, US, Duel, Standing, Work, duels, standings
from kb_dr_tests.bench.results import MEMORY_LIMIT_BYTES, TARGET_RATIO, Findings

REPLAY_OF_CP = 0.8
"""Segments per second of a replay, against those of cp from a local directory."""
IDLE_CORES = 0.1


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal, held against one measurement."""

    what: str
    where: str
    """Which work, store and size."""
    value: float
    limit: float
    at_least: bool = False
    """Whether more is better; else the value has to stay at or below the limit."""
    against: str = ""
    """The peer, or the stage, it is held against."""

    @property
    def met(self) -> bool:
        """Whether it is reached. Never rounded: 1.004 is more than 1."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def behind(found: Findings) -> tuple[Duel, ...]:
    """Every duel we lose in seconds or in CPU, worst first."""
    lost = [each for each in duels(standings(found.tries)) if each.behind]
    return tuple(sorted(lost, key=lambda each: -max(each.seconds_ratio, each.cpu_ratio)))


def overlap(duel: Duel) -> bool:
    """Whether the rounds of both mix, so that chance alone may have told who is faster."""
    (us_least, us_most), (peer_least, peer_most) = duel.us.spread, duel.peer.spread
    return us_least <= peer_most and peer_least <= us_most


def quickest(found: Iterable[Duel]) -> tuple[Duel, ...]:
    """Of each work, store and size, the duel against the peer that takes the fewest seconds."""
    return _best(found, lambda duel: duel.peer.seconds)


def _best(found: Iterable[Duel], least: Callable[[Duel], float]) -> tuple[Duel, ...]:
    kept: dict[tuple[str, Work, str, int], Duel] = {}
    for each in found:
        us = each.us
        key = (us.contestant, us.work, us.store, us.plain_bytes)
        if key not in kept or least(each) < least(kept[key]):
            kept[key] = each
    return tuple(kept.values())


def goals(found: Findings) -> tuple[Goal, ...]:
    """Every goal that something was measured for, in order of the goals."""
    every = standings(found.tries)
    fought = duels(every)
    return (
        *(
            Goal("seconds / those of the quickest peer", place(each.us), each.seconds_ratio, 1.0,
                 against=each.peer.contestant)
            for each in quickest(fought)
        ),
        *(
            Goal("whole command / binding limit",
                 f"{each.direction}, {each.store}, {size(each.plain_bytes)}",
                 each.command_ratio, TARGET_RATIO, against=each.binding)
            for each in found.transfers
        ),
        *_of_cp(every),
        *(
            Goal("CPU seconds / those of the thriftiest peer", place(each.us), each.cpu_ratio, 1.0,
                 against=each.peer.contestant)
            for each in _best(fought, lambda duel: duel.peer.cpu_seconds)
        ),
        *_memory(found, every),
        *(
            Goal("cores while idle", f"{each.seconds:.0f} s", each.cores, IDLE_CORES)
            for each in found.idle
        ),
    )  # fmt: skip


def _of_cp(every: Sequence[Standing]) -> list[Goal]:
    replays = [each for each in every if each.work is Work.REPLAY and each.segments]
    limits = {each.plain_bytes: each for each in replays if each.contestant == PLAIN_CP}
    return [
        Goal("segments per second of a replay / those of cp", place(each),
             per_second(each) / per_second(limits[each.plain_bytes]), REPLAY_OF_CP,
             at_least=True, against=PLAIN_CP)
        for each in replays
        if each.contestant in OURS and each.plain_bytes in limits
    ]  # fmt: skip


def _memory(found: Findings, every: Sequence[Standing]) -> list[Goal]:
    """The most of any command of ours, of each size."""
    peaks: dict[str, tuple[int, str]] = {}
    looked = [
        *((each.plain_bytes, each.peak_bytes, f"{each.command}, {each.store}")
          for each in found.memory),
        *((each.plain_bytes, each.peak_bytes, f"{each.work}, {each.store}")
          for each in every if each.contestant in OURS),
    ]  # fmt: skip
    for plain_bytes, peak_bytes, where in looked:
        key = size(plain_bytes)
        peaks[key] = max(peaks.get(key, (0, "")), (peak_bytes, where))
    return [
        Goal("most MiB of memory", f"{key}: {where}", peak / 2**20, MEMORY_LIMIT_BYTES / 2**20)
        for key, (peak, where) in peaks.items()
    ]


def per_second(standing: Standing) -> float:
    """Segments of WAL per second."""
    return (standing.segments or 0) / standing.seconds


def place(standing: Standing) -> str:
    """Which work, on which store, of which size; and who, where we took part twice."""
    return f"{work(standing)}, {standing.store}, {amount(standing)}"


def work(standing: Standing) -> str:
    """Which work; and who, where we took part twice."""
    if standing.contestant in OURS - {US}:
        return f"{standing.work} by `{standing.contestant}`"
    return str(standing.work)


def amount(standing: Standing) -> str:
    """How much of it."""
    return f"{standing.segments} segments" if standing.segments else size(standing.plain_bytes)


def size(count: int) -> str:
    """Bytes in words."""
    if count < 1000 << 20:
        return f"{count / (1 << 20):.0f} MiB"
    return f"{count / (1 << 30):.2f} GiB"
