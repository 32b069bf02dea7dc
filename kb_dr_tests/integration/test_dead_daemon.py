"""Dagster's daemon is killed for good: nothing pings any more, and the switch elsewhere says so."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kb_dr_tests.protected_service import environment
from kb_dr_tests.sinks.ping_sink import PingSink

_DEFINITIONS = """\
import dagster as dg

from kb_dr.defs.resources import InstallationDoor


@dg.sensor(
    job_name="none", minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING
)
def watched():
    # What the job of the minute does when its checks are through, without the wait for it.
    installation = InstallationDoor().open()
    installation.note_watch(installation.clock.now())
    return dg.SkipReason("noted")


@dg.job(name="none")
def none():
    pass


defs = dg.Definitions(jobs=[none], sensors=[watched])
"""
_SECONDS = 120.0


def test_a_dead_daemon_is_missed(tmp_path: Path) -> None:
    (tmp_path / "defs.py").write_text(_DEFINITIONS)
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with PingSink() as sink:
        settings = {
            "DAGSTER_HOME": str(tmp_path),
            "KB_DR_STATE_DIR": str(tmp_path / "state"),
            "KB_DR_REPOSITORY_URL": str(tmp_path / "primary"),
            "KB_DR_PING_WATCH_URL": sink.url("watch"),
        }
        daemon = subprocess.Popen(
            [sys.executable, "-m", "dagster._daemon", "run", "-f", str(tmp_path / "defs.py")],
            env=environment(settings),
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            until(lambda: len(sink.pings("watch")) >= 2)
            assert sink.state("watch", period=60, grace=60) == "up"
        finally:
            os.killpg(daemon.pid, signal.SIGKILL)  # with the code server it started
            daemon.wait()

        told = len(sink.pings("watch"))
        until(lambda: sink.state("watch", period=1, grace=1) == "down")
        assert len(sink.pings("watch")) <= told + 1  # one may have been under way


def until(holds: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + _SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
