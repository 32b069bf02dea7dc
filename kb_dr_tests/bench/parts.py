"""The parts of the bench: what each of them measures, in the order they are run."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from kb_dr_tests.bench import growth, idle
from kb_dr_tests.bench.contest_run import CONTEST_STORES, MAJOR
from kb_dr_tests.bench.contestants.field import contestants_on, not_measured
from kb_dr_tests.bench.dumps import measure_dumps
from kb_dr_tests.bench.growth_segments import restore_over
from kb_dr_tests.bench.kept import Asked
from kb_dr_tests.bench.measure_contest import measure_contest
from kb_dr_tests.bench.measure_synced import measure_synced
from kb_dr_tests.bench.results import Findings, LeftOut, together
from kb_dr_tests.bench.site import OVER_TLS, STORES, Site, running_site
from kb_dr_tests.bench.transfers import measure_transfers
from kb_dr_tests.bench.wal_calls import measure_calls
from kb_dr_tests.bench.wal_contest import STORES as WAL_STORES
from kb_dr_tests.bench.wal_contest import measure_wal_contest
from kb_dr_tests.bench.whole_tree import orphans_adopted

Say = Callable[[str], None]

_DUMPED_MAJOR = 16
"""The first whose pg_dump compresses with zstd, too."""

_HUGE_MIB = 5000
_HUGE_ROUNDS = 2
_SEGMENT_MIB = 16
_BASE_MIB = 2000
"""PostgreSQL's own files and the WAL it keeps."""
_TIMES_SIZE = 5.5
"""The database, a repository of each contestant, and what is restored from one of them."""
_TIMES_SEGMENTS = 4
"""In pg_wal of the source and of a replay, plain beside it, and in a repository."""


@dataclass
class Workbench:
    """What the parts of one run share; the site is there from its first use on."""

    asked: Asked
    directory: Path
    cores: int
    say: Say
    _stack: ExitStack = field(default_factory=ExitStack)
    _site: Site | None = None

    @property
    def site(self) -> Site:
        """PostgreSQL with the first rows, and an S3 server."""
        if self._site is None:
            self.say("starting PostgreSQL and the S3 server")
            over_tls = OVER_TLS in self.asked.stores
            self._site = self._stack.enter_context(
                running_site(self.directory, major=MAJOR, over_tls=over_tls)
            )
            self._site.prepare(self.asked.seed_entries)
        return self._site

    def filled_to(self, mib: int) -> Site:
        """The site with a database of about that size."""
        self.say(f"filling the database to {mib} MiB")
        self.site.fill_to(mib)
        return self.site

    def stores(self, known: Sequence[str]) -> tuple[str, ...]:
        """Those asked for that a part knows."""
        return tuple(each for each in known if each in self.asked.stores)

    def rounds(self, mib: int) -> int:
        """Fewer of what takes many minutes, and is steady."""
        return min(self.asked.rounds, _HUGE_ROUNDS) if mib >= _HUGE_MIB else self.asked.rounds

    def close(self) -> None:
        """Stop all servers and remove everything."""
        self._stack.close()


@dataclass(frozen=True, slots=True)
class Planned:
    """One part, before it is measured."""

    kind: str
    """What ``--only`` names."""
    name: str
    """What it is kept under."""
    measure: Callable[[Workbench], Findings]


def _wal(bench: Workbench) -> Findings:
    asked = bench.asked
    tries, facts = measure_wal_contest(
        bench.site, bench.stores(WAL_STORES), asked.segments, asked.rounds, bench.say
    )
    return Findings(tries=tuple(tries), facts=tuple(facts))


def _calls(bench: Workbench) -> Findings:
    return Findings(calls=tuple(measure_calls(bench.site, bench.stores(STORES), bench.say)))


def _idle(bench: Workbench) -> Findings:
    # The path of a socket may be 107 bytes long: not below the directory of the bench.
    with tempfile.TemporaryDirectory(prefix="kb-dr-idle-", dir="/tmp") as parent:
        found, _, waits = idle.measure(
            Path(parent) / "sandbox",
            seconds=bench.asked.idle_seconds,
            rounds=bench.asked.rounds,
        )
    return Findings(idle=(found,), waiting=waits)


def _dumps(bench: Workbench) -> Findings:
    with running_site(bench.directory, major=_DUMPED_MAJOR) as site:
        archives, loads = measure_dumps(site, bench.asked.dump_mib, bench.asked.rounds, bench.say)
    return Findings(archives=tuple(archives), loads=tuple(loads))


def _limits(bench: Workbench, mib: int) -> Findings:
    transfers, memory = measure_transfers(
        bench.filled_to(mib),
        bench.stores(CONTEST_STORES),
        mib,
        bench.rounds(mib),
        bench.cores,
        bench.say,
    )
    return Findings(transfers=tuple(transfers), memory=tuple(memory))


def _contest(bench: Workbench, mib: int) -> Findings:
    """One of the stores at a time: each keeps room for one repository of each contestant."""
    site = bench.filled_to(mib)
    found: list[Findings] = []
    with orphans_adopted():
        for store in bench.stores(CONTEST_STORES):
            contestants = contestants_on(site, store)
            tries = measure_contest(site, store, contestants, bench.rounds(mib), bench.say)
            found.append(
                Findings(tries=tuple(tries), facts=tuple(each.facts for each in contestants))
            )
    missing = (LeftOut(*sentence.split(": ", 1)) for sentence in not_measured())
    return together([*found, Findings(left_out=tuple(missing))])


def _fsync(bench: Workbench, mib: int) -> Findings:
    site = bench.filled_to(mib)
    return Findings(synced=tuple(measure_synced(site, bench.rounds(mib), bench.say)))


def _growth(bench: Workbench) -> Findings:
    asked = bench.asked
    verbs = growth.measure_verbs(asked.growth_backups, bench.directory, bench.say)
    replayed = restore_over(asked.growth_segments, bench.directory, bench.say)
    return Findings(growth=(*growth.verbs_growth(verbs), *growth.segments_growth(replayed)))


def _of_size(measure: Callable[[Workbench, int], Findings], mib: int) -> Callable[..., Findings]:
    return lambda bench: measure(bench, mib)


KINDS = ("idle", "calls", "wal", "dumps", "limits", "contest", "fsync", "growth")
"""What ``--only`` knows, in the order in which they are run."""


def plan(asked: Asked) -> tuple[Planned, ...]:
    """All parts, in order: idle before any server is there, WAL before the database grows."""
    parts = []
    if asked.idle_seconds:
        parts.append(Planned("idle", "idle", _idle))
    if asked.segments:
        parts.append(Planned("calls", "calls", _calls))
        parts.append(Planned("wal", "wal", _wal))
    if asked.dump_mib:
        parts.append(Planned("dumps", "dumps", _dumps))
    for mib in asked.sizes_mib:
        parts.append(Planned("limits", f"limits, {mib} MiB", _of_size(_limits, mib)))
        parts.append(Planned("contest", f"contest, {mib} MiB", _of_size(_contest, mib)))
        parts.append(Planned("fsync", f"fsync, {mib} MiB", _of_size(_fsync, mib)))
    if asked.growth_backups:
        parts.append(Planned("growth", "growth", _growth))
    return tuple(parts)


def needed_bytes(asked: Asked, parts: Iterable[Planned]) -> int:
    """What these parts take on disk at their worst moment, about."""
    kinds = {each.kind for each in parts}
    largest = max(asked.sizes_mib, default=0) * _TIMES_SIZE
    segments = asked.segments * _SEGMENT_MIB * _TIMES_SEGMENTS if "wal" in kinds else 0
    dumps = asked.dump_mib * 5 if "dumps" in kinds else 0
    return int(_BASE_MIB + max(largest, segments, dumps)) << 20


def free_bytes(directory: Path) -> int:
    """What may be taken there."""
    return shutil.disk_usage(directory).free
