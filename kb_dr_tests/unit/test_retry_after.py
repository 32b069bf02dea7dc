"""Retry-After as seconds and as a date, and what is neither."""

from datetime import UTC, datetime

import pytest

from kb_dr.adapters.channels.http_place import LONGEST_WAIT_SECONDS, retry_after_seconds

NOW = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("30", 30.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Sat, 28 Nov 2026 03:02:00 GMT", 120.0),
        ("Sat, 28 Nov 2026 02:00:00 GMT", 0.0),
        ("999999999", LONGEST_WAIT_SECONDS),
        ("Sat, 28 Nov 2099 03:02:00 GMT", LONGEST_WAIT_SECONDS),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Sat, 99 Nov 2026 99:99:99 GMT", None),
    ],
)
def test_how_long_to_wait(said: str, seconds: float | None) -> None:
    assert retry_after_seconds({"retry-after": said}, NOW) == seconds


def test_a_date_is_measured_by_the_clock_it_was_written_by() -> None:
    headers = {
        "retry-after": "Sat, 28 Nov 2026 05:01:00 GMT",
        "date": "Sat, 28 Nov 2026 05:00:00 GMT",
    }

    assert retry_after_seconds(headers, NOW) == 60


def test_without_the_header_nothing_is_known() -> None:
    assert retry_after_seconds({}, NOW) is None
