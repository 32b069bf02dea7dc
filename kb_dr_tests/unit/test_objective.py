"""No objective holds on missing evidence; each breaks for its own reason and for no other."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.objective import judge_status
from kb_dr.domain.proof import Outcome, Standing
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.status import BackupStatus, CopyStatus, Evidence, ProvenBackup, Status, Window

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


BACKUP = BackupStatus("kb-full-20261121-020000", "d1", NOW - 10 * HOUR, Standing.PROVEN, True)
PROVEN = ProvenBackup(BACKUP.id, "d1", BACKUP.finished, "p1", NOW - 9 * HOUR, 60.0, ())
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
SOURCE = SourceFacts(
    server_version=160014,
    system_identifier=SYSTEM,
    segment_bytes=SEGMENT_BYTES,
    is_standby=False,
    written_lsn=Lsn(6 * SEGMENT_BYTES + 100),
    timeline=1,
    now=NOW,
    wal_level="replica",
    max_wal_senders=10,
    archive_timeout_seconds=300,
    waiting_segments=0,
    may_replicate=True,
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
                "clocks",
            },
            id="no backup at all",
        ),
        pytest.param(
            (FAILED, OFFSITE),
            {"RPO of primary", "newest backup in primary"},
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
            (replace(PRIMARY, unreadable=("manifest.json: damaged",)),),
            {"primary can be read"},
            id="a manifest unreadable",
        ),
        pytest.param(
            (replace(PRIMARY, backups=(replace(BACKUP, wal_complete=False),)),),
            {"RPO of primary", "newest backup in primary"},
            id="WAL it needs missing",
        ),
        pytest.param(
            (replace(PRIMARY, proven=()),),
            {"age of the newest proof", "RTO"},
            id="nobody ever proved it",
        ),
        pytest.param(
            (replace(PRIMARY, proven=(replace(PROVEN, proven_at=NOW - 9 * 24 * HOUR),)),),
            {"age of the newest proof"},
            id="proof too old",
        ),
        pytest.param(
            (replace(PRIMARY, proven=(replace(PROVEN, rto_seconds=5 * 3600.0),)),),
            {"RTO"},
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
        pytest.param(
            replace(SOURCE, archive_timeout_seconds=0), 5 * 3600.0, id="it may stay open for ever"
        ),
        pytest.param(replace(SOURCE, waiting_segments=1), 5 * 3600.0, id="a segment waits"),
        pytest.param(replace(SOURCE, waiting_segments=None), 5 * 3600.0, id="may not look"),
        pytest.param(
            replace(SOURCE, written_lsn=Lsn(7 * SEGMENT_BYTES)), 5 * 3600.0, id="a segment lacks"
        ),
        pytest.param(
            replace(SOURCE, written_lsn=END.lsn, timeline=2), 5 * 3600.0, id="another timeline"
        ),
        pytest.param(replace(SOURCE, is_standby=True), 5 * 3600.0, id="a standby knows nothing"),
        pytest.param(replace(SOURCE, system_identifier=8), None, id="another cluster"),
    ],
)
def test_the_source_can_only_speak_for_an_idle_hour(
    source: SourceFacts | None, seconds: float | None
) -> None:
    assert judge(IDLE, source=source).rpo_seconds == seconds


def test_a_fresh_commit_is_never_made_older_by_the_source() -> None:
    assert judge(PRIMARY, source=SOURCE).rpo_seconds == 240.0


def test_the_worst_copy_decides_and_an_unknown_one_leaves_nothing_to_say() -> None:
    assert judge(PRIMARY, replace(IDLE, copy="offsite")).rpo_seconds == 5 * 3600.0
    assert judge(PRIMARY, DOWN).rpo_seconds is None


def test_gaps_are_named() -> None:
    older = replace(WINDOW, begins_at=NOW - 50 * HOUR, backups=("kb-full-20261119-020000",))

    status = judge(replace(PRIMARY, windows=(older, WINDOW)))

    assert any("2 windows" in note for note in status.notes)
