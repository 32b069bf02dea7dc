"""A backlog of events is read to its end, and nothing in it is missed; no time is asserted."""

from pathlib import Path

import pytest

from kb_dr.defs import alerts
from kb_dr_tests.bench.alert_sensor import event_log, measure


def test_no_failure_in_a_backlog_is_missed_however_little_time_a_tick_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "READ_SECONDS", 0.2)
    with event_log(tmp_path) as instance:
        history, ticks = measure(instance, runs=40, events=120)

    assert len(history.failed) == len(history.red) == 1
    assert ticks.missed == frozenset()
