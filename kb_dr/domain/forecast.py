"""How long a restore would take now, from how long restores took: nothing is invented.

What grows with the database goes by the rates measured, WAL by seconds per segment, and what takes
the same each time by its median. Where nothing was measured, nothing is foretold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from kb_dr.domain.manifest import Manifest
from kb_dr.domain.proof import Phase, Proof, Verdict

FETCH, VERIFY_FILES, COMBINE = "fetch and unpack", "verify files", "combine"
REPLAY_TO_POINT, REPLAY = "replay to the restore point", "replay"
CHECKS_AT_POINT, CHECKS, PAGE_CHECKSUMS = "checks at the restore point", "checks", "page checksums"
"""Phases as restores and proofs name them."""

FETCH_DUMP, PREPARE, LOAD, ANALYZE = "fetch", "make the cluster", "load", "analyze"
"""Phases of a dump, beside the checks: none of them is one of a restore of files."""

BETWEEN = "between phases"
"""Starting and stopping servers, laying out and removing files: no phase of its own."""

NEWEST_RUNS = 3
"""Older ones say little of today's network and machine."""

_REPLAYS = (REPLAY_TO_POINT, REPLAY)
_GROW_WITH_BACKUP = (FETCH, VERIFY_FILES)
_OF_A_PROOF_ALONE = (CHECKS_AT_POINT, CHECKS, PAGE_CHECKSUMS, "read what else is named")
_NEEDED = (FETCH, VERIFY_FILES, REPLAY)


@dataclass(frozen=True, slots=True)
class RestoreWork:
    """What one restore has to move."""

    plain_bytes: int
    """Of the base backup, and of the increments to it, unpacked."""
    database_bytes: int
    """All databases together."""
    wal_segments: int
    """From where replay begins to where it ends."""
    segment_bytes: int
    combines: bool = False
    """Whether the cluster is put together from increments."""

    @classmethod
    def of(
        cls, manifest: Manifest, wal_segments: int, chain: Sequence[Manifest] = ()
    ) -> "RestoreWork":
        """The work of one backup, of the chain that leads to it and so many segments behind."""
        source = manifest.source
        files = [each for each in chain or (manifest,) if each.has_files]
        return cls(
            sum(each.plain_bytes for each in files),
            source.size_bytes,
            wal_segments,
            source.segment_bytes,
            combines=len(files) > 1,
        )


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """One restore that was measured to its end."""

    copy: str
    phases: tuple[Phase, ...]
    seconds: float
    """From begin to end: more than the phases together, by what is between them."""


@dataclass(frozen=True, slots=True)
class ForecastPhase:
    """One part of a restore, foretold."""

    name: str
    seconds: float
    basis: str
    """The rate it goes by."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """How long a restore would take, and why one may think so."""

    phases: tuple[ForecastPhase, ...]
    """In order; those that can be foretold."""
    seconds: float | None
    """Of all phases; None when a phase without which there is no restore was never measured."""
    basis: str
    """Which measurements, or what is missing."""

    @property
    def longest(self) -> ForecastPhase | None:
        """The phase that takes the most."""
        return max(self.phases, key=lambda each: each.seconds, default=None)


def measured_runs(proofs: Iterable[Proof]) -> list[MeasuredRun]:
    """The proofs that came to their end and were green, newest first: one that failed stopped
    somewhere on the way. Those of dumps are left out: loading says nothing of replay.
    """
    green = [proof for proof in proofs if proof.verdict is Verdict.PROVEN and not proof.of_dump]
    green.sort(key=lambda proof: proof.finished, reverse=True)
    return [MeasuredRun(proof.copy, proof.phases, proof.rto_seconds) for proof in green]


def forecast(
    work: RestoreWork, measured: Sequence[MeasuredRun], *, copy: str, checked: bool = True
) -> Forecast:
    """How long restoring ``work`` from ``copy`` would take.

    ``measured``: newest first; runs of another copy stand in where this one has none, and the
    basis says so. ``checked``: with the checks of a proof, which the measured RTO holds as well;
    without them it is what `kb-dr restore` does.
    """
    runs = [run for run in measured if run.copy == copy and run.phases][:NEWEST_RUNS]
    lent = ""
    if not runs:
        others = [run for run in measured if run.phases]
        runs = [run for run in others if run.copy == others[0].copy][:NEWEST_RUNS]
        lent = f": none of {copy} itself"
    if not runs:
        return Forecast((), None, "no restore was ever measured")
    plural = "s" * (len(runs) != 1)
    basis = f"measured in {len(runs)} proof{plural} of {runs[0].copy}{lent}"
    phases = []
    for name in dict.fromkeys(phase_of(phase.name) for run in runs for phase in run.phases):
        if (checked or name not in _OF_A_PROOF_ALONE) and (work.combines or name != COMBINE):
            found = _phase(name, work, [_parts(run, name) for run in runs])
            if found is not None:
                phases.append(found)
    between = median(max(0.0, run.seconds - _sum(run.phases)) for run in runs)
    phases.append(ForecastPhase(BETWEEN, between, "as long as before"))
    told = {phase.name for phase in phases}
    needed = (*_NEEDED, COMBINE) if work.combines else _NEEDED
    unmeasured = [name for name in needed if name not in told]
    if unmeasured:
        basis = f"not measured with its size: {', '.join(unmeasured)}"
        return Forecast(tuple(phases), None, basis)
    return Forecast(tuple(phases), _sum(phases), basis)


def _sum(phases: Iterable[Phase | ForecastPhase]) -> float:
    return sum(phase.seconds for phase in phases)


def phase_of(name: str) -> str:
    """The forecast's name of a phase: a proof replays in two parts, a restore in one."""
    return REPLAY if name in _REPLAYS else name


def _parts(run: MeasuredRun, name: str) -> list[Phase]:
    return [phase for phase in run.phases if phase_of(phase.name) == name]


def _phase(name: str, work: RestoreWork, runs: list[list[Phase]]) -> ForecastPhase | None:
    """One phase from all runs that had it; None when its rate is needed and not known."""
    every = [part for run in runs for part in run]
    sized = [(part.seconds, part.size_bytes) for part in every if part.size_bytes is not None]
    # A part that moved nothing still took its time: it counts in the rate of the others.
    seconds, size = sum(each[0] for each in sized), sum(each[1] for each in sized)
    if not size:
        if name in _NEEDED or sized:
            return None
        usual = median(sum(part.seconds for part in run) for run in runs if run)
        return ForecastPhase(name, usual, "as long as before")
    if name == REPLAY:
        each_segment = seconds / size * work.segment_bytes
        basis = f"{each_segment:.2f} s a segment, {work.wal_segments} segments"
        return ForecastPhase(name, each_segment * work.wal_segments, basis)
    bytes_now = work.plain_bytes if name in _GROW_WITH_BACKUP else work.database_bytes
    basis = f"{size / max(seconds, 1e-6) / 2**20:.1f} MiB/s, {bytes_now / 2**20:.0f} MiB"
    return ForecastPhase(name, seconds / size * bytes_now, basis)
