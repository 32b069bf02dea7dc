"""Errors of ours, as Dagster shows them: with the hint, the exit code and whether to retry."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from kb_dr.errors import KbDrError
from kb_dr.scrub import scrub


def failure_metadata(error: KbDrError) -> dict[str, dg.MetadataValue]:
    """What an operator needs besides the message."""
    return {
        "hint": dg.MetadataValue.text(error.hint or "See docs/troubleshooting.md."),
        "exit_code": dg.MetadataValue.int(error.exit_code),
        "error": dg.MetadataValue.text(type(error).__name__),
        "retryable": dg.MetadataValue.bool(error.retryable),
    }


@contextmanager
def reported_failures() -> Iterator[None]:
    """Let a step fail with what our error knows; retry only what a retry can help.

    Interrupts and bugs pass through as they are, but for the secrets they quote: Dagster keeps
    every error with all it came from, and shows it to everyone.
    """
    try:
        yield
    except KbDrError as error:
        raise dg.Failure(
            description=str(error),
            metadata=failure_metadata(error),
            allow_retries=error.retryable,
        ) from without_secrets(error)
    except Exception as error:  # raised again, without the secrets it quotes
        clean = without_secrets(error)
        if clean is error:
            raise
        raise clean from clean.__cause__


class Scrubbed(Exception):
    """An error that quoted a secret, in its words without it."""


def without_secrets(error: BaseException) -> BaseException:
    """The error itself when nothing it came from quotes a secret; else one that says the same."""
    return _without_secrets(error, frozenset())


def _without_secrets(error: BaseException, seen: frozenset[int]) -> BaseException:
    came_from = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if came_from is None or id(came_from) in seen:
        clean_before = None
    else:
        clean_before = _without_secrets(came_from, seen | {id(error)})
    said = f"{type(error).__name__}: {error}"
    if scrub(said) == said and scrub(repr(error)) == repr(error) and clean_before is came_from:
        return error
    clean = Scrubbed(scrub(said))
    clean.__cause__ = clean_before
    return clean.with_traceback(error.__traceback__)
