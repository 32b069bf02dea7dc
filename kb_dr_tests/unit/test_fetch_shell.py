"""fetch-wal.sh takes what lies ready while somebody runs ahead, and never says "absent" itself."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr.cli.wal import SHELL
from kb_dr.domain.restore_command import restore_command
from kb_dr_tests.unit.test_restore_command import run

NAME = "000000010000000000000001"
DEADLINE_SECONDS = 20.0
BOOT = Path("/proc/sys/kernel/random/boot_id")


class _Ahead:
    """Where a process runs ahead: this one, of the data directory it holds open."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "data"
        self.data.mkdir()
        self.place = directory / "it's a 100% place"
        self.ready = self.place / "ready"
        self.ready.mkdir(parents=True)
        self.held = os.open(self.data, os.O_RDONLY)
        self.live(os.getpid(), self.held, BOOT.read_text())

    def live(self, pid: int, held: int, boot: str) -> None:
        (self.place / "alive").write_text(f"{pid} {held} {boot}")

    def lay(self, content: str = "ready") -> None:
        (self.ready / NAME).write_text(content)

    def fetch(self, status: int, data: Path | None = None) -> int:
        """What PostgreSQL sees, where the program would end with ``status``."""
        script = ["/bin/sh", str(SHELL / "fetch-wal.sh"), str(self.place)]
        return run(
            restore_command(["sh", "-c", f"exit {status}"], script=script), data or self.data, NAME
        )


@pytest.fixture
def ahead(tmp_path: Path) -> Iterator[_Ahead]:
    found = _Ahead(tmp_path)
    yield found
    os.close(found.held)


def test_a_ready_file_is_moved_without_the_program(ahead: _Ahead) -> None:
    ahead.lay()

    assert ahead.fetch(1) == 0
    assert (ahead.data / "RECOVERYXLOG").read_text() == "ready"
    assert ahead.fetch(1) == 126, "it is gone"


@pytest.mark.parametrize(
    ("status", "seen"), [(0, 0), (12, 1), (1, 126), (2, 126), (11, 126), (125, 126), (127, 126)]
)
def test_what_the_program_says_is_passed_on(ahead: _Ahead, status: int, seen: int) -> None:
    assert ahead.fetch(status) == seen


def test_what_lies_there_of_a_dead_process_is_not_taken(ahead: _Ahead) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    ahead.lay()
    ahead.live(ended.pid, ahead.held, BOOT.read_text())

    assert ahead.fetch(12) == 1
    assert not (ahead.data / "RECOVERYXLOG").exists()


def test_what_lies_there_from_before_the_machine_started_is_not_taken(ahead: _Ahead) -> None:
    """It was never synced."""
    ahead.lay()
    ahead.live(os.getpid(), ahead.held, "00000000-0000-0000-0000-000000000000\n")

    assert ahead.fetch(12) == 1


def test_another_clusters_segment_is_not_taken(ahead: _Ahead, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    ahead.lay()

    assert ahead.fetch(12, other) == 1
    assert not (other / "RECOVERYXLOG").exists()


def test_a_data_directory_made_anew_is_another(ahead: _Ahead) -> None:
    ahead.lay()
    ahead.data.rmdir()
    ahead.data.mkdir()

    assert ahead.fetch(12) == 1


@pytest.mark.parametrize("alive", ["", "x", "1 2", "-1 0 x"])
def test_who_is_not_known_to_live_is_not_believed(ahead: _Ahead, alive: str) -> None:
    ahead.lay()
    (ahead.place / "alive").write_text(alive)

    assert ahead.fetch(12) == 1


def test_a_place_that_is_gone_leaves_it_to_the_program(ahead: _Ahead) -> None:
    shutil.rmtree(ahead.place)

    assert ahead.fetch(12) == 1
    assert ahead.fetch(0) == 0


def test_a_segment_that_is_being_read_is_waited_for(ahead: _Ahead) -> None:
    coming = ahead.ready / f".{NAME}.coming"
    coming.touch()

    def finish() -> None:
        time.sleep(0.2)
        ahead.lay("whole")
        coming.unlink()

    finishing = threading.Thread(target=finish)
    finishing.start()
    seen = ahead.fetch(1)
    finishing.join()

    assert seen == 0
    assert (ahead.data / "RECOVERYXLOG").read_text() == "whole"


def test_one_that_could_not_be_read_is_left_to_the_program(ahead: _Ahead) -> None:
    coming = ahead.ready / f".{NAME}.coming"
    coming.touch()
    giving_up = threading.Timer(0.2, coming.unlink)
    giving_up.start()

    assert ahead.fetch(11) == 126
    giving_up.join()


def test_a_file_that_cannot_be_moved_is_left_to_the_program(ahead: _Ahead) -> None:
    ahead.lay()
    (ahead.data / "RECOVERYXLOG").mkdir()
    (ahead.data / "RECOVERYXLOG" / NAME).mkdir()

    assert ahead.fetch(11) == 126
