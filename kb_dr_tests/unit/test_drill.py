"""A drill is passed only when everything held, and it draws the same time from the same seed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kb_dr import records
from kb_dr.domain.drill import Drill, copy_to_drill, draw_target
from kb_dr.domain.drill_report import drill_report
from kb_dr.domain.finding import Finding
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Check, Outcome, Phase, Reach, Verdict
from kb_dr.domain.recoverable_window import RecoverableWindow, newest_window
from kb_dr.domain.recovery_target import AtTime, Latest
from kb_dr.errors import UnreadableRecord
from kb_dr.operations.drill_records import load_drills, store_drill
from kb_dr_tests.fakes import FakeClock, MemoryRepository

BEGIN = datetime(2026, 11, 20, 2, tzinfo=UTC)
WINDOW = RecoverableWindow(
    copy="offsite",
    system_identifier=1,
    timeline=1,
    begins_at=BEGIN,
    begins_lsn=Lsn(100),
    ends_at=BEGIN + timedelta(hours=10),
    ends_lsn=Lsn(900),
    ended_by="end of the archive",
    backups=("kb-full-20261120-020000",),
    covered_until=BEGIN + timedelta(hours=10),
)
PASSED = Drill(
    schema_version=1,
    id="20261120-130000-abcd",
    seed=7,
    copy="offsite",
    url="s3://there/org",
    started=BEGIN + timedelta(hours=11),
    finished=BEGIN + timedelta(hours=11, seconds=30),
    window=WINDOW,
    asked="time 2026-11-20 05:00:00Z",
    backups_found=1,
    backup_id="kb-full-20261120-020000",
    manifest_digest="0" * 64,
    proof_id="20261120-130001-ef01",
    verdict=Verdict.PROVEN,
    reason="replayed to 0/320, every check passed",
    checks=(Check("rows_as_recorded", Outcome.PASSED, "3 tables"),),
    phases=(Phase("plan", 0.5), Phase("fetch and unpack", 3.25, 1000)),
    reach=Reach(1, Lsn(800), 1, Lsn(800), BEGIN, "time 2026-11-20 05:00:00Z", True, BEGIN),
    checklist=(Finding("age identity", Outcome.PASSED, "opens WAL"),),
    rto_objective_seconds=900,
    rpo_seconds=20,
    rpo_objective_seconds=300,
    tools={"postgres": "16.15"},
    host="drill-host",
)


def test_a_drill_in_which_everything_held_is_passed() -> None:
    assert PASSED.passed
    assert PASSED.rto_seconds == 30


@pytest.mark.parametrize(
    ("changed", "shortfall"),
    [
        ({"verdict": Verdict.FAILED, "reason": "a row is lost"}, "FAILED: a row is lost"),
        ({"verdict": Verdict.NOT_PROVEN, "reason": "no key"}, "NOT_PROVEN: no key"),
        ({"rto_objective_seconds": 29.0}, "RTO 30.0 s, allowed 29 s"),
        ({"measured_seconds": 901.0}, "RTO 901.0 s, allowed 900 s"),
        ({"finished": PASSED.started - timedelta(hours=1)}, "RTO -3600.0 s, allowed 900 s"),
        ({"rpo_objective_seconds": 19.0}, "RPO 20.0 s, allowed 19 s"),
        ({"rpo_seconds": None}, "RPO not known"),
        ({"rpo_seconds": float("nan")}, "RPO nan s"),
        (
            {"checklist": (Finding("age identity", Outcome.COULD_NOT_RUN, "no file"),)},
            "age identity: no file",
        ),
    ],
)
def test_whatever_did_not_hold_is_a_shortfall(changed: dict[str, object], shortfall: str) -> None:
    drill = replace(PASSED, **changed)  # type: ignore[arg-type]  # fields by name

    assert not drill.passed
    assert shortfall in drill.shortfalls[0]
    assert f"# Recovery drill {drill.id}: NOT PASSED" in drill_report(drill)
    assert shortfall in drill_report(drill)


def test_the_report_holds_what_was_measured() -> None:
    report = drill_report(PASSED)

    assert f"# Recovery drill {PASSED.id}: PASSED" in report
    for text in (
        "| fetch and unpack | 3.25 | 1000 |",
        "| RTO | 900 s | 30.0 s |",
        "| RPO | 300 s | 20.0 s |",
        "time 2026-11-20 05:00:00Z (seed 7)",
        "0/320 on timeline 1",
        "proof | 20261120-130001-ef01",
    ):
        assert text in report


def test_the_same_seed_draws_the_same_time_inside_the_window() -> None:
    drawn = [draw_target(WINDOW, seed) for seed in range(50)]

    assert drawn == [draw_target(WINDOW, seed) for seed in range(50)]
    assert len(set(drawn)) == 50
    for target in drawn:
        assert isinstance(target, AtTime)
        assert BEGIN <= target.at < BEGIN + timedelta(hours=10)
    assert draw_target(WINDOW, 3, 1) != draw_target(WINDOW, 3)


def test_without_a_window_there_is_nothing_to_draw() -> None:
    assert draw_target(None, 1) == Latest()
    assert draw_target(replace(WINDOW, ends_at=None), 1) == Latest()
    assert newest_window([replace(WINDOW, covered_until=None)]) is None


def test_the_copy_whose_drill_is_the_longest_ago_is_next() -> None:
    first = replace(PASSED, copy="offsite")
    second = replace(PASSED, copy="primary", started=BEGIN + timedelta(days=20))

    assert copy_to_drill(["primary", "offsite"], []) == "offsite", "the one a disaster leaves"
    assert copy_to_drill(["primary", "offsite"], [first]) == "primary"
    assert copy_to_drill(["primary", "offsite"], [second, first]) == "offsite"
    again = replace(first, started=BEGIN + timedelta(days=40))
    assert copy_to_drill(["primary", "offsite"], [first, second, again]) == "primary"


def test_a_record_reads_back_and_stands_beside_its_report() -> None:
    repository = MemoryRepository(clock=FakeClock())

    store_drill((repository,), PASSED)

    assert load_drills(repository) == (PASSED,)
    report = repository.read(f"drills/{PASSED.id}.md").decode()
    assert report == drill_report(PASSED)
    assert records.schema_version_of(repository.read(f"drills/{PASSED.id}.json")) == 1


def test_a_record_that_cannot_be_read_is_not_passed_over() -> None:
    repository = MemoryRepository(clock=FakeClock())
    repository.put("drills/20261120-130000-abcd.json", b"{}")

    with pytest.raises(UnreadableRecord):
        load_drills(repository)
