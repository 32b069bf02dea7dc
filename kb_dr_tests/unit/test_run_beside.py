"""Work beside other work ends in its result or in its error, and holds nobody up."""

import threading

import pytest

from kb_dr.errors import PostgresError
from kb_dr.operations.run_beside import Beside


def test_it_runs_beside_us_and_gives_its_result() -> None:
    may_end = threading.Event()

    def work() -> str:
        assert may_end.wait(60)
        return "looked at"

    beside = Beside(work, "look")
    may_end.set()  # work() waits for this: it cannot have run before

    assert beside.result() == "looked at"


def test_what_it_raised_is_raised_to_who_asks() -> None:
    def work() -> str:
        raise PostgresError("no answer")

    with pytest.raises(PostgresError, match="no answer"):
        Beside(work, "look").result()
