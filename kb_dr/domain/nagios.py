"""The status as a Nagios plugin says it.

Source: the Monitoring Plugins Development Guidelines (output, return codes, performance data).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from kb_dr.domain.alert_kinds import KINDS
from kb_dr.domain.finding import Finding
from kb_dr.domain.objective import Limits
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.status import Status
from kb_dr.domain.wording import age


class NagiosState(IntEnum):
    """The values are exit statuses."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Said:
    """What a check says, and how it ends."""

    state: NagiosState
    output: str
    """One line with performance data; lines with all that was seen may follow."""


_LONGEST = 700
"""Characters of the first line: some receivers cut it off at 1,024."""

_KIND_OF = (
    (r".* can be read", "repositories_answer"),
    (r"RPO of .*", "rpo_holds"),
    (r"age of the newest backup in .*", "newest_backup_is_young"),
    (r"age of the newest proof.*", "newest_proof_is_young"),
    (r"newest backup in .*", "restore_proven"),
    (r"clocks", "clocks_agree"),
    (r"negative controls", "verifier_sees_damage"),
    (r"recovery drill", "a_passed_drill_is_recent"),
)
"""Objectives that are an alert as well, and so are as bad as that."""


def severity_of(objective: Finding) -> Severity:
    """How bad it is that this objective does not hold; critical unless something says otherwise."""
    if objective.subject.startswith("RTO forecast"):
        return Severity.WARNING  # it may still be mended before a restore takes so long
    for pattern, kind in _KIND_OF:
        if re.fullmatch(pattern, objective.subject):
            return KINDS[kind].severity
    return Severity.CRITICAL


def judge_for_nagios(status: Status) -> NagiosState:
    """The worst that is known; UNKNOWN when nothing failed and something could not be told.

    A repository that cannot be read is critical: nobody can recover from it now.
    """
    failed = [each for each in status.objectives if each.outcome is Outcome.FAILED]
    if any(copy.problem for copy in status.copies) or any(
        severity_of(each) is Severity.CRITICAL for each in failed
    ):
        return NagiosState.CRITICAL
    if failed:
        return NagiosState.WARNING
    # As the status itself says it: what is added there cannot be green here.
    return NagiosState.OK if status.holds and status.recoverable else NagiosState.UNKNOWN


def say_status(status: Status, limits: Limits) -> Said:
    """All of it: the line, the performance data, and every objective below."""
    state = judge_for_nagios(status)
    broken = [each for each in status.objectives if not each.good]
    # What failed is named before what could not be told.
    broken.sort(key=lambda each: each.outcome is not Outcome.FAILED)
    if broken:
        said = "; ".join(f"{each.subject}: {each.seen}" for each in broken)
        text = f"{len(broken)} of {len(status.objectives)} objectives do not hold: {said}"
        if state is NagiosState.UNKNOWN:
            text = f"nobody can tell whether all {len(status.objectives)} objectives hold: {said}"
    elif not status.recoverable:
        text = "not recoverable"
    else:
        rto = status.rto.seconds if status.rto else None
        text = (
            f"recoverable, all {len(status.objectives)} objectives hold, "
            f"RPO {age(status.rpo_seconds)}, RTO {age(rto)}"
        )
    lines = [f"{each.outcome}: {each.subject}: {each.seen}" for each in status.objectives]
    lines += [f"note: {note}" for note in status.notes]
    return say(state, text, " ".join(_performance(status, limits)), lines)


def say(
    state: NagiosState, text: str, performance: str = "", lines: list[str] | None = None
) -> Said:
    """One line, and those below it; nothing in them can be taken for performance data."""
    first = f"KB_DR {state.name} - {_one_line(text, _LONGEST)}"
    if performance:
        first += f" | {performance}"
    return Said(state, "\n".join([first, *(_one_line(each, 2000) for each in lines or ())]))


def _one_line(text: str, longest: int) -> str:
    flat = " ".join(text.replace("|", "/").split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def _performance(status: Status, limits: Limits) -> Iterator[str]:
    """'label'=value[unit];warn;crit;min: seconds all of them, U where it is not known."""
    yield _datum("rpo", status.rpo_seconds, limits.rpo_seconds)
    for rpo in status.rpo:
        yield _datum(f"rpo_{rpo.copy}", rpo.seconds, limits.rpo_seconds)
    yield _datum("rto", status.rto.seconds if status.rto else None, limits.rto_seconds)
    for copy in status.copies:
        newest = copy.newest_backup
        backup_age = (status.now - newest.finished).total_seconds() if newest else None
        yield _datum(f"backup_age_{copy.copy}", backup_age, limits.backup_age_seconds)
    for copy in status.copies:
        proof = copy.newest_proof
        proof_age = (status.now - proof.proven_at).total_seconds() if proof else None
        yield _datum(f"proof_age_{copy.copy}", proof_age, limits.proof_age_seconds)


def _datum(label: str, value: float | None, limit: float) -> str:
    seen = "U" if value is None else f"{value:.1f}s"
    # Written out: 14 days as 1.2096e+06 is no number to the guidelines.
    return f"{label}={seen};;{limit:.15g};0"
