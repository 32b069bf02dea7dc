"""What the page is written from, in a file: each part is there as soon as it has ended."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from kb_dr_tests.bench.contest import duels, standings
from kb_dr_tests.bench.goals import behind, goals, overlap, place
from kb_dr_tests.bench.machine_facts import QUIET_CORES, Machine
from kb_dr_tests.bench.results import Findings, together

FORMAT = 3
_DERIVED = "worked out"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the bench was asked to measure."""

    sizes_mib: tuple[int, ...]
    rounds: int
    segments: int
    """Of WAL, in a burst and in a replay."""
    dump_mib: int
    stores: tuple[str, ...]
    seed_entries: int
    """Rows the data is made of; more than zstd looks back at."""
    idle_seconds: float
    """How long nothing is done, to see what that costs; 0: not looked at."""
    growth_backups: tuple[int, ...]
    """In a repository that is looked at, each time more; none: not looked at."""
    growth_segments: tuple[int, ...]
    """Of WAL behind one backup."""
    quick: bool = False
    """Whether all that no other option says was tiny."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a run, with what was going on when it began."""

    ended_at: datetime
    seconds: float
    busy_cores: float
    """Kept busy by others while we did nothing, just before."""
    code: tuple[str, ...]
    """The state of kb_dr that was measured, by machine_facts.code_digest(); more than one where it
    changed after the command had begun."""
    bench: tuple[str, ...]
    """The same of what measured it: machine_facts.bench_digest()."""
    words: str
    """What ``make bench`` was asked for, of which this is a part."""
    findings: Findings


@dataclass(frozen=True, slots=True)
class Run:
    """Everything a page is written from; its parts may be of several commands."""

    format: int
    machine: Machine
    asked: Asked
    """Last."""
    only: tuple[str, ...]
    """The kinds of parts that were asked for last; empty: all."""
    began_at: datetime
    """The last command; parts that ended before are of earlier ones."""
    parts: Mapping[str, Part]

    @property
    def findings(self) -> Findings:
        """Of all parts together."""
        return together(part.findings for part in self.parts.values())

    @property
    def busy_cores(self) -> float:
        """The most that others took before any part."""
        return max((part.busy_cores for part in self.parts.values()), default=0.0)

    @property
    def was_quiet(self) -> bool:
        """Whether seconds on the wall may be believed."""
        return self.busy_cores < QUIET_CORES

    @property
    def commands(self) -> tuple[str, ...]:
        """What ``make bench`` was asked for, in order of time."""
        parts = sorted(self.parts.values(), key=lambda part: part.ended_at)
        return tuple(dict.fromkeys(part.words for part in parts))

    @property
    def codes(self) -> Mapping[tuple[str, ...], Sequence[str]]:
        """Each state of kb_dr that was measured, and the parts it was measured by."""
        found: dict[tuple[str, ...], list[str]] = {}
        for name, part in self.parts.items():
            found.setdefault(part.code, []).append(name)
        return found

    @property
    def benches(self) -> Mapping[tuple[str, ...], Sequence[str]]:
        """Each state of the bench, and the parts it measured."""
        found: dict[tuple[str, ...], list[str]] = {}
        for name, part in self.parts.items():
            found.setdefault(part.bench, []).append(name)
        return found

    def has_measured(self, name: str) -> bool:
        """Whether the last command has got this part."""
        return name in self.parts and self.parts[name].ended_at >= self.began_at

    def with_part(self, name: str, part: Part) -> "Run":
        """The same run, with this part new or in place of what it was."""
        return replace(self, parts={**self.parts, name: part})

    def in_order(self, key: Callable[[str], tuple[int, ...]]) -> "Run":
        """The same run, its parts in order of what ``key`` makes of their names."""
        return replace(self, parts={name: self.parts[name] for name in sorted(self.parts, key=key)})


_RUN = TypeAdapter(Run)


def save(run: Run, file: Path) -> None:
    """Write it whole or not at all, with what is worked out from it for other machines to read."""
    document = _RUN.dump_python(run, mode="json") | {_DERIVED: _derived(run.findings)}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}")
    partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    os.replace(partial, file)


def load(file: Path) -> Run:
    """What ``save`` wrote; ValueError when it is of another format."""
    document = json.loads(file.read_text())
    if document.get("format") != FORMAT:
        raise ValueError(f"read {file}: format {document.get('format')}, expected {FORMAT}")
    document.pop(_DERIVED, None)
    return _RUN.validate_python(document)


def _derived(found: Findings) -> dict[str, Any]:
    """Ratios; nothing of it is read back."""
    every = standings(found.tries)
    return {
        "behind": [
            {"what": place(each.us), "peer": each.peer.contestant,
             "seconds_ratio": each.seconds_ratio, "cpu_ratio": each.cpu_ratio,
             "overlap": overlap(each)}
            for each in behind(found)
        ],
        "goals": [
            {"what": each.what, "where": each.where, "value": each.value, "limit": each.limit,
             "against": each.against, "met": each.met}
            for each in goals(found)
        ],
        "duels": [
            {"what": place(each.us), "peer": each.peer.contestant,
             "seconds_ratio": each.seconds_ratio, "cpu_ratio": each.cpu_ratio,
             "seconds": [each.us.seconds, each.peer.seconds],
             "spread": [each.us.spread, each.peer.spread]}
            for each in duels(every)
        ],
        "limits": [
            {"what": f"{each.direction}, {each.store}", "plain_bytes": each.plain_bytes,
             "floor_seconds": each.floor_seconds, "binding": each.binding,
             "command_ratio": each.command_ratio, "ratio": each.ratio,
             "work_ratio": each.work_ratio}
            for each in found.transfers
        ],
    }  # fmt: skip
