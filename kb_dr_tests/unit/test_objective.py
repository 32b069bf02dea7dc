"""No objective holds on missing evidence; each breaks for its own reason and for no other."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from kb_dr.domain.forecast import RestoreWork
from kb_dr.domain.heartbeat import Beat
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.objective import hold_rpo, judge_status
from kb_dr.domain.proof import Outcome, Phase, Standing
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.status import (
    BackupStatus,
    CopyRpo,
    CopyStatus,
    Evidence,
    ProvenBackup,
    RpoSource,
    Status,
    Window,
)
from kb_dr_tests.made_watch import FACTS

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SEGMENT_BYTES = 16 * 1024 * 1024
HOUR = timedelta(hours=1)
SYSTEM = 7


@dataclass(frozen=True)
class Limits:
    rpo_seconds: float = 3600.0
    rto_seconds: float = 4 * 3600.0
    backup_age_seconds: float = 26 * 3600.0
    proof_age_seconds: float = 8 * 86400.0


WORK = RestoreWork(4 * SEGMENT_BYTES, 4 * SEGMENT_BYTES, 4, SEGMENT_BYTES)
BACKUP = BackupStatus("kb-full-20261121-020000", "d1", NOW - 10 * HOUR, Standing.PROVEN, True, WORK)
PHASES = (
    Phase("fetch and unpack", 30.0, 4 * SEGMENT_BYTES),
    Phase("verify files", 10.0, 4 * SEGMENT_BYTES),
    Phase("replay", 20.0, 4 * SEGMENT_BYTES),
)
PROVEN = ProvenBackup(BACKUP.id, "d1", BACKUP.finished, "p1", NOW - 9 * HOUR, 60.0, PHASES)
END = Evidence(NOW - timedelta(minutes=4), Lsn(5 * SEGMENT_BYTES + 100), 1, "commit")
WINDOW = Window(
    system_identifier=SYSTEM,
    timeline=1,
    begins_at=BACKUP.finished,
    begins_lsn=Lsn(2 * SEGMENT_BYTES),
    end=END,
    last_segment="000000010000000000000005",
    backups=(BACKUP.id,),
)
PRIMARY = CopyStatus(
    copy="primary",
    url="s3://a",
    problem="",
    hint="",
    backups=(BACKUP,),
    unreadable=(),
    proven=(PROVEN,),
    windows=(WINDOW,),
)
OFFSITE = replace(PRIMARY, copy="offsite", url="s3://b")
SOURCE = replace(
    FACTS,
    segment_bytes=SEGMENT_BYTES,
    system_identifier=SYSTEM,
    written_lsn=Lsn(6 * SEGMENT_BYTES + 100),
    now=NOW,
)


def broken(status: Status) -> set[str]:
    """Objectives that do not hold; and the answer agrees with them."""
    found = {each.subject for each in status.objectives if each.outcome is not Outcome.PASSED}
    assert status.holds is (not found)
    return found


def judge(*copies: CopyStatus, source: SourceFacts | None = None, now: datetime = NOW) -> Status:
    return judge_status(copies, Limits(), now, source=source)


def test_with_everything_fresh_all_objectives_hold() -> None:
    status = judge(PRIMARY, OFFSITE, source=SOURCE)

    assert broken(status) == set()
    assert status.recoverable
    assert status.rpo_seconds == 240.0
    assert status.rto is not None
    assert status.rto.seconds == 60.0
    assert [each.forecast.seconds for each in status.forecasts] == [60.0, 60.0]


def test_without_any_copy_nothing_holds() -> None:
    status = judge()

    assert not status.holds
    assert not status.recoverable
    assert status.rpo_seconds is None


EMPTY = replace(PRIMARY, backups=(), proven=(), windows=())
DOWN = replace(EMPTY, copy="offsite", problem="did not answer", hint="wait")
UNPROVEN = Standing.UNPROVEN
UNTRIED = replace(BACKUP, standing=UNPROVEN)
OLDER = replace(BACKUP, id="kb-full-20261120-020000", finished=NOW - 34 * HOUR)
FAILED = replace(
    PRIMARY, backups=(replace(BACKUP, standing=Standing.FAILED),), proven=(), windows=()
)


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        pytest.param(
            (PRIMARY, DOWN),
            {
                "offsite can be read",
                "RPO of offsite",
                "age of the newest backup in offsite",
                "newest backup in offsite",
                "age of the newest proof",
                "RTO forecast from offsite",
            },
            id="offsite down",
        ),
        pytest.param(
            (EMPTY,),
            {
                "RPO of primary",
                "age of the newest backup in primary",
                "newest backup in primary",
                "age of the newest proof",
                "RTO",
                "RTO forecast from primary",
                "clocks",
            },
            id="no backup at all",
        ),
        pytest.param(
            (FAILED, OFFSITE),
            {"RPO of primary", "newest backup in primary", "RTO forecast from primary"},
            id="newest backup FAILED in one copy",
        ),
        pytest.param(
            (PRIMARY, replace(OFFSITE, backups=(replace(BACKUP, standing=UNPROVEN),), proven=())),
            {"age of the newest proof"},
            id="proven from the primary alone",
        ),
        pytest.param(
            (replace(PRIMARY, backups=(replace(OLDER, standing=Standing.FAILED), UNTRIED)),),
            {"newest backup in primary"},
            id="FAILED yesterday, and today's untried",
        ),
        pytest.param(
            (replace(PRIMARY, backups=(replace(OLDER, standing=Standing.FAILED), BACKUP)),),
            set(),
            id="FAILED yesterday, and today's proven",
        ),
        pytest.param(
            (
                replace(
                    PRIMARY,
                    backups=(
                        replace(OLDER, standing=Standing.FAILED),
                        replace(UNTRIED, standing=Standing.VOID),
                    ),
                ),
            ),
            {"newest backup in primary"},
            id="FAILED yesterday, and today's proof is void",
        ),
        pytest.param(
            (replace(PRIMARY, unreadable=("manifest.json: damaged",)),),
            {"primary can be read"},
            id="a manifest unreadable",
        ),
        pytest.param(
            (replace(PRIMARY, backups=(replace(BACKUP, wal_complete=False, work=None),)),),
            {"RPO of primary", "newest backup in primary", "RTO forecast from primary"},
            id="WAL it needs missing",
        ),
        pytest.param(
            (replace(PRIMARY, proven=()),),
            {"RPO of primary", "age of the newest proof", "RTO", "RTO forecast from primary"},
            id="nobody ever proved it",
        ),
        pytest.param(
            (replace(PRIMARY, proven=(replace(PROVEN, proven_at=NOW - 9 * 24 * HOUR),)),),
            {"age of the newest proof"},
            id="proof too old",
        ),
        pytest.param(
            (replace(PRIMARY, proven=(replace(PROVEN, rto_seconds=5 * 3600.0),)),),
            {"RTO", "RTO forecast from primary"},
            id="the restore took too long",
        ),
        pytest.param(
            (replace(PRIMARY, backups=(replace(BACKUP, finished=NOW - 27 * HOUR),)),),
            {"age of the newest backup in primary"},
            id="backup too old",
        ),
        pytest.param(
            (
                PRIMARY,
                replace(OFFSITE, windows=(replace(WINDOW, end=replace(END, at=NOW - 2 * HOUR)),)),
            ),
            {"RPO of offsite"},
            id="offsite lagging",
        ),
        pytest.param(
            (replace(PRIMARY, windows=(replace(WINDOW, end=None, problem="damaged"),)),),
            {"RPO of primary"},
            id="end of WAL unknown",
        ),
    ],
)
def test_what_is_missing_breaks_its_own_objective(
    copies: tuple[CopyStatus, ...], expected: set[str]
) -> None:
    status = judge(*copies)

    assert broken(status) == expected


def test_a_proof_that_cannot_be_read_may_be_a_failed_one() -> None:
    status = judge_status((PRIMARY,), Limits(), NOW, unread_proofs=["primary: damaged"])

    assert broken(status) == {"proofs can be read"}


def test_after_the_clock_moved_back_no_age_is_believed() -> None:
    status = judge(PRIMARY, now=NOW - 24 * HOUR)

    assert broken(status) == {
        "RPO of primary",
        "age of the newest backup in primary",
        "age of the newest proof",
        "clocks",
    }
    assert status.rpo_seconds is None


def test_a_source_whose_clock_is_off_is_named() -> None:
    status = judge(PRIMARY, source=replace(SOURCE, now=NOW + HOUR))

    assert broken(status) == {"clocks"}


IDLE = replace(PRIMARY, windows=(replace(WINDOW, end=replace(END, at=NOW - 5 * HOUR)),))


@pytest.mark.parametrize(
    ("source", "seconds"),
    [
        pytest.param(None, 5 * 3600.0, id="no source: the archive alone decides"),
        pytest.param(replace(SOURCE, written_lsn=END.lsn), 0.0, id="nothing written since"),
        pytest.param(SOURCE, 300.0, id="only the open segment is missing"),
        pytest.param(replace(SOURCE, written_lsn=Lsn(END.lsn - 8192)), 0.0, id="within one page"),
        pytest.param(
            replace(SOURCE, written_lsn=Lsn(END.lsn - SEGMENT_BYTES)),
            5 * 3600.0,
            id="a segment was switched since it was asked, or it stands behind: it has no say",
        ),
        pytest.param(
            replace(SOURCE, written_lsn=Lsn(END.lsn - 3 * SEGMENT_BYTES)),
            None,
            id="it stands behind its own archive",
        ),
        pytest.param(
            replace(SOURCE, archive_timeout_seconds=0), 5 * 3600.0, id="it may stay open for ever"
        ),
        pytest.param(replace(SOURCE, waiting_segments=1), 5 * 3600.0, id="a segment waits"),
        pytest.param(replace(SOURCE, waiting_segments=None), 5 * 3600.0, id="may not look"),
        pytest.param(
            replace(SOURCE, written_lsn=Lsn(7 * SEGMENT_BYTES)), 5 * 3600.0, id="a segment lacks"
        ),
        pytest.param(replace(SOURCE, written_lsn=END.lsn, timeline=2), None, id="another timeline"),
        pytest.param(replace(SOURCE, is_standby=True), 5 * 3600.0, id="a standby knows nothing"),
        pytest.param(replace(SOURCE, system_identifier=8), None, id="another cluster"),
    ],
)
def test_the_source_can_only_speak_for_an_idle_hour(
    source: SourceFacts | None, seconds: float | None
) -> None:
    assert judge(IDLE, source=source).rpo_seconds == seconds


def test_a_source_behind_its_own_archive_is_named_with_a_heartbeat_as_well() -> None:
    put_back = Lsn(END.lsn - 3 * SEGMENT_BYTES)

    for status in (
        judge(IDLE, source=replace(SOURCE, written_lsn=put_back)),
        judge_beating(IDLE, beating(6 * 3600.0, written_lsn=put_back)),
        judge(IDLE, source=replace(SOURCE, written_lsn=put_back, archive_timeout_seconds=0)),
    ):
        assert status.rpo_seconds is None
        assert "stands behind its own archive" in status.rpo[0].seen
        assert not status.holds


def test_with_a_heartbeat_less_than_a_segment_behind_is_not_all_it_has_written() -> None:
    (rpo,) = judge_beating(IDLE, beating(6 * 3600.0, written_lsn=Lsn(END.lsn - 100_000))).rpo

    assert (rpo.seconds, rpo.live_seconds) == (5 * 3600.0, 0.0)


def test_an_archive_that_grew_while_it_was_looked_at_is_no_sign_of_another_source() -> None:
    """The source is asked first: WAL of after that may be archived when the copy is listed."""
    asked = replace(SOURCE, written_lsn=Lsn(END.lsn - 3 * SEGMENT_BYTES), now=END.at)

    assert judge(PRIMARY, source=asked).rpo_seconds == 240.0


def test_a_fresh_commit_is_never_made_older_by_the_source() -> None:
    assert judge(PRIMARY, source=SOURCE).rpo_seconds == 240.0


def test_the_worst_copy_decides_and_an_unknown_one_leaves_nothing_to_say() -> None:
    assert judge(PRIMARY, replace(IDLE, copy="offsite")).rpo_seconds == 5 * 3600.0
    assert judge(PRIMARY, DOWN).rpo_seconds is None


NOT_RESTORED = replace(
    BACKUP,
    id="kb-full-20261121-080000",
    digest="d2",
    finished=NOW - 4 * HOUR,
    standing=UNPROVEN,
)
NEWER_WINDOW = replace(
    WINDOW, begins_at=NOW - 4 * HOUR, backups=(NOT_RESTORED.id,), end=replace(END, at=NOW)
)


def test_a_base_nobody_restored_carries_no_rpo() -> None:
    status = judge(replace(PRIMARY, backups=(UNTRIED,), proven=()))

    assert status.rpo[0].seconds is None
    assert status.rpo[0].base is None
    assert "no proven base" in status.rpo[0].seen
    assert status.rpo_seconds is None
    assert status.windows[0].base is None


def test_the_same_manifest_proven_in_the_other_copy_counts_and_is_named() -> None:
    untried = replace(PRIMARY, backups=(UNTRIED,), proven=())

    status = judge(untried, OFFSITE)

    here, there = status.rpo
    assert here.seconds == there.seconds == 240.0
    assert here.base is not None
    assert (here.base.id, here.base.proven_in) == (BACKUP.id, "offsite")
    assert "proven in offsite" in here.seen
    assert broken(status) == set()


@pytest.mark.parametrize(
    "elsewhere",
    [
        pytest.param(replace(PROVEN, digest="d9"), id="another manifest of that name"),
        pytest.param(replace(PROVEN, id=OLDER.id), id="another backup"),
    ],
)
def test_a_proof_of_something_else_in_the_other_copy_does_not_count(
    elsewhere: ProvenBackup,
) -> None:
    untried = replace(PRIMARY, backups=(UNTRIED,), proven=())

    assert judge(untried, replace(OFFSITE, proven=(elsewhere,))).rpo[0].seconds is None


def test_a_copy_that_failed_is_not_saved_by_the_other_ones_proof() -> None:
    failed = replace(PRIMARY, backups=(replace(BACKUP, standing=Standing.FAILED),), proven=())

    assert judge(failed, OFFSITE).rpo[0].seconds is None


def test_behind_a_gap_only_the_window_with_a_proven_base_counts() -> None:
    proven = replace(WINDOW, end=replace(END, at=NOW - 5 * HOUR))
    gapped = replace(PRIMARY, backups=(BACKUP, NOT_RESTORED), windows=(proven, NEWER_WINDOW))

    status = judge(gapped)

    assert status.rpo[0].seconds == 5 * 3600.0
    assert [window.base is None for window in status.windows] == [False, True]


@pytest.mark.parametrize(
    "newer",
    [
        pytest.param(replace(NEWER_WINDOW, timeline=2), id="a recovery in place"),
        pytest.param(replace(NEWER_WINDOW, system_identifier=8), id="another cluster"),
    ],
)
def test_a_proven_base_of_a_future_that_was_left_carries_no_rpo(newer: Window) -> None:
    left = replace(PRIMARY, backups=(BACKUP, NOT_RESTORED), windows=(WINDOW, newer))

    (rpo,) = judge(left).rpo

    assert rpo.seconds is None
    assert "none of those was ever restored" in rpo.seen


def test_with_proven_bases_on_both_the_line_of_the_newest_backup_counts() -> None:
    newer = replace(NEWER_WINDOW, timeline=2, end=replace(END, at=NOW - HOUR))
    also = replace(PROVEN, id=NOT_RESTORED.id, digest="d2")
    both = replace(
        PRIMARY,
        backups=(BACKUP, NOT_RESTORED),
        windows=(WINDOW, newer),
        proven=(PROVEN, also),
    )

    assert judge(both).rpo[0].seconds == 3600.0


def test_a_proven_window_whose_end_is_unknown_leaves_the_word_to_an_older_one() -> None:
    older = replace(WINDOW, backups=(OLDER.id,), end=replace(END, at=NOW - 5 * HOUR))
    blind = replace(WINDOW, end=None, problem="damaged", begins_at=NOW)
    also = replace(PROVEN, id=OLDER.id)
    copy = replace(PRIMARY, backups=(OLDER, BACKUP), proven=(also, PROVEN), windows=(older, blind))

    assert judge(copy).rpo[0].seconds == 5 * 3600.0
    assert judge(replace(copy, proven=(PROVEN,))).rpo[0].seconds is None


def test_an_older_proven_base_in_the_same_window_carries_the_newest_commit() -> None:
    both = replace(WINDOW, backups=(BACKUP.id, NOT_RESTORED.id))
    newest = replace(NOT_RESTORED, finished=NOW - HOUR)

    status = judge(replace(PRIMARY, backups=(BACKUP, newest), windows=(both,)))

    assert status.rpo[0].seconds == 240.0
    assert status.rpo[0].base is not None
    assert status.rpo[0].base.id == BACKUP.id


def beating(seconds_ago: float, **changes: object) -> SourceFacts:
    beat = Beat(NOW - timedelta(seconds=seconds_ago), 5.0, "db1")
    return replace(SOURCE, beat=beat, **changes)  # type: ignore[arg-type] # a table of fields


def judge_beating(copy: CopyStatus, source: SourceFacts | None) -> Status:
    return judge_status((copy,), Limits(), NOW, source=source, heartbeat=True)


@pytest.mark.parametrize(
    ("source", "seconds", "live"),
    [
        pytest.param(None, 5 * 3600.0, None, id="no source: the archive alone decides"),
        pytest.param(
            beating(5 * 3600.0, written_lsn=END.lsn), 0.0, 0.0, id="its last beat is archived"
        ),
        pytest.param(
            beating(3.0, written_lsn=END.lsn),
            5 * 3600.0,
            5 * 3600.0 - 3.0,
            id="positions agree, the beat does not: a source put back by a snapshot",
        ),
        pytest.param(beating(3.0), 5 * 3600.0, 5 * 3600.0 - 3.0, id="an open segment is no excuse"),
        pytest.param(
            replace(SOURCE, written_lsn=END.lsn), 5 * 3600.0, None, id="none, against the setting"
        ),
        pytest.param(beating(-60.0), 5 * 3600.0 + 60, 5 * 3600.0 + 60, id="our clock is behind"),
        pytest.param(
            beating(3.0, timeline=2), None, None, id="another timeline: not to be compared"
        ),
    ],
)
def test_with_a_heartbeat_a_stalled_archive_is_never_taken_for_a_quiet_source(
    source: SourceFacts | None, seconds: float, live: float | None
) -> None:
    (rpo,) = judge_beating(IDLE, source).rpo

    assert (rpo.seconds, rpo.live_seconds) == (seconds, live)


@pytest.mark.parametrize(
    ("source", "expected", "origin"),
    [
        pytest.param(beating(49.0), set(), "heartbeat", id="it beats"),
        pytest.param(beating(51.0), {"heartbeat"}, "commit times in archived WAL", id="stopped"),
        pytest.param(
            beating(-51.0), {"heartbeat"}, "commit times in archived WAL", id="its clock went back"
        ),
        pytest.param(SOURCE, {"heartbeat"}, "commit times in archived WAL", id="never installed"),
        pytest.param(None, set(), "heartbeat", id="the source is gone: the archive answers"),
    ],
)
def test_a_heartbeat_that_is_expected_has_to_beat(
    source: SourceFacts | None, expected: set[str], origin: str
) -> None:
    status = judge_beating(PRIMARY, source)

    assert broken(status) == expected
    assert status.rpo[0].source == origin


def test_without_the_setting_nothing_is_expected_and_the_report_says_what_stands_in() -> None:
    status = judge(PRIMARY, source=beating(3600.0))

    assert broken(status) == set()
    assert status.rpo[0].source == "commit times in archived WAL"


@pytest.mark.parametrize(("ahead", "seconds"), [(0.2, 0.0), (4.9, 0.0), (5.1, None)])
def test_a_commit_of_this_moment_may_be_a_little_ahead_of_our_clock(
    ahead: float, seconds: float | None
) -> None:
    fresh = replace(WINDOW, end=replace(END, at=NOW + timedelta(seconds=ahead)))

    assert judge(replace(PRIMARY, windows=(fresh,))).rpo_seconds == seconds


def test_a_database_that_has_grown_breaks_the_objective_before_its_restore_does() -> None:
    large = replace(BACKUP, work=replace(WORK, plain_bytes=2000 * 4 * SEGMENT_BYTES))

    status = judge(replace(PRIMARY, backups=(large,)))

    assert broken(status) == {"RTO forecast from primary"}
    (found,) = [each for each in status.objectives if each.subject.startswith("RTO forecast")]
    assert found.outcome is Outcome.FAILED
    assert "fetch and unpack" in found.seen


def test_wal_that_has_piled_up_breaks_it_as_well_and_is_named() -> None:
    busy = replace(BACKUP, work=replace(WORK, wal_segments=4000))

    status = judge(replace(PRIMARY, backups=(busy,)))

    (found,) = [each for each in status.objectives if each.subject.startswith("RTO forecast")]
    assert found.outcome is Outcome.FAILED
    assert "of it replay" in found.seen


def test_a_proof_without_its_sizes_foretells_nothing_and_is_not_green() -> None:
    old = replace(PROVEN, phases=(Phase("fetch and unpack", 30.0, 1000), Phase("replay", 2.0)))

    status = judge(replace(PRIMARY, proven=(old,)))

    assert broken(status) == {"RTO forecast from primary"}
    assert status.forecasts[0].forecast.seconds is None


def test_gaps_are_named() -> None:
    older = replace(WINDOW, begins_at=NOW - 50 * HOUR, backups=("kb-full-20261119-020000",))

    status = judge(replace(PRIMARY, windows=(older, WINDOW)))

    assert any("2 windows" in note for note in status.notes)


def test_increments_without_their_parents_are_told_of() -> None:
    lost = "follow the chain of kb-incr-20261121-030000: its parent is not in offsite"
    orphan = replace(
        BACKUP,
        id="kb-incr-20261121-030000",
        finished=NOW - 9 * HOUR,
        standing=Standing.FAILED,
        broken=lost,
    )
    status = judge(PRIMARY, replace(OFFSITE, backups=(BACKUP, orphan)), source=SOURCE)

    assert broken(status) == {"newest backup in offsite"}
    (told,) = [each for each in status.objectives if each.subject == "newest backup in offsite"]
    assert told.seen == f"{orphan.id}: {lost}, and no newer backup is proven"
    assert f"offsite: 1 incremental backups cannot be used, the newest is {orphan.id}: {lost}" in (
        status.notes
    )
    assert judge(PRIMARY, OFFSITE, source=SOURCE).notes == ()


def test_of_what_was_never_restored_the_next_step_is_a_proof() -> None:
    nothing = CopyRpo("offsite", None, "no proven base behind it", RpoSource.COMMITS)

    found = hold_rpo(nothing, 3600)

    assert found.outcome is Outcome.COULD_NOT_RUN
    assert "`kb-dr verify latest --from offsite`" in found.hint


def test_before_anything_is_recorded_the_clock_of_the_source_is_compared() -> None:
    ahead = replace(SOURCE, now=NOW + timedelta(minutes=3))

    assert "clocks" not in broken(judge(EMPTY, source=SOURCE))
    assert "clocks" in broken(judge(EMPTY, source=ahead))
    assert "clocks" in broken(judge(EMPTY)), "there is nothing to compare with"
