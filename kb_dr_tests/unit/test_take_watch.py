"""What the watch gathers: timelines, copies that lag, backups under way, probes; and no more calls
than one look needs.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.base_backup import ArchiverStatus
from kb_dr.domain.finding import Finding
from kb_dr.domain.proof import Outcome, Verdict
from kb_dr.domain.severity import Severity
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.domain.watch_checks import HOURLY_CHECKS, MINUTE_CHECKS
from kb_dr.domain.watched import Watched
from kb_dr.errors import (
    ConfigurationError,
    PostgresUnavailable,
    RepositoryRefused,
    RepositoryUnavailable,
)
from kb_dr_tests.fakes import PlainCodec
from kb_dr_tests.made_copies import bring, let_go
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.made_watch import ARCHIVER, FACTS
from kb_dr_tests.stored_backups import (
    STARTED,
    segment,
    store_backup,
    store_objects,
    store_segments,
)

P, F, C, N = Outcome.PASSED, Outcome.FAILED, Outcome.COULD_NOT_RUN, Outcome.NOT_APPLICABLE
CODEC = PlainCodec()


class SaidSource:
    """A source that says what the test says, and counts how often it is asked."""

    def __init__(self) -> None:
        self.seen: SourceFacts | PostgresUnavailable = FACTS
        self.archiving: ArchiverStatus = replace(ARCHIVER, last_archived_wal=segment(3).name)
        self.asked: list[str] = []

    def facts(self) -> SourceFacts:
        self.asked.append("facts")
        if isinstance(self.seen, PostgresUnavailable):
            raise self.seen
        return self.seen

    def archiver(self) -> ArchiverStatus:
        self.asked.append("archiver")
        return self.archiving


@pytest.fixture
def made(tmp_path: Path) -> MadeInstallation:
    """Two copies in memory, made at STARTED, and an hour on a backup in the primary."""
    installation = MadeInstallation(tmp_path)
    installation.source = SaidSource()  # type: ignore[assignment]  # as much of one as is asked
    installation.clock.sleep(3600)
    store_backup(installation.primary, CODEC, started=STARTED + timedelta(minutes=50))
    return installation


def look(installation: MadeInstallation, name: str) -> Watched:
    (seen,) = installation.watch([name])
    return seen


def parts(seen: Watched) -> dict[str, Finding]:
    return {each.subject: each for each in seen.parts}


def test_every_check_is_judged_in_the_order_they_are_listed(made: MadeInstallation) -> None:
    every = [*MINUTE_CHECKS, *HOURLY_CHECKS]

    assert [each.name for each in made.watch()] == list(MINUTE_CHECKS)
    assert [each.name for each in made.watch(every[::-1])] == every
    with pytest.raises(ConfigurationError, match="no_such_check"):
        made.watch(["no_such_check"])


def test_one_look_asks_the_source_once_and_not_again_once_it_was_silent(
    made: MadeInstallation,
) -> None:
    source = made.source
    assert isinstance(source, SaidSource)

    made.watch()
    asked = list(source.asked)
    source.asked.clear()
    source.seen = PostgresUnavailable("ask the source: nobody there")
    made.watch()

    assert asked == ["facts", "archiver"]
    assert source.asked == ["facts"]


def test_a_copy_that_fails_is_red_and_leaves_what_needs_it_unknown(made: MadeInstallation) -> None:
    made.offsite.failures[""] = RepositoryUnavailable("list memory://offsite: no answer")
    made.offsite.failures[layout.MARKER] = made.offsite.failures[""]

    seen = {each.name: each for each in made.watch()}

    assert seen["repositories_answer"].broken == ("offsite",)
    assert seen["copies_follow"].outcome is C
    assert parts(seen["newest_backup_is_young"])["newest full backup in offsite"].outcome is C
    assert parts(seen["newest_backup_is_young"])["newest full backup in primary"].outcome is P
    made.offsite.failures.clear()
    bring(made, "offsite")
    assert look(made, "newest_backup_is_young").outcome is P, "the next look asks anew"


def test_a_copy_that_takes_nothing_is_red_and_can_still_be_read(made: MadeInstallation) -> None:
    def refuse(key: str, body: bytes, *, digest: bool = True) -> None:
        raise RepositoryRefused(f"put {key}: read only")

    made.primary.put = refuse  # type: ignore[method-assign, assignment]  # a store that is read-only

    assert look(made, "repositories_answer").broken == ("primary",)
    assert look(made, "newest_backup_is_young").values["age_seconds_primary"] == 540


def test_what_a_proof_failed_is_no_young_backup(made: MadeInstallation) -> None:
    stored = store_backup(
        made.primary, CODEC, started=STARTED + timedelta(minutes=55), start=4, stop=5
    )
    before = look(made, "newest_backup_is_young")

    made.has_proof(stored, Verdict.FAILED, copy="primary", minutes=1)
    after = look(made, "newest_backup_is_young")

    assert before.values["age_seconds_primary"] == 240
    assert after.values["age_seconds_primary"] == 540, "the one before it counts"


# --- copies -------------------------------------------------------------------------------


def test_a_backup_that_does_not_come_over_is_red_in_time(made: MadeInstallation) -> None:
    fresh = look(made, "copies_follow")
    made.clock.sleep(3600)
    late = look(made, "copies_follow")
    made.clock.sleep(3600)
    later = look(made, "copies_follow")
    bring(made, "offsite")
    brought = look(made, "copies_follow")

    subject = "backups in offsite"
    assert parts(fresh)[subject].outcome is P
    assert fresh.outcome is C, "nobody knows how far WAL comes that leads nowhere"
    assert (late.outcome, late.severity) == (F, Severity.WARNING)
    assert late.values["missing_backups_offsite"] == 1
    assert (later.outcome, later.severity) == (F, Severity.CRITICAL)
    assert parts(brought)[subject].outcome is P


def test_wal_that_does_not_come_over_is_counted_from_when_it_arrived(
    made: MadeInstallation,
) -> None:
    bring(made, "offsite")
    followed = look(made, "copies_follow")
    store_segments(made.primary, CODEC, 4, 4)
    made.clock.sleep(3600)
    store_segments(made.primary, CODEC, 5, 6)
    made.clock.sleep(1)
    lagging = look(made, "copies_follow")
    store_segments(made.offsite, CODEC, 5, 6)
    with_a_hole = look(made, "copies_follow")
    store_segments(made.offsite, CODEC, 4, 4)

    assert followed.outcome is P
    assert followed.values["wal_lag_seconds_offsite"] == 0
    assert (lagging.outcome, lagging.severity) == (F, Severity.WARNING)
    assert lagging.values["wal_lag_segments_offsite"] == 3
    assert lagging.values["wal_lag_seconds_offsite"] == 3601
    assert with_a_hole.outcome is F, "what stands behind a hole leads nowhere"
    assert look(made, "copies_follow").outcome is P


def test_a_copy_of_yesterday_is_not_late_with_what_is_older_than_itself(
    tmp_path: Path,
) -> None:
    made = MadeInstallation(tmp_path)
    store_backup(made.primary, CODEC, started=STARTED - timedelta(days=20))

    assert parts(look(made, "copies_follow"))["backups in offsite"].outcome is P


def test_a_copy_made_by_a_clock_that_ran_ahead_excuses_nothing(made: MadeInstallation) -> None:
    made.offsite.bodies[layout.MARKER] = made.offsite.bodies[layout.MARKER].replace(
        b"2026", b"2031"
    )
    made.primary.bodies[layout.MARKER] = made.primary.bodies[layout.MARKER].replace(
        b"2026", b"2031"
    )
    made.clock.sleep(3600)

    late = look(made, "copies_follow")

    assert parts(late)["backups in offsite"].outcome is F
    drills = made.drills_held(young=True)
    assert drills.outcome is C, "none is due yet, for five years"


def test_what_retention_let_go_of_is_not_missed(tmp_path: Path) -> None:
    made = MadeInstallation(tmp_path, local=True)
    stored = store_backup(made.primary, CODEC, started=STARTED + timedelta(minutes=1))
    made.clock.sleep(3 * 3600)
    before = parts(look(made, "copies_follow"))["backups in local"]

    let_go(made, stored, PurgeStep.EXPIRED)

    assert before.outcome is F
    assert parts(look(made, "copies_follow"))["backups in local"].outcome is P


def test_another_manifest_under_the_same_id_is_critical(made: MadeInstallation) -> None:
    bring(made, "offsite")
    key = next(key for key in made.offsite.bodies if key.endswith("manifest.json"))
    made.offsite.bodies[key] += b" "

    seen = look(made, "copies_follow")

    assert (seen.outcome, seen.severity) == (F, Severity.CRITICAL)
    assert "--repair" in parts(seen)["backups in offsite"].hint


# --- a backup under way -------------------------------------------------------------------


def test_a_backup_under_way_is_seen_until_it_is_done_or_has_failed(made: MadeInstallation) -> None:
    store_objects(made.primary, started=STARTED + timedelta(minutes=59), attempt="a2")
    backup = BackupId.of("kb", BackupKind.FULL, STARTED + timedelta(minutes=59))
    made.clock.sleep(60)
    young = look(made, "backups_are_quick")
    made.clock.sleep(1741)
    old = look(made, "backups_are_quick")
    made.primary.put(layout.failure_key(backup, "a2"), b"{}")
    failed = look(made, "backups_are_quick")

    assert young.outcome is P
    assert young.values["under_way_seconds"] == 60
    assert old.broken == ("a full backup under way",)
    assert failed.outcome is P
    assert "under_way_seconds" not in failed.values


def test_a_try_that_hangs_is_seen_behind_one_that_failed(made: MadeInstallation) -> None:
    first, again = STARTED + timedelta(minutes=59), STARTED + timedelta(minutes=61)
    store_objects(made.primary, started=first, attempt="a2")
    made.primary.put(layout.failure_key(BackupId.of("kb", BackupKind.FULL, first), "a2"), b"{}")
    made.clock.sleep(60)
    store_objects(made.primary, started=again, attempt="a3")
    made.clock.sleep(1860)

    seen = look(made, "backups_are_quick")

    assert seen.broken == ("a full backup under way",)
    assert seen.values["under_way_seconds"] == 1860


def test_a_young_backup_of_another_server_is_none_of_this_one(made: MadeInstallation) -> None:
    bring(made, "offsite")
    assert look(made, "newest_backup_is_young").outcome is P

    made.source.seen = replace(FACTS, system_identifier=99)  # type: ignore[attr-defined]  # played
    seen = look(made, "newest_backup_is_young")

    assert seen.broken == ("newest full backup in primary", "newest full backup in offsite")
    assert "another cluster" in parts(seen)["newest full backup in primary"].seen


def test_a_probe_that_reads_back_as_something_else_is_red(made: MadeInstallation) -> None:
    assert look(made, "repositories_answer").outcome is P
    (key,) = (each.key for each in made.offsite.list(layout.PROBES))
    made.offsite.bodies[key] = b"something else"

    seen = look(made, "repositories_answer")

    assert seen.broken == ("offsite",)
    assert "expected the" in parts(seen)["offsite"].seen
