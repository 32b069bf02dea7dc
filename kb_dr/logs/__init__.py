"""Logs: lines on stderr, UTC in ISO 8601, with the ids that alerts, metrics and pages use.

``bound`` says what is being worked on; every line logged inside it bears those ids. Nothing here
is heavy: the WAL path logs as well.
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, TextIO

from kb_dr.scrub import scrub

TEXT, JSON = "text", "json"
FORMATS = (TEXT, JSON)

_BOUND: ContextVar[Mapping[str, str] | None] = ContextVar("kb_dr_ids", default=None)


@contextmanager
def bound(**ids: str | None) -> Iterator[None]:
    """Whatever is logged inside bears these ids: backup_id, copy, proof_id, run_id, alert_id.

    None is left out; those bound outside stay.
    """
    known = {name: value for name, value in ids.items() if value}
    token = _BOUND.set({**bound_ids(), **known})
    try:
        yield
    finally:
        _BOUND.reset(token)


def bound_ids() -> Mapping[str, str]:
    """The ids of what is being worked on here."""
    return _BOUND.get() or {}


def with_these_ids(work: Callable[..., Any]) -> Callable[..., Any]:
    """The same work, for another thread: what it logs bears the ids that are bound here."""
    return partial(copy_context().run, work)


def configure(
    level: int,
    *,
    log_format: str = TEXT,
    service: str = "",
    name: str | None = None,
) -> None:
    """Log to stderr from now on, in this form; called again, it takes effect anew.

    ``name``: only what this logger and those below it log, beside whatever else is set up;
    None: everything, warnings of libraries included, and nothing else is left.
    """
    handler = _Stderr()
    handler.setFormatter(_formatter(log_format, service))
    logger = logging.getLogger(name)
    for other in list(logger.handlers):
        if name is None or isinstance(other, _Stderr):
            logger.removeHandler(other)
    logger.addHandler(handler)
    if name is None:
        logger.setLevel(logging.WARNING)
        logging.getLogger("kb_dr").setLevel(level)
    else:
        logger.setLevel(level)


def is_json() -> bool:
    """Whether this process was told to log JSON."""
    return any(
        isinstance(each, _Stderr) and isinstance(each.formatter, _Scrubbed) and each.formatter.json
        for name in (None, "kb_dr")
        for each in logging.getLogger(name).handlers
    )


def _formatter(log_format: str, service: str) -> logging.Formatter:
    if log_format == JSON:
        from kb_dr.logs.json_lines import JsonLines

        return _Scrubbed(JsonLines(service), json=True)
    return _Scrubbed(_Lines(), json=False)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is now, not to what it was when logging was set up."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _Lines(logging.Formatter):
    """Time, level, message, and those ids the message does not say itself."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
        )
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        said = super().formatMessage(record)
        ids = [f"{name}={each}" for name, each in bound_ids().items() if each not in said]
        return f"{said} ({', '.join(ids)})" if ids else said


class _Scrubbed(logging.Formatter):
    """Strikes secrets out of a line that is ready to be written, its traceback included."""

    def __init__(self, inner: logging.Formatter, *, json: bool) -> None:
        super().__init__()
        self._inner = inner
        self.json = json

    def format(self, record: logging.LogRecord) -> str:
        return scrub(self._inner.format(record))
