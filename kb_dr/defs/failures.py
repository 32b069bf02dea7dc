"""Errors of ours, as Dagster shows them: with the hint, the exit code and whether to retry."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from kb_dr.errors import KbDrError


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

    Interrupts and bugs pass through as they are.
    """
    try:
        yield
    except KbDrError as error:
        raise dg.Failure(
            description=str(error),
            metadata=failure_metadata(error),
            allow_retries=error.retryable,
        ) from error
