"""`kb-dr status --nagios`: the state, the line and its numbers, whatever happened."""

import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr.cli.app import run
from kb_dr.domain.finding import Finding
from kb_dr.domain.nagios import NagiosState, judge_for_nagios, say_status
from kb_dr.domain.proof import Outcome, Verdict
from kb_dr.domain.status import Status
from kb_dr.errors import ConfigurationError, KbDrError, PostgresUnavailable, RepositoryUnavailable
from kb_dr.settings import Objectives
from kb_dr_tests.made_installation import MadeInstallation

PERFORMANCE = re.compile(r"[a-z_]+=(U|-?\d+(\.\d+)?s);;\d+(\.\d+)?;0")
"""The guidelines' 'label'=value[UOM];[warn];[crit];[min];[max]."""


@pytest.fixture(scope="module")
def status(tmp_path_factory: pytest.TempPathFactory) -> Status:
    """What a service of two copies says."""
    made = MadeInstallation(tmp_path_factory.mktemp("made"))
    stored = made.has_backup()
    made.has_offsite_copy(stored)
    made.has_proof(stored, Verdict.PROVEN)
    return made.status()


def with_objectives(status: Status, *objectives: tuple[str, Outcome]) -> Status:
    """The same with these objectives, and no copy that has a problem."""
    found = tuple(Finding(subject, outcome, f"{subject} | seen") for subject, outcome in objectives)
    copies = tuple(replace(each, problem="") for each in status.copies)
    holds = all(each.good for each in found)
    return replace(status, copies=copies, objectives=found, holds=holds, recoverable=True)


GOOD = ("RPO of primary", Outcome.PASSED)


@pytest.mark.parametrize(
    ("objectives", "state"),
    [
        ([GOOD], NagiosState.OK),
        ([GOOD, ("RTO forecast from primary", Outcome.FAILED)], NagiosState.WARNING),
        ([GOOD, ("clocks", Outcome.COULD_NOT_RUN)], NagiosState.UNKNOWN),
        (
            [("RTO forecast from primary", Outcome.FAILED), ("clocks", Outcome.COULD_NOT_RUN)],
            NagiosState.WARNING,
        ),
        ([("RPO of primary", Outcome.FAILED), ("clocks", Outcome.COULD_NOT_RUN)],
         NagiosState.CRITICAL),
        ([("something nobody thought of", Outcome.FAILED)], NagiosState.CRITICAL),
    ],
)  # fmt: skip
def test_the_state_is_the_worst_that_is_known(
    status: Status, objectives: list[tuple[str, Outcome]], state: NagiosState
) -> None:
    assert judge_for_nagios(with_objectives(status, *objectives)) is state


def test_nothing_looked_at_is_not_ok(status: Status) -> None:
    nothing = replace(with_objectives(status, GOOD), holds=False)

    assert judge_for_nagios(nothing) is NagiosState.UNKNOWN
    unrecoverable = replace(with_objectives(status, GOOD), recoverable=False)
    assert judge_for_nagios(unrecoverable) is NagiosState.UNKNOWN


def test_a_copy_that_cannot_be_read_is_critical(status: Status) -> None:
    good = with_objectives(status, GOOD)
    broken = (replace(good.copies[0], problem="list: nobody answers"), *good.copies[1:])

    assert judge_for_nagios(replace(good, copies=broken)) is NagiosState.CRITICAL


def test_the_line_has_numbers_with_units_and_limits_and_one_bar(status: Status) -> None:
    bad = with_objectives(status, GOOD, ("RPO of\noffsite", Outcome.FAILED))

    first, *more = say_status(bad, Objectives(3600, 7200, 93600, 691200)).output.split("\n")

    text, bar, performance = first.partition(" | ")
    assert bar
    assert text.startswith("KB_DR CRITICAL - 1 of 2 objectives do not hold: RPO of offsite: ")
    assert "|" not in text + performance + "".join(more)
    data = performance.split()
    assert all(PERFORMANCE.fullmatch(each) for each in data), data
    labels = [each.split("=")[0] for each in data]
    for label in ("rpo", "rto", "backup_age_primary", "backup_age_offsite", "proof_age_offsite"):
        assert label in labels
    assert "proof_age_primary=U;;691200;0" in data
    assert len(more) == 2 + len(bad.notes)


def test_what_nobody_can_tell_is_not_called_broken(status: Status) -> None:
    unknown = with_objectives(status, GOOD, ("RPO of offsite", Outcome.COULD_NOT_RUN))

    said = say_status(unknown, Objectives(3600, 7200, 93600, 691200)).output

    assert said.startswith("KB_DR UNKNOWN - nobody can tell whether all 2 objectives hold: RPO of")


def test_limits_of_weeks_are_written_out(status: Status) -> None:
    first = say_status(status, Objectives(3600, 7200, 93600, 14 * 86400)).output.split("\n")[0]

    data = first.partition(" | ")[2].split()
    assert all(PERFORMANCE.fullmatch(each) for each in data), data
    ends = {each.split("=")[0]: each.split(";")[2] for each in data}
    assert ends["proof_age_offsite"] == "1209600"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ConfigurationError("read settings: one cannot be used"), 3),
        (RepositoryUnavailable("list there: nobody | answers"), 2),
        (PostgresUnavailable("connect: refused"), 3),
        (KbDrError("that"), 3),
        (OSError(28, "No space left on device"), 3),
        (ZeroDivisionError("a bug"), 3),
        (KeyboardInterrupt(), 3),
    ],
)
def test_whatever_goes_wrong_is_one_line_and_never_a_warning_by_chance(
    error: BaseException,
    state: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("kb_dr.cli.nagios.installation", fail)

    assert run(["status", "--nagios"]) == state
    line = capsys.readouterr().out.split("\n")[0]
    assert line.startswith(f"KB_DR {NagiosState(state).name} - ")
    assert "|" not in line


@pytest.mark.parametrize(
    "words", [["--timeout", "soon"], ["--json"], ["--plot", "x.png"], ["--nonsense"]]
)
def test_wrong_words_are_unknown(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--nagios", *words]) == 3
    assert capsys.readouterr().out.startswith("KB_DR UNKNOWN - ")


def test_a_look_that_hangs_is_cut_off(tmp_path: Path) -> None:
    code = (
        "import time, sys, kb_dr.cli.nagios as n\n"
        "n.installation = lambda: time.sleep(200)\n"
        "from kb_dr.cli.app import run\n"
        "sys.exit(run(['status', '--nagios', '--timeout', '0.2']))"
    )
    began = time.monotonic()

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=100
    )

    assert time.monotonic() - began < 100
    assert done.returncode == 3
    assert done.stdout == "KB_DR UNKNOWN - no answer within 0.2 s\n"
