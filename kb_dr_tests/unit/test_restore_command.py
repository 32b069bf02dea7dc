"""The shell line maps 0 to 0, certainly absent to 1, and every other end to 126."""

import subprocess
import sys
from pathlib import Path

import pytest

from kb_dr.domain.restore_command import restore_command


def run(command: str, directory: Path, name: str = "000000010000000000000001") -> int:
    """Run a restore_command as PostgreSQL does; return its status."""
    line = command.replace("%%", "\0").replace("%f", name).replace("%p", "RECOVERYXLOG")
    return subprocess.run(["sh", "-c", line.replace("\0", "%")], cwd=directory).returncode


@pytest.mark.parametrize(
    ("status", "seen"),
    [(0, 0), (12, 1), (1, 126), (2, 126), (11, 126), (120, 126), (125, 126), (127, 126)],
)
def test_statuses(tmp_path: Path, status: int, seen: int) -> None:
    assert run(restore_command(["sh", "-c", f"exit {status}"]), tmp_path) == seen


def test_death_by_a_signal_is_no_absence(tmp_path: Path) -> None:
    command = restore_command([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])

    assert run(command, tmp_path) == 126


def test_a_ready_file_is_taken_from_the_spool_without_the_program(tmp_path: Path) -> None:
    spool = tmp_path / "it's a 100% spool"
    spool.mkdir()
    (spool / "000000010000000000000001").write_text("ready")
    command = restore_command(["/nonexistent"], spool=spool)

    assert run(command, tmp_path) == 0
    assert (tmp_path / "RECOVERYXLOG").read_text() == "ready"
    assert run(command, tmp_path) == 126, "it is gone from the spool"


def test_words_reach_the_program_as_they_are(tmp_path: Path) -> None:
    """Quotes, blanks, dollars and PostgreSQL's own per cent signs."""
    script = "import sys; open('seen', 'w').write(repr(sys.argv[1:]))"
    words = ["a b", "it's", "$HOME", "100%f"]

    run(restore_command([sys.executable, "-c", script, *words]), tmp_path)

    assert (tmp_path / "seen").read_text() == repr(
        [*words, "000000010000000000000001", "RECOVERYXLOG"]
    )
