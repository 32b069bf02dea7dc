"""Metrics tell the truth or nothing: no 0 for what nobody knows, and no value of yesterday."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.base_backup import ArchiverStatus
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.measured import Measured, Taken, Tries
from kb_dr.domain.metric import METRICS, Metric
from kb_dr.domain.metrics import metrics_of, metrics_without_look
from kb_dr.domain.proof import Outcome, Verdict
from kb_dr.domain.replication_slot import ReplicationSlot
from kb_dr.domain.severity import Severity
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.space import Space
from kb_dr.domain.watched import Watched
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.catalog import readable
from kb_dr.operations.controls import store_control_run
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.listed_backups import KINDS
from kb_dr.operations.proofs import store_proof
from kb_dr.operations.record_failure import record_failure
from kb_dr.operations.status import take_status
from kb_dr.operations.taken_backups import recent_backups, recent_tries
from kb_dr.settings import Objectives
from kb_dr_tests.fakes import FakeClock, PlainCodec
from kb_dr_tests.made_controls import made_run
from kb_dr_tests.made_history import History
from kb_dr_tests.made_installation import MadeInstallation, made_proof
from kb_dr_tests.stored_backups import STARTED

NOW = datetime(2026, 11, 22, 2, tzinfo=UTC)
DOWN = RepositoryUnavailable("list memory://primary: connection refused")


@pytest.fixture
def made(tmp_path: Path) -> MadeInstallation:
    """Two full backups, the older one offsite and proven there; looked at two hours later."""
    made = MadeInstallation(tmp_path)
    first = made.has_backup()
    made.has_backup(days=1)
    made.has_offsite_copy(first)
    made.has_proof(first, Verdict.PROVEN)
    assert isinstance(made.clock, FakeClock)
    made.clock.set(STARTED + timedelta(days=1, hours=2))
    return made


def test_the_names_of_the_requirements_are_those_of_the_newest_full_backup(
    made: MadeInstallation,
) -> None:
    newest = readable(made.catalog("primary"))[-1].manifest

    found = made.measure()

    assert value(found, "backup_postgres_last_success_timestamp") == newest.finished.timestamp()
    assert value(found, "backup_postgres_last_size_bytes") == newest.stored_bytes
    assert value(found, "backup_postgres_avg_size_bytes_7d") == newest.stored_bytes


def test_the_mean_is_of_the_week_before_the_newest_and_without_it() -> None:
    history = History.begin()
    for _ in range(10):
        began = history.clock.now()
        history.back_up()
        history.clock.set(began + timedelta(days=1))
    full = taken_of(history)[BackupKind.FULL]
    sized = tuple(replace(each, stored_bytes=number) for number, each in enumerate(full))

    found = metrics_of(measured(history, taken={BackupKind.FULL: sized}))

    assert value(found, "backup_postgres_last_size_bytes") == sized[-1].stored_bytes
    week = [each.stored_bytes for each in sized[-8:-1]]
    assert value(found, "backup_postgres_avg_size_bytes_7d") == sum(week) / 7


def test_an_increment_is_no_success_of_the_full_backup_that_is_due() -> None:
    history = History.begin()
    full, _, _ = history.chain()

    found = metrics_of(measured(history, taken=taken_of(history)))

    at = full.manifest.finished.timestamp()
    assert value(found, "backup_postgres_last_success_timestamp") == at
    assert value(found, "kb_dr_backup_size_bytes", kind="incr") is not None


def test_a_backup_whose_proof_failed_is_no_success(made: MadeInstallation) -> None:
    first, newest = readable(made.catalog("primary"))
    made.has_proof(newest, Verdict.FAILED, copy="primary")

    found = made.measure()

    at = first.manifest.finished.timestamp()
    assert value(found, "backup_postgres_last_success_timestamp") == at
    assert value(found, "kb_dr_proof_verdict", copy="primary", verdict="FAILED") == 1


def test_a_green_of_a_dump_does_not_cover_the_red_of_a_base_backup(made: MadeInstallation) -> None:
    newest = readable(made.catalog("primary"))[-1]
    made.has_proof(newest, Verdict.FAILED, copy="primary")
    of_dump = replace(
        made_proof(newest, Verdict.PROVEN, copy="primary", minutes=20),
        backup_id="kb-dump-20261120-030000",
    )
    store_proof(made.primary, of_dump)

    found = made.measure()

    assert value(found, "kb_dr_proof_verdict", copy="primary", verdict="FAILED") == 1
    assert value(found, "kb_dr_proof_verdict", copy="primary", verdict="PROVEN") == 0


def test_a_repository_that_is_down_leaves_no_value_behind(made: MadeInstallation) -> None:
    before = made.measure()
    assert value(before, "backup_postgres_last_success_timestamp") is not None
    made.primary.failures[""] = DOWN
    made._closed.clear()

    found = made.measure()

    assert value(found, "kb_dr_copy_readable", copy="primary") == 0
    assert value(found, "kb_dr_copy_readable", copy="offsite") == 1
    of_primary = {each.name for each in found if each.labels.get("copy") == "primary"}
    assert of_primary == {"kb_dr_copy_readable"}
    gone = {each.name for each in before} - {each.name for each in found}
    assert gone >= {
        "backup_postgres_last_success_timestamp",
        "backup_postgres_last_size_bytes",
        "backup_postgres_avg_size_bytes_7d",
        "kb_dr_backups_succeeded",
        "kb_dr_backup_attempts_failed",
        "kb_dr_proofs",
        "kb_dr_backups_held",
        "kb_dr_copy_lag_seconds",
    }
    assert value(found, "kb_dr_objectives_hold") == 0
    assert value(found, "kb_dr_recoverable") is None
    assert value(found, "kb_dr_objective_holds", objective="primary can be read") is None
    assert value(found, "kb_dr_objective_unknown", objective="primary can be read") == 1


def test_all_repositories_down_is_still_an_answer(made: MadeInstallation) -> None:
    for memory in made.memory.values():
        memory.failures[""] = DOWN

    found = made.measure()

    assert value(found, "kb_dr_last_look_timestamp_seconds") == made.clock.now().timestamp()
    assert value(found, "kb_dr_proofs_void") == 1
    assert not [each for each in found if each.name.startswith("backup_")]


def test_a_backup_whose_wal_nobody_could_look_at_is_no_success_yet() -> None:
    history = History.begin()
    history.back_up()
    look = measured(history, taken=taken_of(history))
    assert value(metrics_of(look), "backup_postgres_last_success_timestamp") is not None
    assert look.status is not None
    copies = tuple(replace(copy, problem="no identity") for copy in look.status.copies)

    found = metrics_of(replace(look, status=replace(look.status, copies=copies)))

    assert not [each for each in found if each.name.startswith("backup_postgres")]
    assert value(found, "kb_dr_backup_size_bytes", kind="full") is not None


def test_a_proof_that_cannot_be_read_hides_every_verdict(made: MadeInstallation) -> None:
    newest = readable(made.catalog("primary"))[-1].manifest
    key = layout.proof_key(newest.backup_id, "primary", "20261121-030000-bad")
    made.primary.bodies[key] = b"{"

    found = made.measure()

    assert not [each for each in found if each.name in ("kb_dr_proofs", "kb_dr_proof_verdict")]


def test_only_what_failed_of_late_and_of_its_kind_is_counted(made: MadeInstallation) -> None:
    clock = FakeClock(made.clock.now())
    for hours, attempt in ((1, "a"), (1, "b"), (30, "c"), (24 * 40, "d")):
        backup = BackupId.of("kb", BackupKind.FULL, clock.now() - timedelta(hours=hours))
        record_failure(made.primary, clock, backup, attempt, "h", DOWN)
    assert len(list(made.primary.list(layout.FAILURES))) == 4

    found = made.measure()

    failed = [failures(found, "full", window) for window in ("24h", "7d", "30d")]
    assert failed == [2, 3, 3]
    assert failures(found, "incr", "30d") == 0
    done = [
        value(found, "kb_dr_backups_succeeded", kind="full", window=window)
        for window in ("24h", "7d", "30d")
    ]
    assert done == [1, 2, 2]


def test_a_backup_that_was_let_go_of_was_a_success_all_the_same() -> None:
    history = History.begin()
    history.days(14)
    history.apply()
    left = len(history.ids)
    assert left < 14

    found = metrics_of(measured(history, tries=tries_of(history)))

    assert value(found, "kb_dr_backups_succeeded", kind="full", window="30d") == 14


def test_what_was_not_copied_waits_since_it_was_taken(made: MadeInstallation) -> None:
    newest = readable(made.catalog("primary"))[-1].manifest

    found = made.measure()

    waited = (made.clock.now() - newest.finished).total_seconds()
    assert value(found, "kb_dr_copy_lag_seconds", copy="offsite") == waited
    assert value(found, "kb_dr_copy_lag_seconds", copy="primary") is None


@pytest.mark.parametrize(
    ("outcome", "holds", "unknown"),
    [
        (Outcome.PASSED, 1, 0),
        (Outcome.FAILED, 0, 0),
        (Outcome.COULD_NOT_RUN, None, 1),
        (Outcome.NOT_APPLICABLE, None, 0),
    ],
)
def test_a_check_that_cannot_tell_is_neither_yes_nor_no(
    outcome: Outcome, holds: int | None, unknown: int
) -> None:
    watched = Watched("rpo_holds", outcome, Severity.CRITICAL, "seen")

    found = metrics_of(empty(watched=(watched,)))

    labels = {"check": "rpo_holds", "severity": "critical"}
    assert value(found, "kb_dr_check", **labels) == holds
    assert value(found, "kb_dr_check_unknown", **labels) == unknown


def test_a_failed_archiver_counts_until_it_succeeds() -> None:
    failing = ArchiverStatus("on", "cp", 5, 3, "1", NOW - timedelta(minutes=2), "2", NOW)
    mended = replace(failing, last_archived_at=NOW + timedelta(minutes=1))
    off = replace(failing, mode="off")

    assert value(metrics_of(empty(archiver=failing)), "backup_wal_archive_failures") == 3
    found = metrics_of(empty(archiver=mended))
    assert value(found, "backup_wal_archive_failures") == 0
    assert value(found, "kb_dr_wal_archive_failures_total") == 3
    assert value(metrics_of(empty(archiver=off)), "backup_wal_archive_failures") is None
    assert value(metrics_of(empty()), "backup_wal_archive_failures") is None


def test_the_source_says_what_it_keeps_and_how_late_its_clock_is() -> None:
    facts = source(waiting=7, slot=ReplicationSlot("kb_dr", False, None, None, "reserved"))

    found = metrics_of(empty(source=facts, source_asked_at=NOW + timedelta(seconds=3)))

    assert value(found, "kb_dr_source_up") == 1
    assert value(found, "kb_dr_source_clock_offset_seconds") == -3
    assert value(found, "kb_dr_wal_unarchived_segments") == 7
    assert value(found, "kb_dr_slot_active", slot="kb_dr") == 0
    assert value(found, "kb_dr_slot_lag_bytes", slot="kb_dr") is None
    gone = metrics_of(empty())
    assert value(gone, "kb_dr_source_up") == 0
    assert value(gone, "kb_dr_wal_unarchived_segments") is None


def test_a_role_that_may_not_look_says_nothing_of_waiting_segments() -> None:
    found = metrics_of(empty(source=source(waiting=None)))

    assert value(found, "kb_dr_wal_unarchived_segments") is None


def test_a_blind_verifier_voids_what_is_shown(made: MadeInstallation) -> None:
    run = made_run(made.clock.now(), {Damage.WAL_MISSING: ControlOutcome.BLIND})
    store_control_run(list(made.memory.values()), run)

    found = made.measure()

    assert value(found, "kb_dr_controls_passed") == 0
    assert value(found, "kb_dr_proofs_void") == 1
    assert value(found, "kb_dr_proof_last_timestamp_seconds", copy="offsite") is None


def test_a_round_on_a_dump_stands_for_none_on_a_base_backup() -> None:
    earlier = STARTED - timedelta(days=40)
    bad = made_run(earlier, {Damage.WAL_MISSING: ControlOutcome.MISJUDGED})
    of_dump = replace(made_run(STARTED), backup_id="kb-dump-20261120-030000")

    beside = metrics_of(empty(controls=(bad, of_dump)))
    alone = metrics_of(empty(controls=(of_dump,)))

    assert value(beside, "kb_dr_controls_passed") == 0
    assert value(beside, "kb_dr_controls_last_timestamp_seconds") == earlier.timestamp()
    assert value(alone, "kb_dr_controls_passed") is None
    assert value(alone, "kb_dr_controls_last_timestamp_seconds") is None


def test_a_round_on_a_base_backup_hides_no_bad_one_on_a_dump() -> None:
    bad = replace(
        made_run(STARTED - timedelta(days=1), {Damage.ROWS_DROPPED: ControlOutcome.MISJUDGED}),
        backup_id="kb-dump-20261120-030000",
    )

    found = metrics_of(empty(controls=(bad, made_run(STARTED))))

    assert value(found, "kb_dr_controls_passed") == 0
    assert value(found, "kb_dr_controls_last_timestamp_seconds") == STARTED.timestamp()


def test_a_number_that_is_none_is_absent() -> None:
    found = metrics_of(empty(limits={"rpo": float("nan"), "rto": float("inf"), "drill_age": 1.0}))

    limits = {
        each.labels["limit"]: each.value
        for each in found
        if each.name == "kb_dr_objective_limit_seconds"
    }
    assert limits == {"drill_age": 1.0}


def test_disks_and_alerts_and_the_watch_are_told_as_they_are() -> None:
    found = metrics_of(
        empty(
            spaces={"local": Space(200, 50)},
            open_alerts={Severity.CRITICAL: 2},
            last_watch=NOW - timedelta(minutes=1),
        )
    )

    assert value(found, "kb_dr_disk_used_ratio", place="local") == 0.75
    assert value(found, "kb_dr_alerts_open", severity="critical") == 2
    assert value(found, "kb_dr_alerts_open", severity="warning") == 0
    assert value(found, "kb_dr_watch_last_success_timestamp_seconds") == NOW.timestamp() - 60
    without = {each.name for each in metrics_of(empty())}
    assert not without & {"kb_dr_alerts_open", "kb_dr_watch_last_success_timestamp_seconds"}


def test_without_a_look_only_the_exporter_itself_is_told() -> None:
    names = [each.name for each in metrics_without_look("kb", "1", "3", NOW)]
    assert names == ["kb_dr_build_info", "kb_dr_last_look_timestamp_seconds"]
    assert [each.name for each in metrics_without_look("kb", "1", "3", None)] == names[:1]


def test_every_value_has_its_name_labels_and_order(made: MadeInstallation) -> None:
    found = made.measure()

    order = list(METRICS)
    assert [order.index(each.name) for each in found] == sorted(
        order.index(each.name) for each in found
    )
    for each in found:
        assert tuple(each.labels) == ("service", *METRICS[each.name].labels)
    assert len({(each.name, tuple(each.labels.items())) for each in found}) == len(found)


def value(found: Sequence[Metric], name: str, **labels: str) -> float | None:
    """The one value of this name and these labels; None when it is absent."""
    assert name in METRICS
    wanted = {"service": "kb"} | labels
    values = [each.value for each in found if each.name == name and each.labels == wanted]
    assert len(values) <= 1
    return values[0] if values else None


def failures(found: Sequence[Metric], kind: str, window: str) -> float | None:
    return value(found, "kb_dr_backup_attempts_failed", kind=kind, window=window)


def empty(**given: object) -> Measured:
    """A look at which nothing could be told but what is given."""
    return replace(Measured("kb", "0.1.0", "3.11", NOW, 0.5), **given)  # type: ignore[arg-type]  # fields by name


def source(*, waiting: int | None, slot: ReplicationSlot | None = None) -> SourceFacts:
    return SourceFacts(
        server_version=160014,
        system_identifier=7,
        segment_bytes=1 << 24,
        is_standby=False,
        written_lsn=Lsn(0x3000000),
        timeline=1,
        now=NOW,
        wal_level="replica",
        max_wal_senders=10,
        archive_timeout_seconds=300,
        waiting_segments=waiting,
        may_replicate=True,
        slot=slot,
    )


def measured(history: History, **given: object) -> Measured:
    """A look at one copy with a past."""
    status = take_status(
        [history.repository],
        PlainCodec(),
        history.clock,
        Objectives(3600.0, 4 * 3600.0, 26 * 3600.0, 8 * 86400.0),
        service="kb",
        org="default",
        everything=True,
    )
    # Its WAL is made up: of that nothing is asked here.
    copies = tuple(replace(copy, problem="") for copy in status.copies)
    return empty(looked_at=history.clock.now(), status=replace(status, copies=copies), **given)


def taken_of(history: History) -> dict[BackupKind, tuple[Taken, ...]]:
    now = history.clock.now()
    return {
        kind: recent_backups(history.repository, "kb", kind, now, KnownEntries()) for kind in KINDS
    }


def tries_of(history: History) -> dict[BackupKind, Tries]:
    since = history.clock.now() - timedelta(days=30)
    return {kind: recent_tries(history.repository, "kb", kind, since) for kind in KINDS}
