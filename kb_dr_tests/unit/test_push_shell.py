"""push-wal.sh calls a segment archived by a note alone, and only while the note holds."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kb_dr.cli.wal import SHELL
from kb_dr.domain.archive_command import archive_command
from kb_dr.errors import ConfigurationError
from kb_dr.operations.push_notes import PLACE_NAMES, FileState, PushNotes, settings_read
from kb_dr.settings import load_settings
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
        self.data = directory / "data"
        self.data.mkdir()
        (self.data / "pg_wal").symlink_to(self.segment.parent)
        self.environment = {"PATH": os.environ["PATH"], "HOME": "/home/a b\\c"}

    def write_note(self, *, with_settings: bool = True) -> None:
        state = FileState.of(self.segment)
        assert state.settled()
        named = self.settings if with_settings else None
        read_from = settings_read(named, self.environment, self.data)
        PushNotes(self.notes, "place", FakeClock(), read_from=read_from).write(
            NAME, "key", "0" * 64, state
        )

    def archive(self, *, settings: bool = True) -> int:
        """Run the line as PostgreSQL does; return its status."""
        named = str(self.settings) if settings else "-"
        script = ["/bin/sh", str(SHELL / "push-wal.sh"), str(self.notes), named]
        command = archive_command(["sh", "-c", f"exit {STARTED}"], script).replace("%%", "\0")
        line = command.replace("%p", f"pg_wal/{NAME}").replace("\0", "%")
        ended = subprocess.run(["sh", "-c", line], cwd=self.data, env=self.environment, check=False)
        return ended.returncode


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


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("name", [*PLACE_NAMES, "KB_DR_CONFIG"])
def test_another_environment_starts_the_program(place: _Place, name: str, *, named: bool) -> None:
    """Its variables win over the file: the server was started anew, with another repository."""
    place.write_note(with_settings=named)

    place.environment[name] = "other"

    assert place.archive(settings=named) == STARTED


@pytest.mark.parametrize("name", PLACE_NAMES)
def test_the_same_environment_changes_nothing(place: _Place, name: str) -> None:
    place.environment[name] = "s3://b/%p $(x) 'y'"
    place.write_note()

    assert place.archive() == 0


def test_a_file_that_the_environment_names_starts_the_program(place: _Place) -> None:
    place.write_note(with_settings=False)
    place.environment["KB_DR_ENV_FILE"] = str(place.settings)

    assert place.archive(settings=False) == STARTED


def test_a_note_of_a_push_that_read_a_file_is_none_of_a_line_without(place: _Place) -> None:
    place.write_note(with_settings=True)

    assert place.archive(settings=False) == STARTED


@pytest.mark.parametrize("when", ["at the push", "since", "until then"])
@pytest.mark.parametrize(("file", "named"), [("kb_dr.yaml", True), (".env", False)])
def test_files_of_settings_that_no_word_names_start_the_program(
    place: _Place, file: str, when: str, *, named: bool
) -> None:
    found = place.data / file
    if when != "since":
        found.write_text("KB_DR_ORG: a\n")
    place.write_note(with_settings=named)
    found.unlink() if when == "until then" else found.touch()

    assert place.archive(settings=named) == STARTED


def test_every_variable_that_moves_the_repository_is_compared(tmp_path: Path) -> None:
    """Whatever of the settings changes the place: tried with each name they know."""
    base = {"KB_DR_REPOSITORY_SECRET_ACCESS_KEY": "s", "AWS_SECRET_ACCESS_KEY": "s"}
    base |= {"KB_DR_REPOSITORY_ACCESS_KEY_ID": "k", "AWS_ACCESS_KEY_ID": "k", "HOME": "/h"}
    names = set(re.findall(r"\b(?:KB|AWS)_[A-Z0-9_]+", Path(".env.example").read_text()))

    def place_of(environment: dict[str, str]) -> str | None:
        try:
            settings = load_settings(environment)
        except ConfigurationError:
            return None
        return repr((settings.org, settings.primary))

    moving = {
        name
        for start in (base, {**base, "KB_DR_REPOSITORY_URL": "s3://a"})
        for name in names
        for value in ("s3://other", "http://localhost:1", "other")
        if (moved := place_of({**start, name: value})) is not None and moved != place_of(start)
    }

    secret = {name for name in moving if "SECRET" in name or "TOKEN" in name or "KMS" in name}
    assert moving - secret <= set(PLACE_NAMES)
    assert {"KB_DR_REPOSITORY_URL", "KB_DR_ORG"} <= moving


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
