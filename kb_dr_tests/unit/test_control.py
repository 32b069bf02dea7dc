"""Negative controls: what counts as seen, when proofs are void, and when that ends."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb_dr.domain.control import (
    ALL,
    CATALOGUE,
    ControlOutcome,
    ControlRun,
    Damage,
    judge_control,
    void_through,
    why_void,
)
from kb_dr.domain.control_objective import judge_controls
from kb_dr.domain.finding import Finding
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.proof import Outcome, Proof, Reach, Standing, Verdict, Void, is_void, standing
from kb_dr_tests.made_controls import BLIND, COULD_NOT_RUN, GOOD, MISJUDGED, made_run

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LIMIT = 35 * 86400.0


@pytest.mark.parametrize(
    ("damage", "verdict", "names", "texts", "outcome", "named"),
    [
        (Damage.WAL_MISSING, Verdict.FAILED, "0005", ["0005 is missing"], GOOD, True),
        (Damage.WAL_MISSING, Verdict.FAILED, "0005", ["0004 is missing"], MISJUDGED, False),
        (Damage.WAL_MISSING, Verdict.PROVEN, "0005", ["0005 is missing"], BLIND, True),
        (Damage.WAL_MISSING, Verdict.NOT_PROVEN, "0005", ["no programs"], COULD_NOT_RUN, False),
        (Damage.WAL_MISSING, Verdict.NOT_PROVEN, "0005", ["0005: down"], COULD_NOT_RUN, True),
        (Damage.WRONG_KEY, Verdict.NOT_PROVEN, "identity", ["no identity fits"], GOOD, True),
        (Damage.WRONG_KEY, Verdict.NOT_PROVEN, "identity", ["no space"], COULD_NOT_RUN, False),
        (Damage.WRONG_KEY, Verdict.FAILED, "identity", ["no identity fits"], MISJUDGED, True),
        (Damage.WRONG_KEY, Verdict.PROVEN, "identity", [], BLIND, False),
        # The damage was never done: the proof broke off before, or never looked there.
        (Damage.ROWS_DROPPED, Verdict.FAILED, "", ["WAL is missing"], COULD_NOT_RUN, False),
        (Damage.ROWS_DROPPED, Verdict.PROVEN, "", [], BLIND, False),
    ],
)
def test_only_the_fitting_verdict_that_names_the_damage_is_good(
    damage: Damage,
    verdict: Verdict,
    names: str,
    texts: list[str],
    outcome: ControlOutcome,
    named: bool,
) -> None:
    assert judge_control(damage, verdict, names, texts) == (outcome, named)


@given(st.sampled_from(Damage), st.text(), st.lists(st.text()))
def test_proven_is_never_anything_but_blind(damage: Damage, names: str, texts: list[str]) -> None:
    assert judge_control(damage, Verdict.PROVEN, names, texts)[0] is BLIND


def test_every_damage_is_described_and_none_may_be_proven() -> None:
    assert set(CATALOGUE) == set(Damage)
    assert Verdict.PROVEN not in {each.fits for each in CATALOGUE.values()}


ALWAYS = [damage for damage in Damage if CATALOGUE[damage].always]
SOMETIMES = [damage for damage in Damage if not CATALOGUE[damage].always]


def test_a_round_passes_when_all_that_can_always_be_done_was_seen() -> None:
    assert made_run(NOON).passed
    assert made_run(NOON, dict.fromkeys(SOMETIMES, COULD_NOT_RUN)).passed
    assert made_run(NOON, {Damage.ROWS_DROPPED: GOOD}, only=True).passed


@pytest.mark.parametrize("outcome", [BLIND, MISJUDGED])
@pytest.mark.parametrize("damage", list(Damage))
def test_a_round_with_one_bad_control_has_not_passed(
    damage: Damage, outcome: ControlOutcome
) -> None:
    assert not made_run(NOON, {damage: outcome}).passed


@pytest.mark.parametrize("damage", ALWAYS)
def test_what_can_always_be_done_has_to_have_been_done(damage: Damage) -> None:
    assert not made_run(NOON, {damage: COULD_NOT_RUN}).passed


def test_a_host_that_can_verify_nothing_has_shown_nothing() -> None:
    assert not made_run(NOON, dict.fromkeys(Damage, COULD_NOT_RUN)).passed
    assert not made_run(NOON, dict.fromkeys(SOMETIMES, COULD_NOT_RUN), only=True).passed


# --- void -------------------------------------------------------------------------------------


def test_without_a_blind_control_nothing_is_void() -> None:
    assert void_through([]) is None
    assert void_through([made_run(NOON, {Damage.WAL_EMPTY: MISJUDGED})]) is None
    assert why_void([made_run(NOON)]) == ""


@pytest.mark.parametrize("damage", list(Damage))
def test_one_blind_control_voids_all_proofs_also_those_to_come(damage: Damage) -> None:
    runs = [made_run(NOON - DAY), made_run(NOON, {damage: BLIND})]

    assert void_through(runs) == ALL
    assert damage in why_void(runs)


def test_a_good_round_ends_it_and_leaves_older_proofs_void() -> None:
    blind, good = made_run(NOON, {Damage.INDEX_STALE: BLIND}), made_run(NOON + DAY)

    assert void_through([good, blind]) == Void(NOON + DAY)
    assert void_through([good, blind, made_run(NOON + 2 * DAY)]) == Void(NOON + DAY)


@pytest.mark.parametrize(
    "later",
    [
        made_run(NOON + DAY, {Damage.INDEX_STALE: COULD_NOT_RUN}),
        made_run(NOON + DAY, {Damage.INDEX_STALE: MISJUDGED}),
        made_run(NOON + DAY, {Damage.WAL_EMPTY: GOOD}, only=True),
        made_run(NOON + DAY, {Damage.INDEX_STALE: BLIND}),
        made_run(NOON + DAY, {Damage.WAL_EMPTY: BLIND}),
        made_run(NOON, {}),
    ],
    ids=["not run", "misjudged", "another damage", "again", "blind otherwise", "same moment"],
)
def test_only_the_same_damage_seen_later_ends_it(later: ControlRun) -> None:
    assert void_through([made_run(NOON, {Damage.INDEX_STALE: BLIND}), later]) == ALL


def test_blind_again_is_void_again() -> None:
    runs = [
        made_run(NOON, {Damage.WAL_EMPTY: BLIND}),
        made_run(NOON + DAY),
        made_run(NOON + 2 * DAY, {Damage.WRONG_KEY: BLIND}),
    ]

    assert void_through(runs) == ALL
    assert void_through([*runs, made_run(NOON + 3 * DAY)]) == Void(NOON + 3 * DAY)


def on(host: str, run: ControlRun) -> ControlRun:
    return replace(run, host=host)


BLINDED_THERE = on("there", made_run(NOON, {Damage.INDEX_STALE: BLIND}))


def test_another_host_that_sees_the_damage_does_not_speak_for_the_blind_one() -> None:
    runs = [BLINDED_THERE, on("here", made_run(NOON + DAY))]
    void = void_through(runs)
    assert void is not None

    assert void.covers("here", NOON + DAY)
    assert not void.covers("here", NOON + 2 * DAY)
    assert void.covers("there", NOON + 300 * DAY), "it has not seen the damage to this day"
    later = replace(proof(Verdict.PROVEN, NOON + 2 * DAY), host="there")
    assert stands(void, later) is Standing.VOID
    assert stands(void, replace(later, host="here")) is Standing.PROVEN
    held = judge_controls(runs, [], NOON + DAY, LIMIT, initialised=None)
    assert "proofs of there stay void" in held.seen


def test_the_blind_host_itself_ends_it_for_all() -> None:
    mended = on("there", made_run(NOON + 2 * DAY))

    assert void_through([BLINDED_THERE, mended]) == Void(NOON + 2 * DAY)
    void = void_through([BLINDED_THERE, on("here", made_run(NOON + DAY)), mended])
    assert void == Void(NOON + DAY, {"there": NOON + 2 * DAY})
    assert not void.covers("there", NOON + 3 * DAY)


def test_a_host_is_blind_until_it_has_seen_the_same_damage() -> None:
    other = on("there", made_run(NOON + 2 * DAY, {Damage.WAL_EMPTY: GOOD}, only=True))
    void = void_through([BLINDED_THERE, on("here", made_run(NOON + DAY)), other])

    assert void is not None
    assert void.covers("there", NOON + 3 * DAY)


def test_a_proof_begun_before_the_verifier_was_mended_is_void_whenever_it_ended() -> None:
    begun = replace(proof(Verdict.PROVEN, NOON), finished=NOON + DAY)

    assert is_void(begun, Void(NOON))
    assert is_void(begun, Void(NOON + DAY / 2))
    assert stands(Void(NOON + DAY / 2), begun) is Standing.VOID
    assert not is_void(begun, Void(NOON - DAY))


def proof(verdict: Verdict, at: datetime) -> Proof:
    return Proof(
        schema_version=1,
        id=f"{at:%Y%m%d-%H%M%S}-{verdict}",
        backup_id="kb-full-20261120-020000",
        manifest_digest="d",
        copy="primary",
        url="memory://",
        started=at,
        finished=at,
        verdict=verdict,
        reason="",
        checks=(),
        phases=(),
        reach=Reach(1, Lsn(7), 1, Lsn(7), at),
        tools={},
        host="h",
    )


def stands(void: Void | None, *proofs: Proof) -> Standing:
    return standing(proofs, digest="d", copy="primary", url="memory://", void_through=void)[0]


def test_a_void_green_is_not_proven_and_a_newer_one_is() -> None:
    old, new = proof(Verdict.PROVEN, NOON), proof(Verdict.PROVEN, NOON + DAY)

    assert stands(None, old) is Standing.PROVEN
    assert stands(Void(NOON), old) is Standing.VOID
    assert stands(Void(NOON - DAY), old) is Standing.PROVEN
    assert stands(ALL, old, new) is Standing.VOID
    assert stands(Void(NOON), old, new) is Standing.PROVEN
    assert is_void(old, Void(NOON))
    assert not is_void(new, Void(NOON))


def test_failed_stays_failed_and_no_void_green_refutes_it() -> None:
    red, green = proof(Verdict.FAILED, NOON), proof(Verdict.PROVEN, NOON + DAY)

    assert stands(ALL, red) is Standing.FAILED
    assert stands(ALL, red, green) is Standing.FAILED
    assert stands(None, red, green) is Standing.PROVEN
    assert not is_void(red, ALL)


# --- the objective ----------------------------------------------------------------------------


def held(*runs: ControlRun, age: timedelta | None = DAY, unread: tuple[str, ...] = ()) -> Finding:
    initialised = None if age is None else NOON - age
    return judge_controls(runs, unread, NOON, LIMIT, initialised=initialised)


def test_a_good_round_of_late_holds_and_names_what_it_could_not_do() -> None:
    whole = held(made_run(NOON - DAY), age=None)
    lacking = held(made_run(NOON - DAY, {Damage.HISTORY_MISSING: COULD_NOT_RUN}), age=None)

    assert (whole.outcome, lacking.outcome) == (Outcome.PASSED, Outcome.PASSED)
    assert "history_missing" not in whole.seen
    assert "could not run: history_missing" in lacking.seen


def test_a_new_installation_need_not_have_run_any_and_an_old_one_must() -> None:
    assert held(age=34 * DAY).outcome is Outcome.NOT_APPLICABLE
    assert held(age=34 * DAY).good
    for age in (36 * DAY, None):
        assert held(age=age).outcome is Outcome.COULD_NOT_RUN


@pytest.mark.parametrize(
    ("run", "outcome", "text"),
    [
        (made_run(NOON - DAY, {Damage.ROWS_DROPPED: BLIND}), Outcome.FAILED, "all proofs are void"),
        (made_run(NOON - DAY, {Damage.WAL_EMPTY: MISJUDGED}), Outcome.FAILED, "wal_empty"),
        (made_run(NOON - 36 * DAY), Outcome.FAILED, "36.0 d ago"),
        (made_run(NOON + DAY), Outcome.FAILED, "-1.0 d ago"),
        (
            made_run(NOON - DAY, {Damage.WRONG_KEY: COULD_NOT_RUN}),
            Outcome.COULD_NOT_RUN,
            "wrong_key",
        ),
        (made_run(NOON - DAY, {Damage.ROWS_DROPPED: GOOD}, only=True), Outcome.COULD_NOT_RUN, ""),
    ],
)
def test_what_was_not_seen_or_not_tried_of_late_does_not_hold(
    run: ControlRun, outcome: Outcome, text: str
) -> None:
    found = held(run)

    assert (found.outcome, found.good) == (outcome, False)
    assert text in found.seen
    assert found.hint


def test_a_record_that_cannot_be_read_is_not_passed_over() -> None:
    found = held(made_run(NOON - DAY), unread=("primary: damaged",))

    assert (found.outcome, found.seen) == (Outcome.COULD_NOT_RUN, "primary: damaged")


def test_rounds_of_single_controls_add_up() -> None:
    before = made_run(NOON - 2 * DAY, {Damage.WAL_EMPTY: MISJUDGED})
    mended = made_run(NOON - DAY, {Damage.WAL_EMPTY: GOOD}, only=True)

    assert held(before).outcome is Outcome.FAILED
    assert held(before, mended).outcome is Outcome.PASSED


def of_dump(run: ControlRun) -> ControlRun:
    return replace(run, backup_id="kb-dump-20261120-030000")


def test_damage_seen_in_a_dump_says_nothing_of_the_same_damage_in_a_base_backup() -> None:
    blind = made_run(NOON - 2 * DAY, {Damage.ROWS_DROPPED: BLIND})
    later = made_run(NOON - DAY)

    assert void_through([blind, of_dump(later)]) == ALL
    assert void_through([of_dump(blind), later]) == ALL
    assert void_through([of_dump(blind), of_dump(later)]) != ALL


def test_rounds_with_dumps_alone_do_not_stand_in_for_those_with_base_backups() -> None:
    good = made_run(NOON - DAY)

    assert held(of_dump(good)).outcome is Outcome.COULD_NOT_RUN
    assert held(good, of_dump(made_run(NOON, {Damage.ROWS_DROPPED: MISJUDGED}))).outcome is (
        Outcome.FAILED
    )
    assert good.id in held(good, of_dump(made_run(NOON))).seen
