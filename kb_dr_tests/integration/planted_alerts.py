"""A process whose alerts hold every secret of its settings, as a library's own words might."""

import os
import sys
from datetime import UTC, datetime, timedelta

from kb_dr import logs
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity
from kb_dr.installation import Installation
from kb_dr.settings import load_settings
from kb_dr_tests.fakes import FakeClock
from kb_dr_tests.integration.test_planted_secrets import planted_values


def main(where: str) -> None:
    """Break, tell, and mend: on channels that fail at first."""
    logs.configure(10, log_format=logs.JSON, service="kb")
    settings = load_settings(dict(os.environ))
    texts = [text.strip() for text in planted_values(settings).values()]
    clock = FakeClock(datetime.now(UTC))
    opened = Installation(settings, clock)
    key = f"run/job_{where}"
    for state in (State.BROKEN, State.MENDED):
        told = " ".join(f"cannot log in as {text!r}" for text in texts)
        opened.take(
            [
                Notice(
                    f"{key}/{state}",
                    key,
                    "run_failed",
                    state,
                    Severity.CRITICAL,
                    clock.now(),
                    told,
                    do=told,
                    subjects=tuple(texts),
                    facts=tuple((text, text) for text in texts),
                )
            ]
        )
        opened.deliver(seconds=30)
        clock.pass_time(timedelta(minutes=16))
        opened.deliver(seconds=30)
    (alert,) = (each for each in opened.alerts(all=True) if each.key == key)
    if alert.open:
        raise SystemExit(f"it is still open: {alert}")


if __name__ == "__main__":
    main(sys.argv[1])
