"""Do the repositories answer, and do the further copies follow the primary?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watched import Watched
from kb_dr.domain.wording import age, first_few


@dataclass(frozen=True, slots=True)
class Probed:
    """A repository that was read, written, and read again."""

    written_at: datetime
    """When the probe that was read back was written."""
    seconds: float
    """What it took to read the marker and to look at the probe, or to write it."""


def judge_answers(answers: Mapping[str, Probed | Unknown]) -> Watched:
    """``repositories_answer``: each copy's marker was read, and its probe read back as written.

    A repository that does not answer is broken, not unknown: nothing can be stored or read there.
    """
    parts, values = [], {}
    for copy, seen in answers.items():
        if isinstance(seen, Unknown):
            parts.append(Finding(copy, Outcome.FAILED, seen.why, seen.hint))
            continue
        values[f"answer_seconds_{copy}"] = seen.seconds
        said = f"read just now, last written {seen.written_at:%Y-%m-%d %H:%M:%S}Z"
        parts.append(Finding(copy, Outcome.PASSED, said))
    return conclude("repositories_answer", parts, values)


@dataclass(frozen=True, slots=True)
class Lag:
    """What one further copy lacks of the primary."""

    backups: Mapping[str, float]
    """Backup to the seconds since it ended, of those that are not there."""
    other: tuple[str, ...]
    """Backups of which another manifest stands there."""
    wal_seconds: float | None
    """How long the oldest segment it lacks has stood in the primary; None: it lacks none."""
    wal_segments: int
    """How many it lacks behind its newest, as far as they were counted."""
    wal_problem: str = ""
    """Why its WAL could not be compared; empty when it could."""


def judge_lag(lags: Mapping[str, Lag | Unknown], limit_seconds: float) -> Watched:
    """``copies_follow``: nothing stands in the primary for longer and not in a further copy.

    What is twice as late, or stands there as another, is critical.
    """
    name = "copies_follow"
    if not lags:
        said = "no further copy is configured"
        return conclude(name, [Finding("further copies", Outcome.NOT_APPLICABLE, said)])
    parts: list[Finding] = []
    values: dict[str, float | None] = {}
    critical = False
    for copy, lag in lags.items():
        if isinstance(lag, Unknown):
            parts.append(lag.about(f"backups in {copy}"))
            continue
        late = max(lag.backups.values(), default=0.0)
        values[f"backup_lag_seconds_{copy}"] = late
        values[f"missing_backups_{copy}"] = len(lag.backups)
        parts.append(_backups(copy, lag, limit_seconds))
        if not lag.wal_problem:
            values[f"wal_lag_seconds_{copy}"] = lag.wal_seconds or 0.0
            values[f"wal_lag_segments_{copy}"] = lag.wal_segments
        parts.append(_wal(copy, lag, limit_seconds))
        worst = max(late, lag.wal_seconds or 0.0)
        critical = critical or bool(lag.other) or worst > 2 * limit_seconds
    return conclude(name, parts, values, severity=Severity.CRITICAL if critical else None)


def _backups(copy: str, lag: Lag, limit: float) -> Finding:
    subject = f"backups in {copy}"
    if lag.other:
        said = f"another manifest than the primary's stands there: {_few(lag.other)}"
        return Finding(subject, Outcome.FAILED, said, f"`kb-dr copy --repair --to {copy}`.")
    late = {name: seconds for name, seconds in lag.backups.items() if not seconds <= limit}
    if late:
        longest = max(late.values())
        said = f"{_few(tuple(late))} not there after {age(longest)}, allowed {age(limit)}"
        return Finding(subject, Outcome.FAILED, said, f"`kb-dr copy --to {copy}`.")
    if lag.backups:
        said = f"{_few(tuple(lag.backups))} on the way, allowed {age(limit)}"
        return Finding(subject, Outcome.PASSED, said)
    return Finding(subject, Outcome.PASSED, "all of the primary's")


def _wal(copy: str, lag: Lag, limit: float) -> Finding:
    subject = f"WAL in {copy}"
    hint = f"`kb-dr copy --wal-only --to {copy}`, and read what it says."
    if lag.wal_problem:
        return Finding(subject, Outcome.COULD_NOT_RUN, lag.wal_problem, hint)
    if lag.wal_seconds is None:
        return Finding(subject, Outcome.PASSED, "as far as the primary's")
    said = (
        f"{lag.wal_segments} segments behind, the oldest for {age(lag.wal_seconds)}, allowed "
        f"{age(limit)}"
    )
    if lag.wal_seconds <= limit:
        return Finding(subject, Outcome.PASSED, said)
    return Finding(subject, Outcome.FAILED, said, hint)


def _few(names: Sequence[str]) -> str:
    return ", ".join(first_few(names, 3))
