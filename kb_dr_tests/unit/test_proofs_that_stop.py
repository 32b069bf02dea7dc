"""A red newest proof of a copy keeps everything in it; what speaks of other places does not."""

from dataclasses import replace

import pytest

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Proof, Reach, Verdict, Void
from kb_dr.domain.proofs_that_stop import proofs_that_stop
from kb_dr_tests.made_candidates import at

GREEN = Proof(
    schema_version=1,
    id="20261126-030000-aa",
    backup_id="kb-full-20261126-020000",
    manifest_digest="d",
    copy="primary",
    url="s3://b",
    started=at("2026-11-26 03:00"),
    finished=at("2026-11-26 03:10"),
    verdict=Verdict.PROVEN,
    reason="replayed",
    checks=(),
    phases=(),
    reach=Reach(1, Lsn(5), 1, Lsn(5), None),
    tools={},
    host="ops1",
)
RED = replace(
    GREEN,
    id="20261125-030000-bb",
    backup_id="kb-full-20261125-020000",
    started=at("2026-11-25 03:00"),
    finished=at("2026-11-25 03:10"),
    verdict=Verdict.FAILED,
    reason="rows: 5, expected 6",
)
LATE_RED = replace(RED, finished=at("2026-11-27 03:10"))


def stops(*proofs: Proof, void: Void | None = None) -> tuple[str, ...]:
    return proofs_that_stop(proofs, copy="primary", url="s3://b", void_through=void)


def test_the_newest_conclusive_proof_decides() -> None:
    assert stops() == ()
    assert stops(RED, GREEN) == ()
    assert stops(GREEN, LATE_RED) == (
        "the newest proof of this copy, of kb-full-20261125-020000, FAILED: rows: 5, expected 6",
    )


def test_of_two_that_ended_at_once_the_red_one_is_believed() -> None:
    assert stops(replace(RED, finished=GREEN.finished), GREEN)


@pytest.mark.parametrize(
    "green",
    [
        replace(GREEN, verdict=Verdict.NOT_PROVEN),
        replace(GREEN, copy="offsite"),
        replace(GREEN, url="s3://another"),
        replace(GREEN, reach=Reach(1, Lsn(5), 1, Lsn(5), None, exact=True)),
    ],
    ids=["could not run", "another copy", "another place", "stopped at a target"],
)
def test_what_proves_nothing_of_this_copy_takes_no_red_one_back(green: Proof) -> None:
    assert stops(RED, green)


def test_a_void_green_takes_no_red_one_back() -> None:
    assert stops(RED, GREEN, void=Void(at("2026-11-26 12:00")))
    assert not stops(RED, GREEN, void=Void(at("2026-11-26 02:00")))


def test_a_red_one_of_another_copy_stops_nothing_here() -> None:
    assert stops(replace(LATE_RED, copy="offsite"), GREEN) == ()
