"""Negative controls: damage done on purpose, to see whether the verifier notices (F8).

A verifier that calls damaged things PROVEN is blind, and then none of its greens means anything:
all of them are void, until the same control has come out well and a new proof was made.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from kb_dr.domain.proof import Verdict, Void, is_dump


class Damage(StrEnum):
    """What is done to a copy, or to the cluster restored from it."""

    WAL_MISSING = "wal_missing"
    WAL_EMPTY = "wal_empty"
    HISTORY_MISSING = "history_missing"
    CHUNK_FLIPPED = "chunk_flipped"
    CHUNK_FORGED = "chunk_forged"
    WRONG_KEY = "wrong_key"
    ROWS_DROPPED = "rows_dropped"
    INDEX_STALE = "index_stale"
    VECTOR_INDEX_STALE = "vector_index_stale"


@dataclass(frozen=True, slots=True)
class Described:
    """One damage: what it is, and what has to be said of it."""

    what: str
    fits: Verdict
    """The one verdict that fits."""
    always: bool
    """Whether it can be done to every backup on every host that holds the keys. The others need
    a backup of the right kind, or programs that not every host has."""


CATALOGUE: dict[Damage, Described] = {
    Damage.WAL_MISSING: Described(
        "a WAL segment between the backup and the newest is missing", Verdict.FAILED, True
    ),
    Damage.WAL_EMPTY: Described(
        "the object of a WAL segment has zero bytes", Verdict.FAILED, True
    ),
    Damage.HISTORY_MISSING: Described(
        "the history files of the timelines are missing", Verdict.FAILED, False
    ),
    Damage.CHUNK_FLIPPED: Described(
        "one bit in the middle of a chunk is flipped", Verdict.FAILED, True
    ),
    Damage.CHUNK_FORGED: Described(
        "one bit of a chunk is flipped, and the manifest was made to fit", Verdict.FAILED, True
    ),
    Damage.WRONG_KEY: Described(
        "only a foreign identity is at hand", Verdict.NOT_PROVEN, True
    ),
    Damage.ROWS_DROPPED: Described(
        "a restored table has lost rows", Verdict.FAILED, False
    ),
    Damage.INDEX_STALE: Described(
        "a restored B-tree lacks rows of its table", Verdict.FAILED, False
    ),
    Damage.VECTOR_INDEX_STALE: Described(
        "a restored vector index lacks rows of its table", Verdict.FAILED, False
    ),
}  # fmt: skip


OF_DUMPS = frozenset(
    {
        *(Damage.CHUNK_FLIPPED, Damage.CHUNK_FORGED, Damage.WRONG_KEY),
        *(Damage.ROWS_DROPPED, Damage.INDEX_STALE, Damage.VECTOR_INDEX_STALE),
    }
)
"""What can be done to a logical dump, too: it has no WAL, and no history."""


@dataclass(frozen=True, slots=True)
class Harm:
    """Damage that was done."""

    detail: str
    """What exactly, for people."""
    names: str
    """What whoever finds it has to name: a segment, an object, a table, an index."""


class ControlOutcome(StrEnum):
    """What one control says of the verifier."""

    GOOD = "good"
    """The fitting verdict, and the damage is named."""
    BLIND = "blind"
    """Damaged, and called PROVEN."""
    MISJUDGED = "misjudged"
    """Another verdict than fits, or the right one without a word of the damage."""
    COULD_NOT_RUN = "could_not_run"
    """The damage could not be done here, or something else kept the proof from judging it."""


@dataclass(frozen=True, slots=True)
class ControlResult:
    """One damage, and what the verifier made of it."""

    damage: Damage
    detail: str
    """What exactly was damaged; empty when nothing could be."""
    expected: Verdict
    verdict: Verdict | None
    """None when no proof was run."""
    reason: str
    """The proof's own; or why there was none."""
    named: bool
    outcome: ControlOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class ControlRun:
    """The record of one round of controls, appended to the repositories and never rewritten."""

    schema_version: int
    id: str
    """Begins with the time it started, ``YYYYMMDD-HHMMSS-…``: ids sort by time."""
    backup_id: str
    manifest_digest: str
    copy: str
    """The copy that was read; nothing was written to it but this record."""
    url: str
    started: datetime
    finished: datetime
    results: tuple[ControlResult, ...]
    """One for each control asked for. A round that was broken off leaves a record only when a
    control was blind by then."""
    tools: dict[str, str]
    host: str

    @property
    def of_dump(self) -> bool:
        """Whether a logical dump was damaged: what is seen there was not seen after a replay."""
        return is_dump(self.backup_id)

    @property
    def blind(self) -> tuple[ControlResult, ...]:
        """The damage that was called PROVEN."""
        return tuple(each for each in self.results if each.outcome is ControlOutcome.BLIND)

    @property
    def misjudged(self) -> tuple[ControlResult, ...]:
        """The damage that was judged wrongly, or not named."""
        return tuple(each for each in self.results if each.outcome is ControlOutcome.MISJUDGED)

    @property
    def passed(self) -> bool:
        """Whether the verifier saw damage wherever there was some.

        What can always be done has to have been done. A round in which nothing came out well,
        because this host can verify nothing at all, has shown nothing.
        """
        outcomes = [(each.outcome, CATALOGUE[each.damage].always) for each in self.results]
        return any(outcome is ControlOutcome.GOOD for outcome, _ in outcomes) and all(
            outcome is ControlOutcome.GOOD
            or (outcome is ControlOutcome.COULD_NOT_RUN and not always)
            for outcome, always in outcomes
        )


def judge_control(
    damage: Damage, verdict: Verdict, names: str, texts: Iterable[str]
) -> tuple[ControlOutcome, bool]:
    """What a verdict says of the verifier, and whether the damage was named.

    ``names`` has to appear in one of ``texts``, what the proof gives as reasons; empty when the
    damage was never done. A verifier that ends with PROVEN without even having looked where it
    would have been done is blind as well.
    """
    named = bool(names) and any(names in text for text in texts)
    if verdict is Verdict.PROVEN:
        return ControlOutcome.BLIND, named
    if verdict is CATALOGUE[damage].fits and named:
        return ControlOutcome.GOOD, named
    if verdict is Verdict.NOT_PROVEN or not names:
        # Something else was the reason: of this damage nothing was learned.
        return ControlOutcome.COULD_NOT_RUN, named
    return ControlOutcome.MISJUDGED, named


FOREVER = datetime.max.replace(tzinfo=UTC)

ALL = Void(FOREVER)
"""While every proof is void, also those still to come."""


def void_through(runs: Iterable[ControlRun]) -> Void | None:
    """Which greens are void; None when none is.

    Once a damage was called PROVEN, all of them are (``ALL``) until the very same damage is
    seen again, on any host: for the host that was blind to it, until it sees it itself. Damage of
    a dump and damage of a base backup are two, whatever they have in common. Nobody
    knows when in between a verifier was mended: what was begun before the end of that round
    stays void.
    """
    known = in_order(runs)
    through = _blind_through(known)
    if through is None:
        return None
    hosts = {run.host for run in known if run.blind}
    ends = {host: _blind_through([run for run in known if run.host == host]) for host in hosts}
    return Void(through, {host: end for host, end in ends.items() if end and end > through})


def _blind_through(known: Iterable[ControlRun]) -> datetime | None:
    """Until when these rounds, oldest first, leave somebody blind; None when nobody ever was."""
    latest: datetime | None = None
    blind: dict[tuple[bool, Damage], bool] = {}
    for run in known:
        mended = False
        for each in run.results:
            which = (run.of_dump, each.damage)
            if each.outcome is ControlOutcome.BLIND:
                blind[which] = True
            elif each.outcome is ControlOutcome.GOOD and blind.get(which):
                blind[which] = False
                mended = True
        if mended:
            latest = run.finished if latest is None else max(latest, run.finished)
    return FOREVER if any(blind.values()) else latest


def blind_hosts(runs: Iterable[ControlRun]) -> tuple[str, ...]:
    """Hosts whose greens are void although another host has seen the damage since."""
    void = void_through(runs)
    return tuple(sorted(host for host, end in void.hosts.items() if end == FOREVER) if void else ())


def why_void(runs: Iterable[ControlRun]) -> str:
    """The last time that damage was called PROVEN, in words; empty when it never was."""
    blind = [run for run in in_order(runs) if run.blind]
    if not blind:
        return ""
    seen = ", ".join(f"{each.damage} ({each.detail})" for each in blind[-1].blind)
    return f"negative control {blind[-1].id} came out PROVEN: {seen}"


def in_order(runs: Iterable[ControlRun]) -> list[ControlRun]:
    """Oldest first; of two that ended at once the blind one is believed, and so comes last."""
    return sorted(runs, key=lambda run: (run.finished, bool(run.blind), run.id))
