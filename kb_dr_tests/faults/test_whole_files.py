"""Files appear whole or not at all: on a full disk, under a kill, beside another writer."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kb_dr.adapters.whole_file import LocalWholeFiles
from kb_dr.errors import ConfigurationError, KbDrError, NotEnoughSpace

_SECONDS = 60.0
_MIB = b"x" * (1 << 20)

_FILL = """
import sys
from pathlib import Path
from kb_dr.adapters.whole_file import LocalWholeFiles
from kb_dr.errors import NotEnoughSpace
place, nameless, what = Path(sys.argv[1]), sys.argv[2] == "nameless", sys.argv[3]
files = LocalWholeFiles(nameless=nameless)
try:
    if what == "file":
        with files.new_file(place / "dump") as file:
            for _ in range(64):
                file.write(b"x" * (1 << 20))
            file.appear()
    else:
        with files.new_directory(place / "dump") as made:
            made.inside.mkdir()
            with (made.inside / "part").open("wb") as part:
                for _ in range(64):
                    part.write(b"x" * (1 << 20))
            made.appear()
except NotEnoughSpace as error:
    print("full:", error)
except OSError as error:
    print("full:", error)
import os
print(os.listdir(place))
"""

_HALF_WAY = """
import sys, time
from pathlib import Path
from kb_dr.adapters.whole_file import LocalWholeFiles
place, nameless, what = Path(sys.argv[1]), sys.argv[2] == "nameless", sys.argv[3]
files = LocalWholeFiles(nameless=nameless)
if what == "file":
    with files.new_file(place / "dump") as file:
        file.write(b"x" * (1 << 20))
        print("half", flush=True)
        time.sleep(60)
else:
    with files.new_directory(place / "dump") as made:
        made.inside.mkdir()
        (made.inside / "part").write_bytes(b"x")
        print("half", flush=True)
        time.sleep(60)
"""


@contextmanager
def half_way(place: Path, way: str, what: str) -> Iterator["subprocess.Popen[str]"]:
    """A writer that has written, and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", _HALF_WAY, str(place), way, what],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "half\n"
            yield child
        finally:
            child.kill()


def write(place: Path, name: str = "dump", *, nameless: bool = True) -> Path:
    with LocalWholeFiles(nameless=nameless).new_file(place / name) as file:
        file.write(b"whole")
        file.appear()
    return place / name


@pytest.mark.parametrize("nameless", [True, False])
def test_a_file_is_there_once_it_has_appeared_and_its_owner_alone_reads_it(
    tmp_path: Path, nameless: bool
) -> None:
    with LocalWholeFiles(nameless=nameless).new_file(tmp_path / "dump") as file:
        assert file.write(b"wh") == 2
        file.write(b"ole")
        assert not (tmp_path / "dump").exists()
        file.appear()

    assert (tmp_path / "dump").read_bytes() == b"whole"
    assert stat.S_IMODE((tmp_path / "dump").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["dump"]


def test_a_file_that_is_being_written_has_no_name_at_all(tmp_path: Path) -> None:
    with LocalWholeFiles().new_file(tmp_path / "dump") as file:
        file.write(_MIB)
        assert os.listdir(tmp_path) == []


def appear_and_fail(place: Path, *, nameless: bool = True) -> None:
    files = LocalWholeFiles(nameless=nameless)
    with files.new_file(place / "dump") as file, files.new_file(place / "dump.sha256"):
        file.write(b"whole")
        file.appear()
        assert (place / "dump").exists()
        raise KeyboardInterrupt


def fill_and_fail(place: Path) -> None:
    with LocalWholeFiles().new_directory(place / "dump") as made:
        made.inside.mkdir()
        (made.inside / "part").write_bytes(b"x")
        made.appear()
        assert os.listdir(place / "dump") == ["part"]
        raise KeyboardInterrupt


@pytest.mark.parametrize("nameless", [True, False])
def test_an_error_leaves_nothing_though_the_file_had_appeared(
    tmp_path: Path, nameless: bool
) -> None:
    with pytest.raises(KeyboardInterrupt):
        appear_and_fail(tmp_path, nameless=nameless)
    with LocalWholeFiles(nameless=nameless).new_file(tmp_path / "dump") as file:
        file.write(b"never said to appear")

    assert os.listdir(tmp_path) == []


def test_an_error_leaves_no_directory_though_it_had_appeared(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill_and_fail(tmp_path)

    assert os.listdir(tmp_path) == []


def write_too_late(place: Path, *, nameless: bool) -> None:
    with LocalWholeFiles(nameless=nameless).new_file(place / "meanwhile") as file:
        (place / "meanwhile").write_text("somebody's")
        file.appear()


def fill_too_late(place: Path) -> None:
    with LocalWholeFiles().new_directory(place / "directory") as made:
        made.inside.mkdir()
        (place / "directory").mkdir()
        made.appear()


@pytest.mark.parametrize("nameless", [True, False])
def test_a_name_that_is_taken_is_never_overwritten(tmp_path: Path, nameless: bool) -> None:
    (tmp_path / "before").write_text("somebody's")

    with pytest.raises(ConfigurationError, match="it is there already"):
        write(tmp_path, "before", nameless=nameless)
    with pytest.raises(ConfigurationError, match="it is there already"):
        write_too_late(tmp_path, nameless=nameless)
    with pytest.raises(ConfigurationError, match="it is there already"):
        fill_too_late(tmp_path)

    assert sorted(os.listdir(tmp_path)) == ["before", "directory", "meanwhile"]
    assert (tmp_path / "before").read_text() == "somebody's"
    assert (tmp_path / "meanwhile").read_text() == "somebody's"


@pytest.mark.parametrize(("way", "what"), [("nameless", "file"), ("named", "file"),
                                           ("named", "directory")])  # fmt: skip
def test_a_disk_that_fills_leaves_nothing_and_says_what_is_free(
    tmp_path: Path, way: str, what: str
) -> None:
    mount = 'mount -t tmpfs -o size=4m,mode=0700 tmpfs "$0" && exec "$@"'

    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path),
         sys.executable, "-c", _FILL, str(tmp_path), way, what],
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )  # fmt: skip

    said, left = done.stdout.splitlines()
    assert left == "[]", done.stdout + done.stderr
    if what == "file":
        assert said == f"full: write {tmp_path / 'dump'}: No space left on device, 0 B free there"


def test_a_kill_leaves_nothing_of_a_file_without_a_name(tmp_path: Path) -> None:
    with half_way(tmp_path, "nameless", "file") as child:
        child.send_signal(signal.SIGKILL)

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_a_kill_leaves_goes_with_the_next_one_and_not_while_its_writer_lives(
    tmp_path: Path, what: str
) -> None:
    with half_way(tmp_path, "named", what) as child:
        write(tmp_path, "meanwhile")
        (left,) = [each for each in os.listdir(tmp_path) if each != "meanwhile"]
        assert left.startswith(".dump.kb-dr-unfinished-")
        child.send_signal(signal.SIGKILL)
    assert sorted(os.listdir(tmp_path)) == [left, "meanwhile"]

    write(tmp_path, "after")

    assert sorted(os.listdir(tmp_path)) == ["after", "meanwhile"]


def test_hidden_files_of_somebody_else_stay(tmp_path: Path) -> None:
    (tmp_path / ".notes").write_text("mine")
    (tmp_path / ".dump.kb-dr-unfinished-x").write_text("mine")

    write(tmp_path)

    assert sorted(os.listdir(tmp_path)) == [".dump.kb-dr-unfinished-x", ".notes", "dump"]


def test_a_place_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(KbDrError, match="No such file or directory") as caught:
        write(tmp_path / "nowhere")
    assert not isinstance(caught.value, NotEnoughSpace)

    LocalWholeFiles().make_directory(tmp_path / "nowhere")
    assert write(tmp_path / "nowhere").read_bytes() == b"whole"
    assert stat.S_IMODE((tmp_path / "nowhere").stat().st_mode) == 0o700
