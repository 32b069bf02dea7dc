"""push-wal.sh calls a segment archived by a note alone, and only while the note holds."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kb_dr.cli.wal import SHELL
from kb_dr.domain.archive_command import archive_command
from kb_dr.operations.push_notes import FileState, PushNotes
from kb_dr_tests.fakes import FakeClock

NAME = "000000010000000000000001"
STARTED = 7
"""What the program stands for, which is started where no note is believed."""


class _Place:
    """A segment, settings, and notes on both."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.segment = directory / "it's 100% pg_wal" / NAME
        self.segment.parent.mkdir()
        self.segment.write_bytes(b"segment")
        self.settings = directory / "kb_dr.env"
        self.settings.write_text("KB_DR_ORG=a\n")
        self.notes = directory / "notes"
        self.note = self.notes / NAME

    def write_note(self, *, with_settings: bool = True) -> None:
        state = FileState.of(self.segment)
        assert state.settled()
        read_from = FileState.of(self.settings) if with_settings else None
        PushNotes(self.notes, "place", FakeClock(), read_from=read_from).write(
            NAME, "key", "0" * 64, state
        )

    def archive(self, *, settings: bool = True) -> int:
        """Run the line as PostgreSQL does; return its status."""
        named = str(self.settings) if settings else "-"
        script = ["/bin/sh", str(SHELL / "push-wal.sh"), str(self.notes), named]
        command = archive_command(["sh", "-c", f"exit {STARTED}"], script).replace("%%", "\0")
        line = command.replace("%p", f"pg_wal/{NAME}").replace("\0", "%")
        data = self.directory / "data"
        data.mkdir(exist_ok=True)
        if not (data / "pg_wal").is_symlink():
            (data / "pg_wal").symlink_to(self.segment.parent)
        return subprocess.run(["sh", "-c", line], cwd=data, check=False).returncode


@pytest.fixture
def place(tmp_path: Path) -> _Place:
    return _Place(tmp_path)


def test_a_note_is_believed_once(place: _Place) -> None:
    place.write_note()

    assert place.archive() == 0
    assert place.archive() == STARTED


def test_without_a_file_of_settings_the_segment_alone_counts(place: _Place) -> None:
    place.write_note(with_settings=False)

    assert place.archive(settings=False) == 0


def test_without_a_note_the_program_is_started(place: _Place) -> None:
    assert place.archive() == STARTED


def _changed_with_its_time_put_back(place: _Place) -> None:
    before = place.segment.stat()
    with place.segment.open("r+b") as file:
        file.write(b"SEGMENT")
    os.utime(place.segment, ns=(before.st_atime_ns, before.st_mtime_ns))


def _recycled(place: _Place) -> None:
    """Another file under the name, with the same bytes and times."""
    copy = place.segment.with_name("copy")
    shutil.copy2(place.segment, copy)
    copy.replace(place.segment)


def _longer(place: _Place) -> None:
    with place.segment.open("ab") as file:
        file.write(b"x")


def _gone(place: _Place) -> None:
    place.segment.unlink()


def _settings_written_anew(place: _Place) -> None:
    place.settings.write_text("KB_DR_ORG=b\n")


def _settings_gone(place: _Place) -> None:
    place.settings.unlink()


def _cut_short(place: _Place) -> None:
    place.note.write_text(place.note.read_text().splitlines()[0] + "\n")


def _of_another_start_of_the_machine(place: _Place) -> None:
    _, _, rest = place.note.read_text().partition(" ")
    place.note.write_text(f"00000000-0000-0000-0000-000000000000 {rest}")


def _older_than_an_hour(place: _Place) -> None:
    boot, _, rest = place.note.read_text().partition(" ")
    up, _, lines = rest.partition("\n")
    place.note.write_text(f"{boot} {int(up) - 3602}\n{lines}")


def _of_a_later_time(place: _Place) -> None:
    boot, _, rest = place.note.read_text().partition(" ")
    up, _, lines = rest.partition("\n")
    place.note.write_text(f"{boot} {int(up) + 1000}\n{lines}")


def _no_number(place: _Place) -> None:
    boot, _, rest = place.note.read_text().partition(" ")
    place.note.write_text(f"{boot} x{rest}")


@pytest.mark.parametrize(
    "change",
    [
        _changed_with_its_time_put_back,
        _recycled,
        _longer,
        _gone,
        _settings_written_anew,
        _settings_gone,
        _cut_short,
        _of_another_start_of_the_machine,
        _older_than_an_hour,
        _of_a_later_time,
        _no_number,
    ],
)
def test_a_note_that_does_not_hold_starts_the_program(
    place: _Place, change: Callable[[_Place], None]
) -> None:
    place.write_note()

    change(place)

    assert place.archive() == STARTED


def test_a_state_is_settled_before_a_write_could_leave_the_same(tmp_path: Path) -> None:
    """Else a write in the same tick of the kernel's clock would not show."""
    path = tmp_path / NAME
    path.write_bytes(b"a")
    state = FileState.of(path)

    assert state.settled()

    path.write_bytes(b"b")
    assert FileState.of(path) != state
    assert time.time() * 1e9 > state.changed_ns


def test_what_the_shell_emptied_is_removed(place: _Place) -> None:
    place.write_note()
    assert place.archive() == 0

    notes = PushNotes(place.notes, "place", FakeClock())
    assert not notes.exists(NAME)
    notes.forget_taken()

    assert not place.note.exists()
