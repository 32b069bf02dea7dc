"""Clocks that stand days ago: for the server, and for kb-dr itself."""

from datetime import datetime, timedelta
from pathlib import Path

from kb_dr.adapters.clock import SystemClock

_LIBRARIES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib/faketime/libfaketime.so.1")


class DaysAgo(SystemClock):
    """The present, so many days ago."""

    def __init__(self, days: float) -> None:
        self.days = days

    def now(self) -> datetime:
        return super().now() - timedelta(days=self.days)


def environment_days_ago(days: float) -> dict[str, str]:
    """What makes a program believe so; its own waits go on as ever."""
    found = [path for pattern in _LIBRARIES for path in Path("/").glob(pattern.lstrip("/"))]
    assert found, "libfaketime is missing: scripts/install-test-programs"
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME": f"-{days:g}d",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
