"""Each row of the watch, on real programs: red when it is broken, good before and after.

And what no row may do: be green where nobody could look.
"""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.cli.app import run
from kb_dr.domain import layout
from kb_dr.domain.proof import Outcome
from kb_dr.domain.severity import Severity
from kb_dr.domain.watch_checks import HOURLY_CHECKS, MINUTE_CHECKS
from kb_dr.domain.watched import Watched
from kb_dr.installation import Installation
from kb_dr_tests.broken_rows import ROWS, Row, archive_again, archive_command_lies, bucket_is_away
from kb_dr_tests.days_ago import DaysAgo
from kb_dr_tests.protected_service import ProtectedService, protect
from kb_dr_tests.streamed_service import StreamedService, streamed_cluster

GOOD = (Outcome.PASSED, Outcome.NOT_APPLICABLE)
LOOSE = {
    # This machine's disks are whatever they are.
    "KB_DR_SPACE_WARNING_PERCENT": "100",
    "KB_DR_SPACE_CRITICAL_PERCENT": "101",
}


@pytest.fixture(scope="module")
def service(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ProtectedService]:
    """One of this module's own: it gets more backups, and gaps in its WAL."""
    with ExitStack() as stack:
        yield protect(postgres_programs, tmp_path_factory.mktemp("watched"), stack)


def look(opened: Installation, name: str) -> Watched:
    (seen,) = opened.watch([name])
    assert seen.name == name
    return seen


def test_all_is_well_with_a_service_that_was_just_protected(service: ProtectedService) -> None:
    began = time.process_time()
    seen = service.opened(**LOOSE).watch()
    spent = time.process_time() - began

    assert [each.name for each in seen] == list(MINUTE_CHECKS)
    assert {each.name: each.seen for each in seen if each.outcome not in GOOD} == {}
    passed = {each.name for each in seen if each.outcome is Outcome.PASSED}
    assert set(MINUTE_CHECKS) - passed == {
        "newest_increment_is_young",  # a full one was just taken
        "newest_dump_is_young",  # none is due yet
        "backup_size_is_plausible",  # there is nothing to hold it against
        "slot_keeps_up",  # WAL is archived by command
    }
    print(f"\nCPU of one look at all {len(seen)}: {spent:.3f} s")


def test_the_hourly_checks_are_well_too(service: ProtectedService) -> None:
    seen = {each.name: each for each in service.opened().watch(HOURLY_CHECKS)}

    assert seen["keys_open"].outcome is Outcome.PASSED
    # Only one of two copies was ever proven.
    assert seen["coverage_is_whole"].outcome is Outcome.FAILED
    assert seen["coverage_is_whole"].severity is Severity.WARNING
    assert seen["coverage_is_whole"].values["covered_copies_percent"] == 50


@pytest.mark.parametrize(
    "row",
    # The lie has a test of its own, below.
    [row for row in ROWS.values() if row.broken is not archive_command_lies],
    ids=lambda row: row.name,
)
def test_a_row_is_red_while_it_is_broken_and_good_again_after(
    row: Row, service: ProtectedService
) -> None:
    settings = LOOSE | row.settings
    assert look(service.opened(**settings), row.check).outcome in GOOD

    with row.broken(service):
        red = look(service.opened(**settings | row.while_broken), row.check)
    after = look(service.opened(**settings), row.check)

    assert (red.outcome, red.severity) == (Outcome.FAILED, row.severity), red
    assert red.broken
    assert red.hint
    assert after.outcome in GOOD, after


def test_a_command_that_lies_is_caught_while_the_server_itself_sees_nothing_wrong(
    service: ProtectedService,
) -> None:
    """And stays red, also once the server's statistics were reset, until a full backup."""
    with archive_command_lies(service):
        names = ["archiver_succeeds", "archived_wal_has_arrived", "wal_leaves_the_server"]
        lied = {each.name: each.outcome for each in service.opened().watch(names)}
        archive_again(service)
        honest = look(service.opened(), "archived_wal_has_arrived")
        service.cluster.query("select pg_stat_reset_shared('archiver')")
        forgotten = look(service.opened(), "archived_wal_has_arrived")
    after = look(service.opened(), "archived_wal_has_arrived")

    assert lied == {
        "archiver_succeeds": Outcome.PASSED,
        "wal_leaves_the_server": Outcome.PASSED,
        "archived_wal_has_arrived": Outcome.FAILED,
    }
    assert honest.outcome is Outcome.FAILED
    assert [each.outcome for each in honest.parts] == [Outcome.PASSED, Outcome.FAILED]
    assert honest.values["missing_segments"] >= 1
    assert forgotten.outcome is Outcome.FAILED
    assert after.outcome is Outcome.PASSED, "a full backup begins a new chain"


def test_nothing_is_green_that_a_silent_source_would_have_to_say(
    service: ProtectedService,
) -> None:
    seen = {each.name: each for each in service.opened(KB_DB_HOST="/nowhere", **LOOSE).watch()}

    could_not = {name for name, each in seen.items() if each.outcome is Outcome.COULD_NOT_RUN}
    assert could_not == {
        "wal_leaves_the_server",
        "archiver_succeeds",
        "archived_wal_has_arrived",
        "slot_keeps_up",
        "clocks_agree",
    }
    assert all(seen[name].seen and seen[name].hint for name in could_not)


def test_nothing_is_green_that_a_silent_bucket_would_have_to_show(
    service: ProtectedService,
) -> None:
    with bucket_is_away(service):
        opened = service.opened(KB_DR_S3_TIMEOUT_SECONDS="1", **LOOSE)
        seen = {each.name: each for each in opened.watch()}
    again = look(opened, "repositories_answer")

    assert {name for name, each in seen.items() if each.outcome is Outcome.PASSED} == {
        "wal_leaves_the_server",
        "archiver_succeeds",
        "disks_have_room",
        "newest_proof_is_young",  # offsite is the copy that counts
    } | {"clocks_agree"}
    assert seen["repositories_answer"].broken == ("primary",)
    assert seen["newest_backup_is_young"].broken == ("newest full backup in primary",)
    assert seen["archived_wal_has_arrived"].outcome is Outcome.COULD_NOT_RUN
    assert again.outcome is Outcome.PASSED, "an installation that stays open asks anew"


def test_what_is_old_is_red_by_a_clock_that_went_on(service: ProtectedService) -> None:
    """Two days on, and nothing happened; a clock set back makes nothing young."""
    later, before = service.opened(**LOOSE), service.opened(**LOOSE)
    later.clock, before.clock = DaysAgo(-2), DaysAgo(1)
    names = ["newest_backup_is_young", "newest_increment_is_young", "rpo_holds", "clocks_agree"]

    old = {each.name: each for each in later.watch(names)}
    unborn = {each.name: each for each in before.watch(names)}

    assert {name for name, each in old.items() if each.outcome is Outcome.FAILED} >= {
        "newest_backup_is_young",
        "newest_increment_is_young",
        "clocks_agree",
    }
    assert old["newest_backup_is_young"].values["age_seconds_primary"] > 47 * 3600
    assert unborn["newest_backup_is_young"].outcome is Outcome.FAILED
    assert unborn["clocks_agree"].outcome is Outcome.FAILED


def test_a_probe_is_written_once_a_quarter_and_gone_after_a_day(service: ProtectedService) -> None:
    opened = service.opened()
    opened.clock = _Quarter()
    offsite = opened.repository("offsite")

    def stamps() -> list[str | None]:
        return [layout.stamp_of_probe(each.key) for each in offsite.list(layout.PROBES)]

    for _ in range(3):
        assert look(opened, "repositories_answer").outcome is Outcome.PASSED
    first = [each for each in stamps() if each == "20300105-101500"]
    opened.clock.at += timedelta(days=1, minutes=30)
    look(opened, "repositories_answer")

    assert len(first) == 1
    assert "20300105-101500" not in stamps()
    assert "20300106-104500" in stamps()


class _Quarter(SystemClock):
    at = SystemClock().now().replace(
        year=2030, month=1, day=5, hour=10, minute=17, second=3, microsecond=0
    )  # fmt: skip

    def now(self) -> datetime:
        return self.at


def test_the_command_says_the_same_and_exits_by_it(service: ProtectedService) -> None:
    good = service.run("watch", "archiver_succeeds", "disks_have_room", **LOOSE)
    bad = service.run("watch", "newest_backup_is_young", "--json", KB_DR_BACKUP_AGE_HOURS="0.0001")

    good.require(0)
    assert "archiver_succeeds" in good.out
    bad.require(63, "newest_backup_is_young (critical, failed)")
    (seen,) = json.loads(bad.out)
    assert seen["outcome"] == "failed"
    assert seen["values"]["age_seconds_primary"] > 0
    assert run(["watch", "no_such_check"]) == 2


def test_a_stream_in_place_of_an_archive_command_is_what_is_watched(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    """Green while it runs, red once it is gone; nothing is asked of an archiver that is off."""
    names = ["slot_keeps_up", "archiver_succeeds", "archived_wal_has_arrived"]
    names.append("wal_leaves_the_server")
    with streamed_cluster(postgres_programs, tmp_path / "source") as cluster:
        streamed = StreamedService(tmp_path / "service", cluster)
        before = {each.name: each.outcome for each in streamed.opened().watch(names)}
        with streamed.streaming() as stream:
            stream.wait_to_say("receiving")
            cluster.wait_for("select bool_or(active) from pg_replication_slots")
            running = {each.name: each.outcome for each in streamed.opened().watch(names)}
        cluster.wait_for("select not bool_or(active) from pg_replication_slots")
        gone = {each.name: each.outcome for each in streamed.opened().watch(names)}

    red = {"slot_keeps_up", "archiver_succeeds"}
    for seen in (before, gone):
        assert {name for name, outcome in seen.items() if outcome is Outcome.FAILED} == red
    assert running.pop("slot_keeps_up") is Outcome.PASSED
    assert set(running.values()) == {Outcome.NOT_APPLICABLE}


def test_a_role_that_may_not_look_turns_nothing_green(service: ProtectedService) -> None:
    service.cluster.query("create role watcher login")
    try:
        seen = look(service.opened(KB_DB_USER="watcher"), "wal_leaves_the_server")
    finally:
        service.cluster.query("drop role watcher")

    assert seen.outcome is Outcome.COULD_NOT_RUN
    assert "pg_monitor" in seen.hint or "grant" in seen.hint
