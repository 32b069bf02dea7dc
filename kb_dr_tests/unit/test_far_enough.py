"""A look back ends when what the objectives ask of the newest backups is told, and not before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from kb_dr.domain.far_enough import far_enough
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Standing
from kb_dr.domain.status import BackupStatus, CopyStatus, ProvenBackup, Window
from kb_dr.settings import Objectives

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LIMITS = Objectives(3600.0, 4 * 3600.0, 26 * 3600.0, 8 * 86400.0)
OLD = BackupStatus("kb-full-20261121-010000", "d1", NOW - 10 * HOUR, Standing.PROVEN, True)
NEW = BackupStatus("kb-full-20261121-100000", "d2", NOW - 2 * HOUR, Standing.UNPROVEN, True)
PROVEN = ProvenBackup(OLD.id, "d1", OLD.finished, "p1", NOW - 9 * HOUR, 60.0, ())
WINDOW = Window(7, 1, OLD.finished, Lsn(1), None, "000000010000000000000005", (OLD.id, NEW.id))
COPY = CopyStatus(
    copy="offsite",
    url="s3://b",
    problem="",
    hint="",
    backups=(OLD, NEW),
    unreadable=(),
    proven=(PROVEN,),
    windows=(WINDOW,),
    looked_since=OLD.finished,
)
OTHER = replace(COPY, copy="primary", url="s3://a")
RED = replace(OLD, standing=Standing.FAILED)


def enough(*copies: CopyStatus) -> bool:
    return far_enough(copies, LIMITS, NOW)


def test_a_usable_a_proven_and_a_tried_one_are_enough() -> None:
    assert enough(COPY)
    assert enough(OTHER, COPY)


@pytest.mark.parametrize(
    "lacking",
    [
        replace(OTHER, backups=(RED, replace(NEW, wal_complete=False)), windows=()),
        replace(OTHER, proven=(), backups=(RED, replace(NEW, digest="another"))),
        replace(OTHER, windows=(replace(WINDOW, backups=(NEW.id,)),)),
        replace(OTHER, proven=(), backups=(replace(OLD, standing=Standing.VOID), NEW)),
        replace(OTHER, backups=(), windows=(), proven=()),
    ],
    ids=["none is usable", "none is proven", "a gap behind it", "none was tried", "nothing yet"],
)
def test_what_one_copy_lacks_another_does_not_make_up_for(lacking: CopyStatus) -> None:
    assert not enough(lacking, COPY)
    assert enough(replace(lacking, looked_since=None), COPY), "there is nothing older"
    assert enough(replace(lacking, problem="down"), COPY), "and no way to look at it"


def test_a_proof_of_the_copy_that_counts_has_to_be_young() -> None:
    stale = replace(PROVEN, proven_at=NOW - timedelta(days=9))

    assert not enough(OTHER, replace(COPY, proven=(stale,)))
    assert enough(replace(OTHER, proven=(stale,)), COPY)


def test_a_proven_backup_of_another_line_is_not_the_one() -> None:
    other_line = replace(WINDOW, timeline=2, backups=(NEW.id,), last_segment="0" * 24)

    assert not enough(replace(COPY, windows=(replace(WINDOW, backups=(OLD.id,)), other_line)))
