"""What the watch sees, as lights: green for what is true, and never for what nobody can tell."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from kb_dr.definitions import build_definitions, defs
from kb_dr.defs.evaluations import newest_of
from kb_dr.defs.resources import ScheduleTimes
from kb_dr.domain.finding import Finding
from kb_dr.domain.grace import Before, judge_unknown
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.watch_checks import HOURLY_CHECKS, MINUTE_CHECKS
from kb_dr.domain.watched import Watched
from kb_dr_tests.listening import Listening

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
NAME = "rpo_holds"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def all_passed(*but: Watched) -> tuple[Watched, ...]:
    """Every check of a minute true, but these."""
    named = {each.name: each for each in but}
    return tuple(
        named.get(name) or Watched(name, Outcome.PASSED, Severity.CRITICAL, "as it should be")
        for name in MINUTE_CHECKS
    )


def look(
    listening: Listening, instance: dg.DagsterInstance
) -> tuple[bool, dict[str, dg.AssetCheckEvaluation]]:
    """One run of the watch: whether it succeeded, and what each check said."""
    made = build_definitions(listening.door(), ScheduleTimes())
    done = made.resolve_job_def("watch_job").execute_in_process(
        instance=instance, raise_on_error=False
    )
    return done.success, {each.check_name: each for each in done.get_asset_check_evaluations()}


def test_every_check_of_a_minute_speaks_in_one_run_on_its_asset(
    instance: dg.DagsterInstance,
) -> None:
    success, said = look(Listening(watched=all_passed()), instance)

    assert success
    assert {name: tuple(each.asset_key.path) for name, each in said.items()} == MINUTE_CHECKS
    assert all(each.passed for each in said.values())


def test_each_check_of_the_watch_is_in_the_job_of_its_time() -> None:
    graph = defs.resolve_asset_graph()
    keys = {check.name: tuple(check.asset_key.path) for check in graph.asset_check_keys}

    for name, asset in {**MINUTE_CHECKS, **HOURLY_CHECKS}.items():
        assert keys[name] == asset
    for job, wanted in (("watch_job", MINUTE_CHECKS), ("hourly_watch_job", HOURLY_CHECKS)):
        graph = defs.resolve_job_def(job).asset_layer.asset_graph
        assert {key.name for key in graph.asset_check_keys} >= set(wanted)


@pytest.mark.parametrize(
    ("severity", "shown"), [(Severity.CRITICAL, ERROR), (Severity.WARNING, WARN)]
)
def test_a_check_that_says_no_is_as_red_as_it_is_bad(
    severity: Severity, shown: dg.AssetCheckSeverity, instance: dg.DagsterInstance
) -> None:
    parts = (
        Finding("primary", Outcome.PASSED, "12 s"),
        Finding("offsite", Outcome.FAILED, "two | hours", "kb-dr copy"),
    )
    bad = Watched(NAME, Outcome.FAILED, severity, "two hours", "kb-dr copy", parts,
                  {"rpo_seconds_offsite": 7200, "strange": float("nan")})  # fmt: skip

    said = look(Listening(watched=all_passed(bad)), instance)[1][NAME]

    assert (said.passed, said.severity, said.description) == (False, shown, "two hours")
    metadata = {name: value.value for name, value in said.metadata.items()}
    assert metadata["outcome"] == "failed"
    assert metadata["severity"] == severity
    assert metadata["hint"] == "kb-dr copy"
    assert metadata["subjects"] == '["offsite"]'
    assert metadata["rpo_seconds_offsite"] == 7200.0
    assert "strange" not in metadata
    assert "two \\| hours" in str(metadata["parts"])


def test_what_does_not_apply_is_green_and_says_so(instance: dg.DagsterInstance) -> None:
    none = Watched(NAME, Outcome.NOT_APPLICABLE, Severity.CRITICAL, "there is no slot")

    said = look(Listening(watched=all_passed(none)), instance)[1][NAME]

    assert said.passed
    assert said.description == "does not apply here: there is no slot"
    assert said.metadata["outcome"].value == "not_applicable"


def test_what_nobody_can_tell_is_yellow_and_red_after_the_grace(
    instance: dg.DagsterInstance,
) -> None:
    unsure = Watched(NAME, Outcome.COULD_NOT_RUN, Severity.WARNING, "no answer")
    listening = Listening(watched=all_passed(unsure), grace_seconds=900)
    shown = []
    for minutes in (0, 14, 2, 1):
        listening.clock.ahead += timedelta(minutes=minutes)
        said = look(listening, instance)[1][NAME]
        assert not said.passed
        shown.append(said.severity)
    assert shown == [WARN, WARN, ERROR, ERROR]

    listening.watched = all_passed()
    assert look(listening, instance)[1][NAME].passed
    listening.watched = all_passed(unsure)
    assert look(listening, instance)[1][NAME].severity is WARN


def test_what_was_red_stays_red_when_nobody_can_look_any_more(
    instance: dg.DagsterInstance,
) -> None:
    listening = Listening(
        watched=all_passed(Watched(NAME, Outcome.FAILED, Severity.CRITICAL, "two hours"))
    )
    look(listening, instance)
    listening.watched = all_passed(
        Watched(NAME, Outcome.COULD_NOT_RUN, Severity.CRITICAL, "no answer")
    )

    for _ in range(2):
        assert look(listening, instance)[1][NAME].severity is ERROR


def test_a_check_the_watch_says_nothing_of_fails_the_run(instance: dg.DagsterInstance) -> None:
    watched = tuple(each for each in all_passed() if each.name != NAME)

    success, said = look(Listening(watched=watched), instance)

    assert not success
    assert NAME not in said
    assert len(said) == len(MINUTE_CHECKS) - 1


@pytest.mark.parametrize(
    ("before", "grace", "expected"),
    [
        (None, 900, Severity.WARNING),
        (None, 0, Severity.CRITICAL),
        (Before(Outcome.PASSED, Severity.CRITICAL), 900, Severity.WARNING),
        (Before(Outcome.FAILED, Severity.WARNING), 900, Severity.WARNING),
        (Before(Outcome.FAILED, Severity.CRITICAL), 900, Severity.CRITICAL),
        (
            Before(Outcome.COULD_NOT_RUN, Severity.WARNING, NOW - timedelta(minutes=15)),
            900,
            Severity.CRITICAL,
        ),
        (
            Before(Outcome.COULD_NOT_RUN, Severity.WARNING, NOW + timedelta(hours=1)),
            900,
            Severity.WARNING,
        ),
    ],
)
def test_the_rule_of_grace(before: Before | None, grace: float, expected: Severity) -> None:
    assert judge_unknown(NOW, before, grace).severity is expected


def test_a_start_in_the_future_counts_from_now() -> None:
    ahead = Before(Outcome.COULD_NOT_RUN, Severity.WARNING, NOW + timedelta(hours=1))

    assert judge_unknown(NOW, ahead, 900).since == NOW


def test_what_nobody_has_to_act_on_is_no_warning(instance: dg.DagsterInstance) -> None:
    @dg.asset_check(asset=dg.AssetKey(["recovery", "readiness"]), name="a_passed_drill_is_recent")
    def none_is_due() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            passed=False,
            severity=WARN,
            metadata={"severity": dg.MetadataValue.text(str(Severity.INFO))},
        )

    made = dg.Definitions(
        asset_checks=[none_is_due],
        jobs=[dg.define_asset_job("look", dg.AssetSelection.all_asset_checks())],
    )
    made.resolve_job_def("look").execute_in_process(instance=instance)

    (check,) = none_is_due.check_keys
    said = newest_of(instance, check)
    assert said is not None
    assert (said.passed, said.severity) == (False, Severity.INFO)
