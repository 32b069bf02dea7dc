"""Pings: a success only when all is well, never a secret, and no work held up or failed by one."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr.adapters.ping import HttpPinger
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.ping import WORKS, Signal
from kb_dr.domain.proof import Proof, Verdict
from kb_dr.domain.recovery import RecoveryPlan
from kb_dr.errors import BackupInProgress, RepositoryUnavailable
from kb_dr.installation import Installation
from kb_dr.installation.pinging import Pinging
from kb_dr.operations.catalog import readable
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr.ports import Progress, Repository
from kb_dr.settings import Secret
from kb_dr_tests.fakes import FakeClock, RecordingProgress
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.sinks.ping_sink import PingSink


@pytest.fixture
def sink() -> Iterator[PingSink]:
    with PingSink() as made:
        yield made


class Told(MadeInstallation):
    """An installation whose every work is told to a sink; only the restore itself is played."""

    def __init__(self, directory: Path, sink: PingSink, *, local: bool = True) -> None:
        super().__init__(directory, local=local)
        pings = {work: Secret(sink.url(work)) for work in WORKS}
        self.settings = replace(self.settings, pings=pings)

    def prove(self, copy: str) -> Proof:
        """The real verify(), around a restore that comes to ``verdict``."""
        return Installation.verify(self, None, copy, RecordingProgress())

    def _prove(
        self,
        repository: Repository,
        other: Repository | None,
        progress: Progress,
        backup: BackupId | None,
        plan: RecoveryPlan | None = None,
    ) -> Proof:
        (stored,) = readable(self.catalog("primary", kinds=ALL_KINDS))
        minutes = 10 + len(self.proofs(stored.manifest.backup_id))
        return self.has_proof(stored, self.verdict, copy=repository.name, minutes=minutes)


@pytest.fixture
def told(tmp_path: Path, sink: PingSink) -> Told:
    return Told(tmp_path, sink)


def work(told: Pinging, name: str, part: str = "", *, every: bool = True, fails: str = "") -> None:
    """One run of one part of a work."""
    with told.pinged(name, part, parts=("offsite", "local") if part else (), every=every) as now:
        if fails:
            now.failed(fails)


def test_a_beginning_and_its_end_bear_the_same_run(told: Told, sink: PingSink) -> None:
    with told.pinged("backup", backup_id="kb-full-20261120-020000"):
        pass
    work(told, "backup")

    first, second, third, last = sink.pings("backup")
    assert [ping.signal for ping in (first, second, third, last)] == ["start", "success"] * 2
    assert first.run == second.run != third.run == last.run
    assert "kb-full-20261120-020000" in second.body
    assert "seconds: " in second.body


def test_an_error_is_a_failure_and_passes_on(told: Told, sink: PingSink) -> None:
    with pytest.raises(RepositoryUnavailable), told.pinged("backup"):
        raise RepositoryUnavailable("put there: nobody answers")

    assert sink.signals("backup") == ["start", "fail"]
    assert "put there: nobody answers" in sink.pings("backup")[1].body


def test_an_interrupt_is_a_failure(told: Told, sink: PingSink) -> None:
    with pytest.raises(KeyboardInterrupt), told.pinged("backup"):
        raise KeyboardInterrupt

    assert sink.signals("backup") == ["start", "fail"]


def test_a_bug_is_a_failure_in_no_words_but_its_name(told: Told, sink: PingSink) -> None:
    with pytest.raises(ValueError, match="rows"), told.pinged("backup"):
        raise ValueError("what rows hold")

    assert "what rows hold" not in sink.pings("backup")[1].body


def test_a_copy_that_works_never_hides_one_that_fails(told: Told, sink: PingSink) -> None:
    for _ in range(3):
        work(told, "wal", "offsite", fails="offsite: a gap")
        work(told, "wal", "local")

    assert "success" not in sink.signals("wal")
    assert sink.signals("wal").count("fail") == 3


def test_a_copy_that_is_not_even_tried_any_more_is_missed(told: Told, sink: PingSink) -> None:
    for _ in range(5):
        work(told, "wal", "local")

    assert "success" not in sink.signals("wal")
    assert "offsite" in sink.pings("wal")[1].body


def test_all_is_well_when_each_copy_is_and_all_of_it_is_one_run(told: Told, sink: PingSink) -> None:
    for part in ("offsite", "local", "local", "offsite"):
        work(told, "wal", part)

    assert sink.signals("wal") == ["start", "log", "start", "success"] * 2
    runs = [ping.run for ping in sink.pings("wal")]
    assert len(set(runs[:4])) == len(set(runs[4:])) == 1
    assert runs[0] != runs[4]


def test_a_copy_that_failed_is_well_again_when_it_is(told: Told, sink: PingSink) -> None:
    work(told, "wal", "offsite", fails="a gap")
    work(told, "wal", "local")
    work(told, "wal", "offsite")

    assert sink.signals("wal")[-1] == "success"


def test_where_nothing_can_be_kept_one_copy_alone_is_no_success(
    told: Told, sink: PingSink, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file where the directory should be")

    work(told, "wal", "offsite")
    work(told, "wal", "local")

    assert "success" not in sink.signals("wal")


def test_only_a_proven_proof_is_a_success(told: Told, sink: PingSink) -> None:
    told.has_offsite_copy(told.has_backup())

    for verdict in (Verdict.NOT_PROVEN, Verdict.FAILED, Verdict.PROVEN):
        told.verdict = verdict
        told.prove("offsite")

    assert sink.signals("verify") == ["start", "fail"] * 2 + ["start", "success"]
    assert "NOT_PROVEN: as the test says" in sink.pings("verify")[1].body


def test_a_proof_of_another_copy_does_not_hide_the_one_that_failed(
    told: Told, sink: PingSink
) -> None:
    told.has_offsite_copy(told.has_backup())
    told.verdict = Verdict.FAILED
    told.prove("offsite")

    told.verdict = Verdict.PROVEN
    told.prove("primary")
    assert sink.signals("verify")[-1] == "log"

    told.prove("offsite")
    assert sink.signals("verify")[-1] == "success"


def test_a_proof_of_a_dump_is_no_success_of_proofs_and_its_failure_is_one(
    told: Told, sink: PingSink
) -> None:
    backup = told.has_dump().manifest.backup_id

    Installation.verify(told, backup, "primary", RecordingProgress())
    told.verdict = Verdict.FAILED
    Installation.verify(told, backup, "primary", RecordingProgress())

    assert sink.signals("verify") == ["start", "log", "start", "fail"]


def test_a_void_proof_is_no_success(told: Told, sink: PingSink) -> None:
    told.has_offsite_copy(told.has_backup())
    told.outcomes = {next(iter(Damage)): ControlOutcome.BLIND}
    told.clock.sleep(365 * 86400)
    told.run_controls(None, "offsite", RecordingProgress())

    told.prove("offsite")

    assert sink.signals("verify") == ["start", "fail"]


def test_an_increment_that_had_nothing_to_do_is_neither_well_nor_not(
    told: Told, sink: PingSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_given: object, **_more: object) -> None:
        raise BackupInProgress("back up: another backup is at work")

    monkeypatch.setattr("kb_dr.operations.incremental_backup.take_incremental_backup", busy)
    monkeypatch.setattr("kb_dr.wiring.base_backup_program", lambda _settings: None)
    with pytest.raises(BackupInProgress):
        Installation.back_up_incremental(told, None, RecordingProgress())

    assert sink.signals("increment") == ["start", "log"]


def test_copies_are_told_of_once_they_are_all_there(told: Told, sink: PingSink) -> None:
    backup = told.has_backup().manifest.backup_id

    told.copy_backup(backup, "offsite", RecordingProgress())
    told.copy_backup(backup, "local", RecordingProgress())

    assert sink.signals("copy") == ["start", "log", "start", "success"]
    assert str(backup) in sink.pings("copy")[3].body


def test_a_dump_that_was_copied_hides_no_base_backup_that_was_not(
    told: Told, sink: PingSink
) -> None:
    dump = told.has_dump().manifest.backup_id
    work(told, "copy", "offsite", fails="a base backup")

    told.copy_backup(dump, "offsite", RecordingProgress())
    told.copy_backup(dump, "local", RecordingProgress())
    with told.pinged("copy", parts=told.further_copies, every=True):
        told.copy_backup(dump, "offsite", RecordingProgress())

    copied = ["start", "fail", *["start", "log"] * 2]
    assert sink.signals("copy") == [*copied, "start", "success"], "all of it was brought at last"


def test_a_copy_that_cannot_be_written_is_a_failure(told: Told, sink: PingSink) -> None:
    backup = told.has_backup().manifest.backup_id
    told.offsite.failures[""] = RepositoryUnavailable("put there: nobody answers")

    with pytest.raises(RepositoryUnavailable):
        told.copy_backup(backup, "offsite", RecordingProgress())

    assert sink.signals("copy") == ["start", "fail"]


def test_retention_of_one_copy_that_failed_fails_all_of_it(told: Told, sink: PingSink) -> None:
    told.has_backup()
    with told.pinged("retention", parts=told.copies, every=True) as now:
        told.apply_retention(told.plan_retention("primary"), RecordingProgress())
        now.failed("list offsite: nobody answers")

    told.apply_retention(told.plan_retention("primary"), RecordingProgress())

    assert sink.signals("retention") == ["start", "fail", "start", "log"]


def test_inside_a_work_the_same_work_is_told_of_once(told: Told, sink: PingSink) -> None:
    with told.pinged("copy", parts=told.further_copies, every=True):
        try:
            with told.pinged("copy", "offsite", parts=told.further_copies, every=True):
                raise RepositoryUnavailable("put there: nobody answers")
        except RepositoryUnavailable:
            pass  # the next copy is gone on with

    assert sink.signals("copy") == ["start", "fail"]


@pytest.mark.parametrize("trouble", ["500", "hangs", "gone"])
def test_a_switch_that_does_not_answer_fails_nothing_and_is_logged_without_its_address(
    trouble: str, sink: PingSink, caplog: pytest.LogCaptureFixture
) -> None:
    url = sink.url("0a1b2c3d-secret-uuid")
    sink.answer, sink.hangs = (500 if trouble == "500" else 200), trouble == "hangs"
    if trouble == "gone":
        url = "http://127.0.0.1:9/0a1b2c3d-secret-uuid"
    pinger = HttpPinger(Secret(url), "backup", seconds=0.1)

    with caplog.at_level(logging.WARNING):
        pinger.send(Signal.SUCCESS, "run")
        pinger.end()

    assert "the success ping of backup was not taken" in caplog.text
    assert "0a1b2c3d" not in caplog.text


def test_a_watch_is_noted_pinged_and_found_again(told: Told, sink: PingSink) -> None:
    assert told.last_watch() is None

    told.note_watch(told.clock.now())

    assert told.last_watch() == told.clock.now()
    assert sink.signals("watch") == ["success"]


def test_a_note_of_the_watch_that_is_damaged_is_none(told: Told, tmp_path: Path) -> None:
    told.note_watch(told.clock.now())
    (tmp_path / "state" / "watch.json").write_text('{"at": "2026-')

    assert told.last_watch() is None


def test_when_nothing_happens_any_more_the_switch_says_so(tmp_path: Path) -> None:
    clock = FakeClock()
    with PingSink(clock.monotonic) as sink:
        told = Told(tmp_path, sink)
        told.note_watch(told.clock.now())
        assert sink.state("watch", period=60, grace=120) == "up"

        clock.sleep(100)
        assert sink.state("watch", period=60, grace=120) == "late"

        clock.sleep(100)
        assert sink.state("watch", period=60, grace=120) == "down"


def test_work_that_began_and_never_ended_is_missed(tmp_path: Path) -> None:
    clock = FakeClock()
    with PingSink(clock.monotonic) as sink:
        pinger = HttpPinger(Secret(sink.url("backup")), "backup")
        pinger.send(Signal.SUCCESS, "yesterday")
        pinger.send(Signal.START, "today")
        pinger.end()

        clock.sleep(3601)
        assert sink.state("backup", period=86400, grace=3600) == "down"
