"""The readiness page as an asset, as a verb, and as the week's digest."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

import kb_dr.cli.report_readiness
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.cli.app import run as run_cli
from kb_dr.defs.recovery import keys
from kb_dr.defs.resources import ScheduleTimes
from kb_dr.defs.weekly_digest import make_digest_schedules
from kb_dr.domain import layout, trends
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.proof import Outcome, Verdict
from kb_dr.domain.readiness import OpenAlert
from kb_dr.errors import ObjectiveBroken, OutboxUnavailable, RepositoryUnavailable
from kb_dr.operations.deliver_alerts import Delivered
from kb_dr.operations.drill_records import store_drill
from kb_dr.operations.gather_trends import gather_trends
from kb_dr.operations.take_notices import Taken
from kb_dr.operations.take_readiness import WATCH_SECONDS
from kb_dr_tests.made_drills import made_drill
from kb_dr_tests.made_installation import MadeInstallation

STEP = "recovery__readiness"


class _Kept(MadeInstallation):
    """Alerts are played: what keeps them has tests of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.kept: Sequence[OpenAlert] | None = ()
        self.taken_in: dict[str, Notice] = {}
        self.delivered = 0

    def _open_alerts(self) -> tuple[OpenAlert, ...]:
        if self.kept is None:
            raise OutboxUnavailable("read the alerts: the database does not answer")
        return tuple(self.kept)

    def _every_alert(self) -> tuple[OpenAlert, ...] | None:
        return None if self.kept is None else tuple(self.kept)

    def _keeper(self) -> "_Kept":
        return self

    def take(self, notices: Sequence[Notice]) -> Taken:
        """Each once, as the outbox does."""
        for each in notices:
            self.taken_in.setdefault(each.id, each)
        return Taken({}, "this test")

    def deliver(self, *, seconds: float) -> Delivered:
        """Count."""
        assert seconds > 0
        self.delivered += 1
        return Delivered()


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def installation(tmp_path: Path) -> _Kept:
    made = _Kept(tmp_path)
    stored = made.has_backup()
    made.has_offsite_copy(stored)
    made.has_proof(stored, Verdict.PROVEN)
    made.clock.sleep(3 * 3600)
    return made


def until(installation: _Kept, moment: datetime) -> None:
    """The clock goes on to a moment."""
    installation.clock.sleep((moment - installation.clock.now()).total_seconds())


def test_the_page_is_materialised_with_its_picture_and_its_numbers(
    installation: _Kept, instance: dg.DagsterInstance
) -> None:
    stored = installation.find_backup(BackupId.parse("kb-full-20261120-020000"))
    result = installation.definitions().resolve_job_def("readiness_job").execute_in_process(
        instance=instance
    )  # fmt: skip

    (event,) = result.asset_materializations_for_node(STEP)
    assert event.asset_key == keys.READINESS
    page = str(event.metadata["page"].value)
    assert str(event.metadata["verdict"].value) in page
    assert "![trends](data:image/png;base64," in page
    assert len(page) < 200_000
    assert event.metadata["newest_full_bytes"].value == float(stored.manifest.stored_bytes)
    assert event.metadata["rto_seconds"].value == 90.0
    assert event.metadata["open_alerts"].value == 0
    # The check is evaluated in the same run: it speaks of this very page.
    (check,) = result.get_asset_check_evaluations()
    assert check.check_name == "a_passed_drill_is_recent"
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN, "none is due yet"


def test_a_repository_that_is_down_leaves_a_page_that_says_so(
    installation: _Kept, instance: dg.DagsterInstance
) -> None:
    for memory in installation.memory.values():
        memory.failures[""] = RepositoryUnavailable(f"list {memory.url}: did not answer")

    seen = installation.readiness()

    assert seen.answer == "could not tell"
    assert "did not answer" in seen.verdict
    assert seen.trends.unread
    assert {each.recoverable_to for each in seen.copies} == {None}


def test_no_open_alert_says_nothing_while_nobody_watches(installation: _Kept) -> None:
    def watch() -> tuple[Outcome, ...]:
        seen = installation.readiness()
        return tuple(each.outcome for each in seen.findings if each.subject == "watch")

    assert watch() == (Outcome.COULD_NOT_RUN,)

    installation.note_watch(installation.clock.now())
    assert watch() == (Outcome.PASSED,)

    installation.clock.sleep(WATCH_SECONDS + 1)
    assert watch() == (Outcome.COULD_NOT_RUN,)
    assert installation.readiness().answer != "yes"


def test_trends_come_from_proofs_drills_manifests_and_reports(installation: _Kept) -> None:
    drill = made_drill(installation.clock.now())
    store_drill(tuple(installation.memory.values()), drill)
    installation.clock.sleep(60)
    installation.make_report(SilentProgress())
    installation.clock.sleep(60)
    later = installation.has_backup(days=1)
    until(installation, later.manifest.finished + timedelta(minutes=1))

    found = installation.readiness().trends

    assert [each.value for each in found.series[trends.RTO]] == [90.0, 30.0]
    assert [each.of.split()[0] for each in found.series[trends.RPO]] == ["drill"]
    # One from the report, the other from its manifest.
    assert [each.of for each in found.series[trends.FULL_BYTES]] == [
        "kb-full-20261120-020000", later.manifest.id,
    ]  # fmt: skip
    assert found.newest(trends.OF_COPIES) is not None
    assert found.unread == ()


def test_trends_leave_out_what_is_older_and_name_what_cannot_be_read(installation: _Kept) -> None:
    places = list(installation.memory.values())
    store_drill(tuple(places), made_drill(installation.clock.now()))
    for memory in places:
        key = next(
            each for each in memory.bodies if each.startswith(layout.DRILLS) and ".json" in each
        )
        memory.bodies[key] = b"{}"  # fmt: skip
    now = installation.clock.now()

    found = gather_trends(places, (), now)
    much_later = gather_trends(places, (), now + timedelta(days=91))

    assert len(found.series[trends.RTO]) == 1
    assert "drills/" in found.unread[0]
    assert not any(much_later.series.values())


def test_a_green_that_failed_is_no_rto(installation: _Kept) -> None:
    stored = installation.has_backup(days=1)
    installation.has_proof(stored, Verdict.FAILED)
    until(installation, stored.manifest.finished + timedelta(hours=2))

    assert len(installation.readiness().trends.series[trends.RTO]) == 1


def test_the_verb_says_it_draws_it_and_exits_by_it(
    installation: _Kept,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(kb_dr.cli.report_readiness, "installation", lambda: installation)
    installation.kept = None

    code = run_cli(["report", "readiness", "--plot", str(tmp_path / "trends.png")])

    said = capsys.readouterr()
    assert code == ObjectiveBroken.exit_code
    assert "open alerts: not known: read the alerts" in said.out
    assert (tmp_path / "trends.png").read_bytes().startswith(b"\x89PNG")
    assert run_cli(["report", "readiness", "--json"]) == ObjectiveBroken.exit_code
    told = json.loads(capsys.readouterr().out)
    assert told["answer"] in ("no", "could not tell")
    assert told["alerts"] is None


def test_the_week_is_told_once_by_its_job(
    installation: _Kept, instance: dg.DagsterInstance
) -> None:
    job = installation.definitions().resolve_job_def("weekly_digest_job")
    for _ in range(2):
        assert job.execute_in_process(instance=instance).success

    (notice,) = installation.taken_in.values()
    assert (notice.id, notice.kind, notice.state) == (
        "digest/2026-W47",
        "weekly_digest",
        State.TOLD,
    )
    assert notice.run_id
    assert installation.delivered == 2


def test_a_digest_that_is_off_has_no_schedule() -> None:
    times = ScheduleTimes()
    (schedule,) = make_digest_schedules(times)

    assert schedule.cron_schedule == "0 8 * * 1"
    assert make_digest_schedules(replace(times, digest=None)) == []
