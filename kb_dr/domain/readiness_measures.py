"""What was promised beside what is measured: RPO, RTO, and how old the evidence is."""

from collections.abc import Sequence
from datetime import datetime

from kb_dr.domain.copies import copy_that_counts
from kb_dr.domain.objective import CLOCK_SLACK_SECONDS, Limits
from kb_dr.domain.proof import Outcome
from kb_dr.domain.readiness import Measure
from kb_dr.domain.status import Status


def measures_of(status: Status, limits: Limits) -> tuple[Measure, ...]:
    """One row for each promise; of several copies the worst, and none where one is not known."""
    rto, now = status.rto, status.now
    told = [each.forecast.seconds for each in status.forecasts]
    slowest = max((each for each in told if each is not None), default=None)
    unknown = [each.copy for each in status.forecasts if each.forecast.seconds is None]
    worst = max(status.rpo, key=lambda each: each.seconds or 0.0, default=None)
    unmeasured = [each.copy for each in status.rpo if each.seconds is None]
    ages = {each.copy: each.newest_backup for each in status.copies}
    oldest = min((each.finished for each in ages.values() if each is not None), default=None)
    without = [copy for copy, newest in ages.items() if newest is None]
    return (
        _measure("RPO: lost if disaster struck now", limits.rpo_seconds, status.rpo_seconds,
                 _unless(unmeasured, f"worst copy: {worst.copy}" if worst else "no copy")),
        _measure("RTO: last proven restore", limits.rto_seconds, rto.seconds if rto else None,
                 f"{rto.backup_id} from {rto.copy}" if rto else "no restore was proven"),
        _measure("RTO: forecast for now", limits.rto_seconds, None if unknown else slowest,
                 _unless(unknown, "slowest copy")),
        _measure("age of the newest backup", limits.backup_age_seconds,
                 None if without else _since(oldest, now),
                 _unless(without, "the copy that is farthest behind")),
        _proof_age(status, limits),
    )  # fmt: skip


def _proof_age(status: Status, limits: Limits) -> Measure:
    name, names = "age of the newest proof", [each.copy for each in status.copies]
    if not names:
        return _measure(name, limits.proof_age_seconds, None, "no copy")
    counting = copy_that_counts(names)
    newest = next(each.newest_proof for each in status.copies if each.copy == counting)
    of = f"{newest.id} from {counting}" if newest else f"no backup is proven from {counting}"
    seconds = _since(newest.proven_at if newest else None, status.now)
    return _measure(name, limits.proof_age_seconds, seconds, of)


def _measure(name: str, allowed: float, seconds: float | None, of: str) -> Measure:
    if seconds is None:
        return Measure(name, allowed, None, of, Outcome.COULD_NOT_RUN)
    # Not written as `seconds > allowed`: a number that is none must not pass.
    held = -CLOCK_SLACK_SECONDS <= seconds <= allowed
    return Measure(name, allowed, seconds, of, Outcome.PASSED if held else Outcome.FAILED)


def _unless(missing: Sequence[str], of: str) -> str:
    return f"not known of {', '.join(missing)}" if missing else of


def _since(at: datetime | None, now: datetime) -> float | None:
    return None if at is None else (now - at).total_seconds()
