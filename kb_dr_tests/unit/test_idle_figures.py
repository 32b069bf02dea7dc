"""What an idle minute costs is reckoned by process; what is loaded for nothing is not loaded."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kb_dr_tests.bench.contest import Idle
from kb_dr_tests.bench.idle import Process, between, by_part
from kb_dr_tests.bench.usage import clean_environment
from kb_dr_tests.bench.waiting import seconds_until_first

DAEMON = [Process(1, "python -m dagster._daemon run", 3.0, 0.5)]
WEB = [Process(2, "python -m dagster_webserver -h 127.0.0.1", 2.0, 0.0)]
CODE = [
    Process(3, "python -m dagster code-server start -m kb_dr.definitions", 1.0, 0.25),
    Process(4, "python -m dagster api grpc --socket /tmp/x -m kb_dr.definitions", 4.0, 20.0),
    Process(5, "python -c from multiprocessing.spawn import spawn_main", 1.5, 0.5),
]
OTHER = [Process(6, "rclone serve s3", 90.0, 0.0)]

UNNEEDED = {
    *("pandas", "numpy", "matplotlib", "boto3", "botocore", "obstore", "psycopg", "pyrage"),
    *("dagster_aws", "dagster_graphql", "dagster_webserver", "kb_dr.sandbox", "kb_dr.cli"),
}
"""Each run is a process of its own: what definitions load is paid for each minute."""


def test_what_a_run_takes_is_not_the_code_servers_own() -> None:
    found = by_part([DAEMON, WEB, CODE, OTHER])

    assert found == {"daemon": 3.5, "code server": 5.0, "runs": 22.25, "webserver": 2.0}


def test_a_code_server_without_an_inner_one_has_runs_as_well() -> None:
    server = Process(4, "python -m dagster api grpc -m kb_dr.definitions", 4.0, 20.0)
    found = by_part([DAEMON, [server, CODE[2]]])

    assert found == {"daemon": 3.5, "code server": 4.0, "runs": 22.0, "webserver": 0.0}


def test_only_what_was_taken_meanwhile_counts() -> None:
    before, later = by_part([DAEMON, CODE]), [Process(1, DAEMON[0].words, 4.0, 0.5)]

    # A run that was going on has ended: it is its server's ended child now.
    ended = [CODE[0], Process(4, CODE[1].words, 4.5, 23.0)]
    after = by_part([later, ended])

    taken = between(before, after)
    assert taken == {"daemon": 1.0, "code server": 0.5, "runs": 1.0, "webserver": 0.0}
    assert Idle(50.0, taken).cores == pytest.approx(0.05)


def test_the_first_byte_is_of_a_chunk_that_was_not_there() -> None:
    old, first, second = Path("old"), Path("first"), Path("second")

    found = {old: 90.0, second: 109.0, first: 107.5}

    assert seconds_until_first(found, {old: 90.0}, 100.0) == 7.5
    with pytest.raises(ValueError, match="empty"):
        seconds_until_first(found, found, 100.0)


def test_the_definitions_load_nothing_that_a_run_may_do_without() -> None:
    said = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c"),
            "import json, sys, kb_dr.definitions; print(json.dumps(sorted(sys.modules)))",
        ],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(json.loads(said.stdout))

    assert "dagster" in loaded
    assert loaded & UNNEEDED == set()
