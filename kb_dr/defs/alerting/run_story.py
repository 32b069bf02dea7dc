"""What one run did, from its events: which checks spoke, which did not, what failed and why."""

from collections.abc import Iterable
from dataclasses import dataclass

import dagster as dg

from kb_dr.defs.evaluations import Evaluated, evaluated

_LONGEST = 600
"""Characters of an error in an alert; the run has all of it."""

_TYPES = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_FAILURE,
}


@dataclass(frozen=True, slots=True)
class RunStory:
    """One run that ended."""

    evaluations: tuple[Evaluated, ...]
    """The last word of each check in it."""
    silent: tuple[str, ...] = ()
    """Checks that were to be carried out, and said nothing."""
    unmade: bool = False
    """Whether an asset was to be made and was not."""
    error: str = ""
    hint: str = ""
    step: str = ""
    """The first step that failed."""


def evaluations_of(instance: dg.DagsterInstance, run_id: str) -> tuple[Evaluated, ...]:
    """What the checks of a run said last in it."""
    found = instance.get_records_for_run(
        run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ).records
    return _last_words(each.event_log_entry for each in found)


def story_of(instance: dg.DagsterInstance, run_id: str) -> RunStory:
    """What became of a run that failed."""
    entries = [
        each.event_log_entry
        for each in instance.get_records_for_run(run_id, of_type=_TYPES).records
    ]
    spoken = _last_words(entries)
    planned: set[dg.AssetCheckKey] = set()
    to_make: set[dg.AssetKey] = set()
    made: set[dg.AssetKey] = set()
    failures: list[tuple[str, str, str]] = []
    ending = ""
    for entry in entries:
        event = entry.dagster_event
        if event is None:
            continue
        match event.event_type:
            case dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                planned.add(event.asset_check_planned_data.asset_check_key)
            case dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED if event.asset_key:
                to_make.add(event.asset_key)
            case dg.DagsterEventType.ASSET_MATERIALIZATION if event.asset_key:
                made.add(event.asset_key)
            case dg.DagsterEventType.STEP_FAILURE:
                failures.append((event.step_key or "", *_cause(event)))
            case dg.DagsterEventType.RUN_FAILURE:
                ending = _line(event.message or "")
            case _:
                pass
    said = {each.check for each in spoken}
    step, error, hint = failures[0] if failures else ("", ending, "")
    if len(failures) > 1:
        error = f"{error} (and {len(failures) - 1} more steps failed)"
    return RunStory(
        evaluations=spoken,
        silent=tuple(sorted({check.name for check in planned - said})),
        unmade=bool(to_make - made),
        error=error,
        hint=hint,
        step=step,
    )


def _last_words(entries: Iterable[dg.EventLogEntry]) -> tuple[Evaluated, ...]:
    words: dict[tuple[dg.AssetCheckKey, str | None], Evaluated] = {}
    for entry in entries:
        found = evaluated(entry)
        if found is not None:
            words[found.check, found.partition] = found
    return tuple(words.values())


def _cause(event: dg.DagsterEvent) -> tuple[str, str]:
    """Error and hint of a step that failed."""
    failure = event.step_failure_data
    said = failure.user_failure_data
    if said is not None:
        hint = said.metadata.get("hint")
        text = hint.value if isinstance(hint, dg.TextMetadataValue) else None
        return _line(said.description or said.label), _line(text or "")
    error = failure.error
    # The innermost error is what happened; Dagster's own wraps it.
    while error is not None and error.cause is not None:
        error = error.cause
    return _line(error.message if error else event.message or "no error was written down"), ""


def _line(text: str) -> str:
    """The first lines that say something, as one."""
    joined = " ".join(text.split())
    return joined if len(joined) <= _LONGEST else f"{joined[:_LONGEST]}…"
