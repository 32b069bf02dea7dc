"""The restore somebody launches: refused early, planned in sight, carried out only when said."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml

from kb_dr.definitions import build_definitions, defs
from kb_dr.defs.postgres.keys import BACKUP_ID_TAG
from kb_dr.defs.recovery import keys
from kb_dr.defs.recovery.restore import ACTION_TAG, BACKFILL_TAG
from kb_dr.defs.resources import InstallationDoor, ScheduleTimes
from kb_dr.domain.manifest import Source
from kb_dr.domain.proof import Phase
from kb_dr.domain.recovery import Replay
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.restore_postgres import Restored, RestorePlan
from kb_dr.ports import Progress
from kb_dr_tests.made_archive import BEGIN, Archive, minute
from kb_dr_tests.made_installation import MadeInstallation

JOB = "restore_database"


class _Host:
    """A machine that has all it needs."""

    def check(self, source: Source, *, combines: bool = False) -> None:
        """Everything is at hand."""

    def free_bytes(self, directory: Path) -> int:
        del directory
        return 1 << 40


class _Restorable(MadeInstallation):
    """Six commits, a minute apart; a restore is played."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, offsite=False)
        archive = Archive()
        self.memory["primary"].bodies.update(archive.repository.bodies)
        self.clock = archive.clock
        self.host = _Host()  # type: ignore[assignment]  # the parts a plan asks for
        self.backup = archive.stored[0].manifest.id
        self.asked: list[RestorePlan] = []
        self.down = False
        self.terminated = False
        self.cut_off = ""

    def unfinished_replacement(self, target: Path) -> Any:
        del target
        return SimpleNamespace(step=self.cut_off) if self.cut_off else None

    def restore(self, plan: RestorePlan, progress: Progress) -> Restored:
        """What a restore says that reached what it should."""
        self.asked.append(plan)
        if self.terminated:
            raise KeyboardInterrupt
        if self.down:
            raise RepositoryUnavailable("get x: no answer")
        progress.begin("fetch and unpack", 10)
        progress.end()
        recovery = plan.recovery
        replay = Replay(
            recovery.expected_end, recovery.expected_timeline, False, False, recovery.newest_commit
        )
        phases = (Phase("fetch and unpack", 1.5, 10),)
        now = self.clock.now()
        return Restored(plan, recovery.reach(replay), phases, now, now)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def installation(tmp_path: Path) -> _Restorable:
    return _Restorable(tmp_path)


@pytest.fixture
def into(tmp_path: Path) -> str:
    return str(tmp_path / "restored")


def form(into: str | None, **fields: Any) -> dict[str, Any]:
    """A run's configuration."""
    filled = fields if into is None else {"into": into, **fields}
    return {"ops": {"restore": {"config": filled}}}


def run(
    installation: MadeInstallation,
    instance: dg.DagsterInstance,
    filled: Mapping[str, Any],
    **tags: str,
) -> dg.ExecuteInProcessResult:
    job = installation.definitions().resolve_job_def(JOB)
    return job.execute_in_process(
        run_config=filled, instance=instance, tags=tags, raise_on_error=False
    )


def failure(result: dg.ExecuteInProcessResult) -> tuple[str, Mapping[str, Any]]:
    """Why the run failed: what it says, and what stands beside it."""
    assert not result.success
    (event,) = [each for each in result.all_events if each.is_step_failure]
    data = event.step_failure_data.user_failure_data
    assert data is not None
    return data.description or "", {name: value.value for name, value in data.metadata.items()}


# before the launch


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"action": {"execute": {}}}, "confirm_target"),
        ({"action": {"execute": {"confirm_target": None}}}, "confirm_target"),
        ({"action": {"do_it": {}}}, "do_it"),
        ({"target": {"time": {}}}, '"at"'),
        ({"target": {"lsn": {}}}, '"lsn"'),
        ({"target": {"name": {}}}, '"name"'),
        ({"target": {"latest": {}, "name": {"name": "x"}}}, "target"),
        ({"copy_read": "the other one"}, "copy_read"),
        ({"timeline": "two"}, "timeline"),
        ({"overwrite": True}, "overwrite"),
    ],
)
def test_what_is_missing_or_none_of_the_choices_cannot_be_launched(
    fields: dict[str, Any], said: str
) -> None:
    job = defs.resolve_job_def(JOB)

    with pytest.raises(dg.DagsterInvalidConfigError, match=said):
        dg.validate_run_config(job, form("/somewhere", **fields))


def test_a_restore_to_nowhere_cannot_be_launched() -> None:
    job = defs.resolve_job_def(JOB)

    with pytest.raises(dg.DagsterInvalidConfigError, match="into"):
        dg.validate_run_config(job, form(None, action={"dry_run": {}}))


def test_the_form_is_filled_in_with_a_dry_run() -> None:
    job = defs.resolve_job_def(JOB)

    assert dg.validate_run_config(job, job.run_config)
    filled = job.run_config["ops"]["restore"]["config"] if job.run_config else {}
    assert filled["action"] == {"dry_run": {}}
    assert filled["target"] == {"latest": {}}
    assert filled["copy_read"] == "auto"


def test_the_form_shown_in_the_document_can_be_launched() -> None:
    text = (Path(__file__).parents[2] / "docs" / "dagster.md").read_text()
    job = defs.resolve_job_def(JOB)
    (block,) = re.findall(r"```yaml\n(ops:.*?)```", text, re.DOTALL)
    filled = yaml.safe_load(block)
    others = re.findall(r"(time|lsn|name): \{(\w+): ([^}]+)\}", block)

    assert filled == job.run_config
    assert {kind for kind, _, _ in others} == {"time", "lsn", "name"}
    for kind, field, value in others:
        filled["ops"]["restore"]["config"]["target"] = {kind: {field: value}}
        assert dg.validate_run_config(job, filled)


def test_a_restore_is_never_tried_again_by_itself() -> None:
    job = defs.resolve_job_def(JOB)

    assert job.tags["dagster/max_retries"] == "0"
    assert job.get_node_named("restore").retry_policy is None


# before anything is opened


def never(*_: object) -> MadeInstallation:
    raise AssertionError("opened")


def refused(filled: Mapping[str, Any], **tags: str) -> tuple[str, Mapping[str, Any]]:
    """The failure of a run that opens nothing."""
    made = build_definitions(InstallationDoor(never), ScheduleTimes())
    job = made.resolve_job_def(JOB)
    return failure(job.execute_in_process(run_config=filled, tags=tags, raise_on_error=False))


def test_another_directory_than_was_confirmed_is_refused(into: str) -> None:
    said, beside = refused(form(into, action={"execute": {"confirm_target": f"{into}/"}}))

    assert "confirmed" in said
    assert beside["exit_code"] == 2
    assert beside["hint"]


def test_nothing_is_restored_inside_a_backfill(into: str) -> None:
    filled = form(into, action={"execute": {"confirm_target": into}})

    said, _ = refused(filled, **{BACKFILL_TAG: "abcdefgh"})

    assert "backfill" in said


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"target": {"time": {"at": "2026-11-20T02:03:04"}}}, "a time without a zone"),
        ({"target": {"time": {"at": "yesterday"}}}, "not a time"),
        ({"target": {"lsn": {"lsn": "16-B3"}}}, "16-B3"),
        ({"target": {"name": {"name": ""}}}, "restore point"),
        ({"timeline": 0}, "timeline 0"),
        ({"backup_id": "newest"}, "newest"),
    ],
)
def test_words_that_are_no_values_are_refused(into: str, fields: dict[str, Any], said: str) -> None:
    told, beside = refused(form(into, **fields))

    assert said in told
    assert beside["exit_code"] == 2


def test_a_relative_directory_is_refused() -> None:
    said, _ = refused(form("restored"))

    assert "absolute" in said


def test_no_field_is_taken_from_the_environment(into: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KB_DR_TEST_SECRET", "never to be shown")

    said, _ = refused(form(into, target={"name": {"name": {"env": "KB_DR_TEST_SECRET"}}}))

    assert "environment" in said
    assert "never" not in said


# the plan


def test_a_dry_run_shows_the_plan_and_changes_nothing(
    installation: _Restorable, instance: dg.DagsterInstance, into: str
) -> None:
    result = run(installation, instance, form(into, target={"time": {"at": minute(3).isoformat()}}))

    assert result.success
    assert installation.asked == []
    assert not Path(into).exists()
    (observed,) = result.get_asset_observation_events()
    shown = observed.asset_observation_data.asset_observation
    assert shown.asset_key == keys.RESTORE
    plan = str(shown.metadata["plan"].value)
    for text in ("time 2026-11-20 02:03:00Z", "| reachable | yes |", installation.backup, into):
        assert text in plan
    assert "end of the archive" in str(shown.metadata["recoverable_windows"].value)
    tags = instance.get_runs()[0].tags
    assert (tags[ACTION_TAG], tags[BACKUP_ID_TAG]) == ("dry_run", installation.backup)


def test_a_run_without_a_form_is_a_dry_run(
    installation: _Restorable, instance: dg.DagsterInstance
) -> None:
    job = installation.definitions().resolve_job_def(JOB)

    assert job.execute_in_process(instance=instance).success

    assert installation.asked == []


@pytest.mark.parametrize(("wanted", "before"), [(60.0, True), (-60.0, False)])
def test_a_target_that_cannot_be_reached_comes_with_what_can(
    installation: _Restorable,
    instance: dg.DagsterInstance,
    into: str,
    wanted: float,
    before: bool,
) -> None:
    filled = form(
        into,
        action={"execute": {"confirm_target": into}},
        target={"time": {"at": minute(wanted).isoformat()}},
    )

    said, beside = failure(run(installation, instance, filled))

    assert "recover to time" in said
    assert installation.asked == []
    assert f"| {'before' if before else 'after'} |" in beside["nearest"]
    assert "2026-11-20 02:05:00Z" in beside["recoverable_windows"]
    assert beside["retryable"] is False
    assert beside["hint"]


def test_a_directory_that_is_being_replaced_is_refused(
    installation: _Restorable, instance: dg.DagsterInstance, into: str
) -> None:
    installation.cut_off = "put in place"

    said, beside = failure(
        run(installation, instance, form(into, action={"execute": {"confirm_target": into}}))
    )

    assert "was cut off at: put in place" in said
    assert "--roll-back" in beside["hint"]
    assert installation.asked == []


def test_a_copy_that_is_not_configured_is_refused(
    installation: _Restorable, instance: dg.DagsterInstance, into: str
) -> None:
    said, beside = failure(run(installation, instance, form(into, copy_read="offsite")))

    assert "offsite" in said
    assert "KB_DR_OFFSITE_URL" in beside["hint"]


# the restore


def test_a_restore_says_what_was_reached_and_what_to_do_now(
    installation: _Restorable, instance: dg.DagsterInstance, into: str
) -> None:
    filled = form(
        into,
        action={"execute": {"confirm_target": into}},
        target={"time": {"at": minute(3).isoformat(), "exclusive": True}},
        backup_id=installation.backup,
        timeline=1,
        copy_read="primary",
    )

    result = run(installation, instance, filled)

    assert result.success
    (plan,) = installation.asked
    assert str(plan.recovery.target) == f"just before time {BEGIN:%Y-%m-%d} 02:03:00Z"
    assert plan.target == Path(into)
    events = [each for each in result.all_events if each.is_step_materialization]
    (event,) = events
    shown = event.step_materialization_data.materialization
    assert shown.asset_key == keys.RESTORE
    assert shown.metadata["asked_for"].value == "just before time 2026-11-20 02:03:00Z"
    assert shown.metadata["reached_lsn"].value == str(plan.recovery.expected_end)
    assert "| fetch and unpack | 1.5 | 10 |" in str(shown.metadata["phases"].value)
    assert "1. give" in str(shown.metadata["next_steps"].value)
    assert len(result.get_asset_observation_events()) == 1, "the plan stands there, too"
    assert instance.get_runs()[0].tags[ACTION_TAG] == "execute"


def test_a_restore_that_fails_leaves_no_materialisation(
    installation: _Restorable, instance: dg.DagsterInstance, into: str
) -> None:
    installation.down = True

    result = run(installation, instance, form(into, action={"execute": {"confirm_target": into}}))

    assert "no answer" in failure(result)[0]
    assert not [each for each in result.all_events if each.is_step_materialization]
    assert len(installation.asked) == 1


def test_a_restore_that_is_terminated_says_that_nothing_is_left_of_it(
    installation: _Restorable, instance: dg.DagsterInstance, into: str
) -> None:
    installation.terminated = True

    run(installation, instance, form(into, action={"execute": {"confirm_target": into}}))

    (ended,) = instance.get_runs()
    assert ended.status is not dg.DagsterRunStatus.SUCCESS
    messages = [each.user_message for each in instance.all_logs(ended.run_id)]
    assert f"terminated: nothing was put into {into}" in messages
