"""Logs: one form, UTC, the ids of what is worked on, and no secret, tracebacks included."""

import json
import logging
import threading
from collections.abc import Iterator
from datetime import datetime

import dagster as dg
import pytest

from kb_dr import logs
from kb_dr.cli.app import configure_logging, say_error
from kb_dr.defs.failures import reported_failures, without_secrets
from kb_dr.errors import KbDrError
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.scrub import remember

logger = logging.getLogger("kb_dr.tried")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("kb_dr")
    handlers, own, level, our_level = [*root.handlers], [*ours.handlers], root.level, ours.level
    yield
    root.handlers[:], ours.handlers[:] = handlers, own
    root.setLevel(level)
    ours.setLevel(our_level)


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The one JSON line on stderr."""
    (line,) = capsys.readouterr().err.splitlines()
    found: dict[str, object] = json.loads(line)
    return found


def test_a_json_line_says_when_who_what_and_of_which_work(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(logging.INFO, log_format="json", service="kb")

    with logs.bound(run_id="run-1"), logs.bound(backup_id="kb-full-20261120-020000", copy=None):
        logger.info("brought %d objects", 3, extra={"objects": 3})

    line = said(capsys)
    at = datetime.fromisoformat(str(line.pop("at")))
    assert at.utcoffset() is not None
    assert line == {
        "level": "INFO",
        "logger": "kb_dr.tried",
        "message": "brought 3 objects",
        "service": "kb",
        "run_id": "run-1",
        "backup_id": "kb-full-20261120-020000",
        "objects": 3,
    }


def test_a_text_line_says_the_ids_its_message_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure(logging.INFO)

    with logs.bound(backup_id="kb-full-20261120-020000", copy="offsite"):
        logger.info("kb-full-20261120-020000 is there")
    logger.info("over")

    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("Z INFO kb-full-20261120-020000 is there (copy=offsite)")
    assert second.endswith("Z INFO over")


def test_secrets_are_in_no_line_nor_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    remember("planted-password")
    for form in logs.FORMATS:
        logs.configure(logging.INFO, log_format=form)
        try:
            raise ValueError("planted-password")
        except ValueError:
            logger.exception("tried %s", "planted-password")

    written = capsys.readouterr().err
    assert "ValueError" in written
    assert "planted" not in written


def test_threads_of_a_work_log_its_ids() -> None:
    with logs.bound(backup_id="kb-full-20261120-020000"):
        seen = run_parallel([1, 2], lambda _each: dict(logs.bound_ids()), at_once=2)
        told: list[object] = []
        thread = threading.Thread(target=logs.with_these_ids(lambda: told.append(logs.bound_ids())))
        thread.start()
        thread.join()

    assert seen == [{"backup_id": "kb-full-20261120-020000"}] * 2
    assert told == seen[:1]
    assert logs.bound_ids() == {}


def test_an_error_of_the_command_line_is_one_object_where_logs_are_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(logging.INFO, "json", "kb")

    say_error(KbDrError("do this: no", hint="Do that."))

    line = said(capsys)
    assert (line["message"], line["hint"], line["exit_code"]) == ("do this: no", "Do that.", 1)


def test_what_dagster_keeps_of_an_error_has_lost_secrets_wherever_it_came_from() -> None:
    remember("planted-password")

    def connect() -> None:
        try:
            raise ConnectionError("dial", OSError("planted-password"))
        except ConnectionError as error:
            raise KbDrError("connect: refused") from error

    with pytest.raises(dg.Failure, match="connect") as caught, reported_failures():
        connect()

    chain: list[str] = []
    origin = caught.value.__cause__
    while origin is not None:
        chain.append(repr(origin))
        origin = origin.__cause__ or (None if origin.__suppress_context__ else origin.__context__)
    assert len(chain) == 2
    assert "planted" not in "".join(chain)
    assert "ConnectionError" in chain[1]


def test_a_bug_that_quotes_a_secret_loses_it_and_others_pass_as_they_are() -> None:
    remember("planted-password")

    with pytest.raises(Exception, match="ValueError: …"), reported_failures():
        raise ValueError("planted-password")
    with pytest.raises(KeyError), reported_failures():
        raise KeyError("a row")
    clean = KeyError("a row")
    assert without_secrets(clean) is clean
