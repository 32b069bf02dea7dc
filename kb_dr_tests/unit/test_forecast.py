"""A forecast is arithmetic on what was measured; where nothing was, it says so."""

from dataclasses import replace

import pytest

from kb_dr.domain.forecast import MeasuredRun, RestoreWork, forecast, measured_runs
from kb_dr.domain.proof import Phase, Verdict
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_installation import made_proof
from kb_dr_tests.stored_backups import store_backup

MIB = 1024 * 1024
WORK = RestoreWork(
    plain_bytes=1000 * MIB, database_bytes=900 * MIB, wal_segments=100, segment_bytes=16 * MIB
)
RUN = MeasuredRun(
    "offsite",
    (
        Phase("plan", 2.0),
        Phase("fetch and unpack", 10.0, 500 * MIB),
        Phase("verify files", 5.0, 500 * MIB),
        Phase("replay to the restore point", 1.0, 2 * 16 * MIB),
        Phase("checks at the restore point", 3.0, 450 * MIB),
        Phase("replay", 4.0, 8 * 16 * MIB),
        Phase("checks", 6.0, 450 * MIB),
        Phase("shut down", 0.5),
        Phase("page checksums", 1.5, 450 * MIB),
    ),
    seconds=34.0,
)


def seconds(
    *runs: MeasuredRun, work: RestoreWork = WORK, copy: str = "offsite"
) -> dict[str, float]:
    return {each.name: each.seconds for each in forecast(work, runs, copy=copy).phases}


def test_each_phase_goes_by_what_it_moves() -> None:
    told = forecast(WORK, [RUN], copy="offsite")

    assert {each.name: each.seconds for each in told.phases} == pytest.approx(
        {
            "plan": 2.0,
            "fetch and unpack": 20.0,
            "verify files": 10.0,
            "replay": 50.0,
            "checks at the restore point": 6.0,
            "checks": 12.0,
            "shut down": 0.5,
            "page checksums": 3.0,
            "between phases": 1.0,
        }
    )
    assert told.seconds == pytest.approx(104.5)
    assert told.longest is not None
    assert told.longest.name == "replay"
    assert told.basis == "measured in 1 proof of offsite"


def test_the_same_work_again_takes_as_long_as_it_took() -> None:
    again = RestoreWork(500 * MIB, 450 * MIB, 10, 16 * MIB)

    assert forecast(again, [RUN], copy="offsite").seconds == pytest.approx(RUN.seconds)


def test_a_restore_is_foretold_without_the_checks_of_a_proof() -> None:
    told = forecast(WORK, [RUN], copy="offsite", checked=False)

    assert told.seconds == pytest.approx(83.5)
    assert not {"checks", "page checksums"} & {each.name for each in told.phases}


def test_the_newest_three_runs_count_and_large_ones_weigh_more() -> None:
    slow = replace(
        RUN,
        phases=tuple(
            replace(phase, seconds=10 * phase.seconds) if phase.name != "plan" else phase
            for phase in RUN.phases
        ),
    )
    small = replace(
        RUN, phases=tuple(replace(p, size_bytes=p.size_bytes and 1) for p in slow.phases)
    )

    told = seconds(RUN, slow, slow, *[small] * 5)

    assert told["fetch and unpack"] == pytest.approx(210 / 1500 * 1000)
    assert told["shut down"] == 5.0  # the median


def test_a_copy_that_was_never_timed_lends_the_rates_of_the_other_and_says_so() -> None:
    told = forecast(WORK, [RUN], copy="primary")

    assert told.seconds == pytest.approx(104.5)
    assert told.basis == "measured in 1 proof of offsite: none of primary itself"


def test_its_own_runs_win_over_newer_ones_of_the_other_copy() -> None:
    own = replace(RUN, copy="primary")
    fast = replace(RUN, phases=tuple(replace(p, seconds=0.001) for p in RUN.phases))

    assert seconds(fast, own, copy="primary") == seconds(own, copy="primary")


@pytest.mark.parametrize(
    "runs",
    [
        pytest.param([], id="nothing"),
        pytest.param([replace(RUN, phases=())], id="a proof without phases"),
    ],
)
def test_what_was_never_measured_is_not_foretold(runs: list[MeasuredRun]) -> None:
    told = forecast(WORK, runs, copy="offsite")

    assert (told.seconds, told.phases) == (None, ())
    assert told.basis == "no restore was ever measured"


@pytest.mark.parametrize("lost", ["fetch and unpack", "verify files", "replay"])
@pytest.mark.parametrize("how", ["phase", "size", "zero"])
def test_without_a_phase_every_restore_has_there_is_no_sum(lost: str, how: str) -> None:
    sizes = {"size": None, "zero": 0}
    kept = tuple(
        phase if lost not in phase.name else replace(phase, size_bytes=sizes[how])
        for phase in RUN.phases
        if how != "phase" or lost not in phase.name
    )

    told = forecast(WORK, [replace(RUN, phases=kept)], copy="offsite")

    assert told.seconds is None
    assert lost in told.basis
    assert lost not in {each.name for each in told.phases}


def test_only_green_proofs_are_measurements_and_the_newest_comes_first() -> None:
    stored = store_backup(MemoryRepository(), PlainCodec())
    old, new, red = (
        made_proof(stored, verdict, copy=copy, minutes=minutes)
        for verdict, copy, minutes in (
            (Verdict.PROVEN, "offsite", 10),
            (Verdict.PROVEN, "primary", 20),
            (Verdict.FAILED, "offsite", 30),
        )
    )

    found = measured_runs([old, red, new])

    assert [run.copy for run in found] == ["primary", "offsite"]
    assert RestoreWork.of(stored.manifest, 7).wal_segments == 7


def test_a_replay_that_moved_nothing_still_took_its_time() -> None:
    idle = replace(
        RUN,
        phases=tuple(replace(p, size_bytes=0) if p.name == "replay" else p for p in RUN.phases),
    )

    assert seconds(idle)["replay"] == pytest.approx((1.0 + 4.0) / 2 * 100)


def test_with_no_wal_behind_the_backup_replay_costs_nothing_and_is_still_there() -> None:
    assert seconds(RUN, work=replace(WORK, wal_segments=0))["replay"] == 0.0
