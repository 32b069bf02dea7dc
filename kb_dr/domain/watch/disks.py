"""Have the file systems of this machine room?"""

from collections.abc import Mapping

from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.space import Space
from kb_dr.domain.watch.conclude import Unknown, conclude
from kb_dr.domain.watched import Watched


def judge_disks(
    places: Mapping[str, tuple[str, Space | Unknown]],
    warning_percent: float,
    critical_percent: float,
) -> Watched:
    """``disks_have_room``: no file system is used by more than ``warning_percent``.

    ``places`` are what lies there, as ``scratch``, each with its path and the room of the file
    system it is on. From ``critical_percent`` on it is critical.
    """
    parts: list[Finding] = []
    values: dict[str, float | None] = {}
    fullest = 0.0
    for what, (path, space) in places.items():
        subject = f"{what} ({path})"
        if isinstance(space, Unknown):
            parts.append(space.about(subject))
            continue
        used = space.used_percent
        values[f"used_percent_{what}"] = used
        values[f"free_bytes_{what}"] = space.free_bytes
        fullest = max(fullest, used)
        # Not written as `used > warning`: a number that is none must not pass.
        held = used <= warning_percent and used < critical_percent
        said = f"{space}; allowed {warning_percent:g} %"
        hint = "" if held else "Make room there, or move it to a larger disk."
        parts.append(Finding(subject, Outcome.PASSED if held else Outcome.FAILED, said, hint))
    severity = Severity.CRITICAL if fullest >= critical_percent else None
    return conclude("disks_have_room", parts, values, severity=severity)
