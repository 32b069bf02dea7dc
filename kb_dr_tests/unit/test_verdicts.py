"""Every error has a decided meaning for a copy, and none of them is green."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from kb_dr import errors
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import (
    Check,
    Outcome,
    Proof,
    Reach,
    Standing,
    Verdict,
    judge,
    standing,
)
from kb_dr.domain.verdicts import decided_errors, verdict_of
from kb_dr.domain.versions import older
from kb_dr.errors import KbDrError, RecoveryAborted

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)

EVERY_ERROR: set[type[KbDrError]] = {
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, KbDrError)
}


def test_every_error_is_decided_by_name() -> None:
    assert decided_errors() == EVERY_ERROR


def test_only_what_proves_the_copy_bad_fails_it() -> None:
    failed = {kind.__name__ for kind in EVERY_ERROR if verdict_of(kind("x")) is Verdict.FAILED}

    assert failed == {
        "BrokenChain",
        "ChecksumMismatch",
        "LoadFailed",
        "ObjectConflict",
        "ObjectMissing",
        "ProofFailed",
        "RecoveryAborted",
        "TargetNotReached",
        "UnreadableRecord",
        "VerificationError",
        "WalDamaged",
        "WalGap",
        "WrongCluster",
    }


def test_no_error_proves_anything() -> None:
    assert {verdict_of(kind("x")) for kind in EVERY_ERROR} == {Verdict.FAILED, Verdict.NOT_PROVEN}


def test_an_error_of_a_later_version_is_judged_as_its_base() -> None:
    class Newer(errors.WalDamaged):
        exit_code = 125

    assert verdict_of(Newer("x")) is Verdict.FAILED


def test_a_server_this_machine_could_not_start_says_nothing_of_the_copy() -> None:
    host = RecoveryAborted("recover: FATAL: could not create shared memory segment")
    copy = RecoveryAborted("recover: PANIC: WAL contains references to invalid pages")

    assert verdict_of(host) is Verdict.NOT_PROVEN
    assert verdict_of(copy) is Verdict.FAILED


def test_versions_of_extensions_are_compared_by_number() -> None:
    assert older("0.8.5", "0.10.0")
    assert older("1.9", "1.9.1")
    assert not older("0.8.5", "0.8.5")
    assert not older("0.10.0", "0.8.5")
    assert not older("unpackaged", "1.0")


# judge

PASSED = Check("rows", Outcome.PASSED, "as recorded")
COMPLETE = Reach(1, Lsn(100), 1, Lsn(100), NOON)


def test_all_evidence_and_nothing_red_is_proven() -> None:
    assert judge([PASSED], COMPLETE)[0] is Verdict.PROVEN


def test_a_needed_check_that_could_not_run_leaves_the_copy_unproven() -> None:
    lacking = Check("rows", Outcome.COULD_NOT_RUN, "no time")

    assert judge([PASSED, lacking], COMPLETE)[0] is Verdict.NOT_PROVEN


def test_a_check_nobody_needs_may_be_missing() -> None:
    lacking = Check("btrees", Outcome.COULD_NOT_RUN, "no amcheck here", needed=False)

    assert judge([PASSED, lacking], COMPLETE)[0] is Verdict.PROVEN


def test_replay_that_stopped_short_or_elsewhere_is_failed() -> None:
    assert judge([PASSED], Reach(1, Lsn(100), 1, Lsn(99), NOON))[0] is Verdict.FAILED
    assert judge([PASSED], Reach(2, Lsn(100), 1, Lsn(100), NOON))[0] is Verdict.FAILED


CHECKS = st.lists(st.builds(Check, st.text(), st.sampled_from(Outcome), st.text(), st.booleans()))
REACHES = st.none() | st.builds(
    Reach,
    st.integers(1, 3),
    st.integers(0, 3).map(Lsn),
    st.none() | st.integers(1, 3),
    st.none() | st.integers(0, 3).map(Lsn),
    st.none(),
)


@given(CHECKS, REACHES)
def test_proven_takes_complete_reach_a_passed_check_and_no_gap_in_what_is_needed(
    checks: list[Check], reach: Reach | None
) -> None:
    verdict, reason = judge(checks, reach)

    if verdict is Verdict.PROVEN:
        assert reach is not None
        assert reach.reached_lsn is not None
        assert reach.reached_lsn >= reach.expected_lsn
        assert reach.reached_timeline == reach.expected_timeline
        assert any(check.outcome is Outcome.PASSED for check in checks)
        assert all(check.outcome is not Outcome.FAILED for check in checks)
        assert not [c for c in checks if c.needed and c.outcome is Outcome.COULD_NOT_RUN]
    assert reason
    if any(check.outcome is Outcome.FAILED for check in checks):
        assert verdict is Verdict.FAILED


# standing


def proof(
    verdict: Verdict, minute: int, *, digest: str | None = "d", copy: str = "primary"
) -> Proof:
    finished = NOON + timedelta(minutes=minute)
    return Proof(
        schema_version=1,
        id=f"{finished:%Y%m%d-%H%M%S}-{verdict}",
        backup_id="kb-full-20261120-020000",
        manifest_digest=digest,
        copy=copy,
        url="memory://",
        started=finished,
        finished=finished,
        verdict=verdict,
        reason="",
        checks=(),
        phases=(),
        reach=Reach(1, Lsn(9), 1, Lsn(9), None),
        tools={},
        host="h",
    )


def stands(*proofs: Proof) -> Standing:
    return standing(proofs, digest="d", copy="primary", url="memory://", void_through=None)[0]


def test_the_newest_conclusive_proof_decides() -> None:
    good, bad = proof(Verdict.PROVEN, 1), proof(Verdict.FAILED, 2)

    assert stands() is Standing.UNPROVEN
    assert stands(good) is Standing.PROVEN
    assert stands(bad, good) is Standing.FAILED
    assert stands(bad, good, proof(Verdict.PROVEN, 3)) is Standing.PROVEN
    assert stands(good, proof(Verdict.NOT_PROVEN, 2)) is Standing.PROVEN
    assert stands(proof(Verdict.NOT_PROVEN, 2)) is Standing.UNPROVEN


def test_a_green_that_stopped_at_a_target_says_nothing_of_the_wal_behind_it() -> None:
    at_a_time = Reach(1, Lsn(9), 1, Lsn(9), None, "time 2026-11-20 02:00:00Z", exact=True)
    drilled = replace(proof(Verdict.PROVEN, 2), reach=at_a_time)

    assert stands(drilled) is Standing.UNPROVEN
    assert stands(drilled, proof(Verdict.FAILED, 1)) is Standing.FAILED
    assert stands(replace(drilled, verdict=Verdict.FAILED)) is Standing.FAILED
    assert stands(replace(drilled, reach=None)) is Standing.UNPROVEN


def test_one_record_too_far_is_as_wrong_as_one_too_few() -> None:
    asked = Reach(1, Lsn(9), 1, Lsn(9), None, "LSN 0/9", exact=True)

    assert asked.complete
    assert not replace(asked, reached_lsn=Lsn(10)).complete
    assert not replace(asked, reached_lsn=Lsn(8)).complete
    assert not replace(asked, reached_timeline=2).complete
    assert replace(asked, reached_lsn=Lsn(10), exact=False).complete


def test_a_proof_speaks_only_of_its_own_copy_and_manifest() -> None:
    assert stands(proof(Verdict.PROVEN, 1, copy="offsite")) is Standing.UNPROVEN
    assert stands(proof(Verdict.PROVEN, 1, digest="other")) is Standing.UNPROVEN
    assert stands(proof(Verdict.FAILED, 1, digest="other")) is Standing.UNPROVEN


def test_a_green_read_from_another_place_is_none_of_this_copy() -> None:
    """After a disaster the offsite bucket becomes the primary, and a new one offsite."""
    elsewhere = replace(proof(Verdict.PROVEN, 1), url="s3://the-bucket-before")

    assert stands(elsewhere) is Standing.UNPROVEN
    assert stands(elsewhere, proof(Verdict.FAILED, 0)) is Standing.FAILED
    assert stands(replace(elsewhere, verdict=Verdict.FAILED)) is Standing.FAILED


def test_a_manifest_that_could_not_be_read_turns_the_green_off() -> None:
    good, unreadable = proof(Verdict.PROVEN, 1), proof(Verdict.FAILED, 2, digest=None)

    assert stands(good, unreadable) is Standing.FAILED


PROOFS = st.lists(
    st.builds(
        proof,
        st.sampled_from(Verdict),
        st.integers(0, 50),
        digest=st.sampled_from(["d", "other"]),
        copy=st.sampled_from(["primary", "offsite"]),
    ),
    unique_by=lambda each: (each.finished, each.verdict),
)


@given(PROOFS)
def test_green_stands_on_a_proven_proof_with_no_later_red(proofs: list[Proof]) -> None:
    known, decisive = standing(
        proofs, digest="d", copy="primary", url="memory://", void_through=None
    )

    if known is Standing.PROVEN:
        assert decisive is not None
        assert decisive.verdict is Verdict.PROVEN
        assert (decisive.manifest_digest, decisive.copy) == ("d", "primary")
        reds = [
            each
            for each in proofs
            if each.verdict is Verdict.FAILED
            and (each.manifest_digest, each.copy) == ("d", "primary")
        ]
        assert all(each.finished < decisive.finished for each in reds)
