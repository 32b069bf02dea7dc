"""A replacement that was killed is explained, and undone to the last row."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.errors import RecoveryError
from kb_dr.operations.replace_postgres import replace_postgres
from kb_dr_tests.replaceable import RunningService

_CHILD = Path(__file__).with_name("replace_child.py")
_SECONDS = 240.0


def _killed(running: RunningService, *words: str) -> None:
    child = subprocess.run(
        [sys.executable, str(_CHILD), str(running.kb_dr.env_file), str(running.data),
         running.production.asked.isoformat(), *words],
        capture_output=True, text=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL, child.stdout + child.stderr
    assert running.unfinished() is not None


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_replacement_that_is_killed_around_the_renames_is_explained_and_undone(
    running: RunningService, renames: int
) -> None:
    _killed(running, str(renames))
    assert running.data.exists() == (renames != 1)

    plain = [each for each in running.words() if each != "--replace"]
    for words in (plain, running.words("--dry-run")):
        said = running.kb_dr.run(*words).require(40, "was cut off at: swap the directories")
        assert "--roll-back --yes" in said.err
    assert "was cut off at: swap" in running.kb_dr.run("doctor").out.replace("\n", " ")
    assert "was cut off at: swap" in running.kb_dr.run("status").out
    running.kb_dr.run("restore", "--into", str(running.data), "--roll-back", "--yes").require(0)

    running.require_old_service()


def test_the_next_replacement_undoes_a_killed_one_and_then_succeeds(
    running: RunningService,
) -> None:
    _killed(running, "1")

    said = running.kb_dr.run(
        *running.words("--force-production", "--confirm-service", "kb", "--yes")
    ).require(0)

    assert "the old service is back" in said.out
    assert running.entries == ["a", "b"]


def test_a_way_back_never_takes_the_restored_directory_for_the_old_one(
    running: RunningService,
) -> None:
    _killed(running, "2")
    [kept] = [each for each in running.place.iterdir() if "before" in each.name]
    kept.rename(running.directory / "elsewhere")
    words = ("restore", "--into", str(running.data), "--roll-back", "--yes")

    said = running.kb_dr.run(*words).require(33, "the old directory is neither there nor at")

    assert running.unfinished() is not None
    assert "-inum" in said.err
    (running.directory / "elsewhere").rename(kept)
    running.kb_dr.run(*words).require(0)
    running.require_old_service()


def test_two_replacements_at_once_are_one(running: RunningService) -> None:
    _, here = running.plan()
    plan, _ = running.plan()
    journal = here.clusters.open_journal(plan.places)

    with pytest.raises(RecoveryError, match="another replacement is at work"):
        replace_postgres(plan, here, SilentProgress())
    with pytest.raises(RecoveryError, match="another replacement is at work"):
        here.clusters.resume_journal(running.data)

    journal.close(done=True)
    running.require_old_service()
