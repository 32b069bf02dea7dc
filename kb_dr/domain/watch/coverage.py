"""Do the keys held here open everything, and was enough of what is kept shown to restore?"""

from collections.abc import Mapping
from dataclasses import dataclass

from kb_dr.domain.finding import Finding
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS
from kb_dr.domain.proof import Outcome
from kb_dr.domain.status import CopyStatus, Status
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watched import Watched
from kb_dr.domain.wording import age, first_few


@dataclass(frozen=True, slots=True)
class OpenedKeys:
    """What trying every key on one copy came to."""

    objects: int
    """Those looked at, and those they stand for."""
    closed: int
    """Looks at what nothing here opens, or that could not be made."""
    named: tuple[str, ...]
    """The first of those, for people."""


def judge_keys(copies: Mapping[str, OpenedKeys | Unknown], *, identities: int) -> Watched:
    """``keys_open``: everything retained opens with an identity of this machine."""
    name = "keys_open"
    if not identities:
        said = "this machine holds no identity; look where restores and proofs run"
        return conclude(name, [Finding("keys", Outcome.NOT_APPLICABLE, said)])
    parts, values = [], {}
    for copy, seen in copies.items():
        subject = f"keys of {copy}"
        if isinstance(seen, Unknown):
            parts.append(seen.about(subject))
            continue
        values[f"closed_objects_{copy}"] = seen.closed
        if seen.closed:
            said = f"{seen.closed} that nothing here opens: {', '.join(first_few(seen.named, 3))}"
            hint = "`kb-dr keys check` names them; find the identity: docs/keys.md."
            parts.append(Finding(subject, Outcome.FAILED, said, hint))
        elif not seen.objects:
            parts.append(Finding(subject, Outcome.COULD_NOT_RUN, "nothing is stored there", ""))
        else:
            parts.append(Finding(subject, Outcome.PASSED, f"all of {seen.objects} objects open"))
    return conclude(name, parts, values)


def judge_coverage(
    status: Status | Unknown,
    report: IntegrityReport | Unknown,
    proof_age_seconds: float,
    *,
    copies_percent: float,
    backups_percent: float,
) -> Watched:
    """``coverage_is_whole``: the share of copies with a fresh proof, as it is now, and that of
    backups with one, as the newest integrity report counted them.

    Copies are proven in turn, so a proof of one is fresh for so many times as long as there are
    copies; see hold_proof_ages().
    """
    name, of_copies, of_backups = "coverage_is_whole", "copies", "backups"
    parts: list[Finding] = []
    values: dict[str, float | None] = {}
    if isinstance(status, Unknown):
        parts.append(status.about(of_copies))
    else:
        allowed = proof_age_seconds * max(1, len(status.copies))
        stale = [each.copy for each in status.copies if not _is_fresh(each, status, allowed)]
        shown = len(status.copies) - len(stale)
        percent = 100.0 * shown / len(status.copies) if status.copies else 0.0
        values["covered_copies_percent"] = percent
        said = f"{shown} of {len(status.copies)} proven within {age(allowed)}"
        if stale:
            said += f", not {', '.join(stale)}"
        parts.append(_share(of_copies, percent, copies_percent, said))
    if isinstance(report, Unknown):
        if backups_percent > 0:
            parts.append(report.about(of_backups))
        else:
            parts.append(Finding(of_backups, Outcome.NOT_APPLICABLE, report.why))
    elif report.coverage.backups is None:
        said = f"report {report.id} counted none"
        outcome = Outcome.COULD_NOT_RUN if backups_percent > 0 else Outcome.NOT_APPLICABLE
        parts.append(Finding(of_backups, outcome, said))
    else:
        percent = 100.0 * report.coverage.backups
        values["covered_backups_percent"] = percent
        said = f"{percent:.0f} % proven within {age(report.proof_age_seconds)}, by {report.id}"
        parts.append(_share(of_backups, percent, backups_percent, said))
    return conclude(name, parts, values)


def _is_fresh(copy: CopyStatus, status: Status, allowed: float) -> bool:
    newest = copy.newest_proof
    if newest is None:
        return False
    return -CLOCK_SLACK_SECONDS <= (status.now - newest.proven_at).total_seconds() <= allowed


def _share(subject: str, percent: float, least: float, said: str) -> Finding:
    text = f"{said}; expected {least:g} % or more"
    if percent >= least:
        return Finding(subject, Outcome.PASSED, text)
    hint = "`kb-dr report --last` names what lacks a proof; `kb-dr verify ID --from COPY`."
    return Finding(subject, Outcome.FAILED, text, hint)
