"""A server that waits for its archiver is told from one that is gone."""

import os
from collections.abc import Iterator

import pytest

from kb_dr.adapters.await_backup import Patience
from kb_dr.errors import PostgresUnavailable, WalGap

WAITS = b"NOTICE:  still waiting for all required WAL segments to be archived (60 seconds elapsed)"


@pytest.fixture
def silent() -> Iterator[int]:
    """What nobody writes to."""
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


def test_a_server_that_waits_for_its_archiver_is_given_that_time_and_named(silent: int) -> None:
    with pytest.raises(WalGap, match="still waits for its WAL") as raised:
        Patience(600.0, 0.5).await_bytes(silent, [WAITS], "run pg_basebackup")

    assert "archive_command fails" in raised.value.hint


def test_a_server_that_says_nothing_is_taken_for_gone(silent: int) -> None:
    with pytest.raises(PostgresUnavailable, match=r"no byte within 0\.5 s"):
        Patience(0.5, 600.0).await_bytes(silent, [], "run pg_basebackup")
