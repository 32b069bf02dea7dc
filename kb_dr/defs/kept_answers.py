"""What Dagster asks its database about itself, again and again, and need be told once."""

from collections.abc import Callable
from typing import Any

ASKED = (
    "_has_instigators_table",
    "has_backfill_id_column",
    "has_built_index",
    "has_bulk_actions_selector_cols",
    "has_instigators_table",
    "has_run_stats_index_cols",
    "has_secondary_index",
    "has_secondary_index_table",
    "has_table",
)
"""Whether a table, a column or an index is there yet: asked before most statements."""

_there: set[tuple[str, ...]] = set()
"""Each of them that was, in this process."""


def keep_answers(part: object, url: str) -> None:
    """Let a part of Dagster's storage ask such a question until it was told yes.

    What is there stays: Dagster's migrations only add. A no is never kept.
    """
    for name in ASKED:
        if (ask := getattr(part, name, None)) is not None:
            vars(part)[name] = _until_yes(ask, (url, type(part).__name__, name))


def _until_yes(ask: Callable[..., bool], question: tuple[str, ...]) -> Callable[..., bool]:
    def asked(*words: Any) -> bool:
        # What is not text is the connection to ask on.
        key = (*question, *(word for word in words if isinstance(word, str)))
        if key not in _there:
            if not ask(*words):
                return False
            _there.add(key)
        return True

    return asked
