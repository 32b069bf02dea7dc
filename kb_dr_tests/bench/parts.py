"""The parts of the bench: what each of them measures, in the order they are run."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from kb_dr_tests.bench import growth, idle
from kb_dr_tests.bench.contestants.field import contestants_on, not_measured
from kb_dr_tests.bench.dumps import measure_dumps
from kb_dr_tests.bench.growth_segments import restore_over
from kb_dr_tests.bench.kept import Asked
from kb_dr_tests.bench.measure_contest import measure_contest
from kb_dr_tests.bench.measure_synced import measure_synced
from kb_dr_tests.bench.results import Findings, LeftOut
from kb_dr_tests.bench.site import MAJOR, OVER_TLS, STORES, Site, running_site
from kb_dr_tests.bench.transfers import Alone, measure_alone, measure_transfers
from kb_dr_tests.bench.wal_calls import measure_calls
from kb_dr_tests.bench.wal_contest import measure_wal_contest
from kb_dr_tests.bench.whole_tree import orphans_adopted

Say = Callable[[str], None]

_DUMPED_MAJOR = 16
"""The first whose pg_dump compresses with zstd, too."""

_SEGMENT_MIB = 16
_BASE_MIB = 6000
"""PostgreSQL's own files, and the WAL it keeps when it is filled."""
_TIMES_SIZE = 3.3
"""The database, the repository of one contestant at a time, and what is restored from it."""
_TIMES_STAGES = 4.5
"""The database, a base backup in three forms, and what is unpacked or restored from it; each round
adds a backup to the repository."""
_TIMES_SEGMENTS = 4
"""In pg_wal of the source and of a replay, plain beside it, and in a repository."""
_TIMES_DUMPED = 5


@dataclass
class Workbench:
    """What the parts of one run share; the site is there from its first use on."""

    asked: Asked
    directory: Path
    cores: int
    say: Say
    _stack: ExitStack = field(default_factory=ExitStack)
    _site: Site | None = None
    _alone: tuple[int, Alone] | None = None

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

    def stages_of(self, mib: int) -> Alone:
        """Each local stage alone at that size: measured once for all stores."""
        if self._alone is None or self._alone[0] != mib:
            self.forget_stages()
            found = measure_alone(self.filled_to(mib), mib, self.asked.rounds, self.say)
            self._alone = mib, found
        return self._alone[1]

    def forget_stages(self) -> None:
        """Remove what they are measured on: three forms of the database."""
        if self._alone is not None:
            self._alone[1].forget()
            self._alone = None

    def close(self) -> None:
        """Stop all servers and remove everything."""
        self._stack.close()


@dataclass(frozen=True, slots=True)
class Planned:
    """One part, before it is measured."""

    kind: str
    """What ``--only`` names."""
    name: str
    """What it is kept under: measured again, it takes the place of what it was."""
    measure: Callable[[Workbench], Findings]
    needed_mib: float = 0.0
    """On disk at its worst moment, about, beside PostgreSQL's own files."""


def _wal(bench: Workbench, store: str) -> Findings:
    asked = bench.asked
    tries, facts = measure_wal_contest(
        bench.site, (store,), asked.segments, asked.rounds, bench.say
    )
    return Findings(tries=tuple(tries), facts=tuple(facts))


def _calls(bench: Workbench) -> Findings:
    return Findings(calls=tuple(measure_calls(bench.site, bench.asked.stores, bench.say)))


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


def _limits(bench: Workbench, mib: int, store: str) -> Findings:
    alone = bench.stages_of(mib)
    transfers, memory = measure_transfers(
        bench.site, store, alone, bench.asked.rounds, bench.cores, bench.say
    )
    return Findings(transfers=tuple(transfers), memory=tuple(memory))


def _contest(bench: Workbench, mib: int, store: str) -> Findings:
    bench.forget_stages()
    site = bench.filled_to(mib)
    with orphans_adopted():
        contestants = contestants_on(site, store)
        tries = measure_contest(site, store, contestants, bench.asked.rounds, bench.say)
    return Findings(
        tries=tuple(tries),
        facts=tuple(each.facts for each in contestants),
        left_out=tuple(LeftOut(*sentence.split(": ", 1)) for sentence in not_measured()),
    )


def _fsync(bench: Workbench, mib: int) -> Findings:
    bench.forget_stages()
    site = bench.filled_to(mib)
    return Findings(synced=tuple(measure_synced(site, bench.asked.rounds, bench.say)))


def _growth(bench: Workbench) -> Findings:
    asked = bench.asked
    verbs = growth.measure_verbs(asked.growth_backups, bench.directory, bench.say)
    replayed = restore_over(asked.growth_segments, bench.directory, bench.say)
    return Findings(growth=(*growth.verbs_growth(verbs), *growth.segments_growth(replayed)))


KINDS = ("idle", "calls", "wal", "dumps", "limits", "contest", "fsync", "growth")
"""What ``--only`` knows, in the order of the page."""

_OPTIONS: Mapping[str, str] = {
    "idle": "rounds",
    "calls": "store seed-entries",
    "wal": "segments rounds store seed-entries",
    "dumps": "dump-mib rounds",
    "limits": "mib rounds store seed-entries",
    "contest": "mib rounds store seed-entries",
    "fsync": "mib rounds seed-entries",
    "growth": "",
}
"""What each kind of part goes by."""


def plan(asked: Asked, only: Sequence[str] = ()) -> tuple[Planned, ...]:
    """All parts, or those of the kinds in ``only``, in the order in which they are run.

    Idle comes before any server is there, WAL before the database grows.
    """
    parts = []
    if asked.idle_seconds:
        parts.append(Planned("idle", "idle", _idle))
    if asked.segments:
        parts.append(Planned("calls", "calls", _calls))
        needed = 1.0 * asked.segments * _SEGMENT_MIB * _TIMES_SEGMENTS
        parts += [
            Planned("wal", f"wal, {store}", partial(_wal, store=store), needed)
            for store in asked.stores
        ]
    if asked.dump_mib:
        parts.append(Planned("dumps", "dumps", _dumps, asked.dump_mib * _TIMES_DUMPED))
    for mib in asked.sizes_mib:
        for kind, measure, times in (
            ("limits", _limits, _TIMES_STAGES + asked.rounds),
            ("contest", _contest, _TIMES_SIZE),
        ):
            parts += [
                Planned(kind, f"{kind}, {mib} MiB, {store}",
                        partial(measure, mib=mib, store=store), mib * times)
                for store in asked.stores
            ]  # fmt: skip
        needed = mib * _TIMES_SIZE
        parts.append(Planned("fsync", f"fsync, {mib} MiB", partial(_fsync, mib=mib), needed))
    if asked.growth_backups:
        parts.append(Planned("growth", "growth", _growth))
    return tuple(each for each in parts if not only or each.kind in only)


def place_on_page(name: str) -> tuple[int, ...]:
    """Sorts the names of parts: by kind, size and store."""
    kind, *rest = name.split(", ")
    sizes = [int(each.split()[0]) for each in rest if each.endswith(" MiB")]
    stores = [STORES.index(each) for each in rest if each in STORES]
    return (KINDS.index(kind), *sizes, *stores)


def arguments(asked: Asked, only: Sequence[str] = ()) -> str:
    """The words that ask for the same."""
    kinds = [kind for kind in KINDS if not only or kind in only]
    used = {option for kind in kinds for option in _OPTIONS[kind].split()}
    values = {
        "mib": ",".join(str(mib) for mib in asked.sizes_mib) or "0",
        "rounds": asked.rounds,
        "segments": asked.segments,
        "dump-mib": asked.dump_mib,
        "seed-entries": asked.seed_entries,
    }
    words = ["--quick"] if asked.quick else []
    words += [f"--only {kind}" for kind in kinds if only]
    words += [f"--{option} {value}" for option, value in values.items() if option in used]
    words += [f'--store "{store}"' for store in asked.stores if "store" in used]
    return " ".join(words)


def unmeasured(names: Iterable[str]) -> tuple[str, ...]:
    """Parts of kinds, sizes and stores of which something else was measured, by their names."""
    known = set(names)
    places = [place for name in known for place in name.split(", ")[1:]]
    sizes = {place for place in places if place.endswith(" MiB")}
    stores = set(places) - sizes
    wanted = {"idle", "calls", "dumps", "growth"}
    wanted |= {f"wal, {store}" for store in stores}
    wanted |= {f"fsync, {size}" for size in sizes}
    wanted |= {
        f"{kind}, {size}, {store}"
        for kind in ("limits", "contest") for size in sizes for store in stores
    }  # fmt: skip
    return tuple(sorted(wanted - known, key=place_on_page))


def needed_bytes(parts: Iterable[Planned]) -> int:
    """What these parts take on disk at their worst moment, about."""
    return int(_BASE_MIB + max((each.needed_mib for each in parts), default=0.0)) << 20


def free_bytes(directory: Path) -> int:
    """What may be taken there."""
    return shutil.disk_usage(directory).free
