"""What the reaper may remove: leftovers of ours, and never what else stands in the directory."""

import os
import time
from pathlib import Path

from kb_dr.adapters.scratch_space import LocalScratchSpace


def _aged(directory: Path) -> Path:
    """Last changed long ago, as far as the file system knows."""
    long_ago = time.time() - 24 * 3600
    os.utime(directory, (long_ago, long_ago))
    return directory


def test_what_else_stands_in_the_scratch_directory_is_left_alone(tmp_path: Path) -> None:
    """KB_DR_SCRATCH_DIR may name a large file system that holds other things."""
    stranger = tmp_path / "photographs"
    stranger.mkdir()
    (stranger / "1.jpg").write_bytes(b"of last summer")
    (tmp_path / "with-an-owner").mkdir()
    (tmp_path / "with-an-owner" / "owner.json").write_text('{"sockets": "/nowhere"}')
    for each in ("photographs", "with-an-owner"):
        _aged(tmp_path / each)
    tmp_path.chmod(0o755)
    scratch = LocalScratchSpace(tmp_path)

    assert scratch.reap() == ()
    with scratch.area("proof") as area:
        assert area.root.parent == tmp_path

    assert (stranger / "1.jpg").read_bytes() == b"of last summer"
    assert (tmp_path / "with-an-owner" / "owner.json").exists()
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_leftovers_without_an_owner_go_once_they_are_old(tmp_path: Path) -> None:
    scratch = LocalScratchSpace(tmp_path)
    with scratch.area("proof") as area:
        name = area.root.name
    left = tmp_path / name.replace("proof", "killed")
    left.mkdir()

    assert scratch.reap() == (), "it may be one that is just being made"
    _aged(left)
    assert scratch.reap() == (str(left),)
    assert not left.exists()


def test_what_a_killed_restore_left_beside_its_target_is_found_by_its_note(tmp_path: Path) -> None:
    scratch, target = LocalScratchSpace(tmp_path / "scratch"), tmp_path / "elsewhere" / "data"
    with scratch.beside(target) as area:
        [note] = (tmp_path / "scratch").glob("*.json")
        said, left = note.read_text(), area.root
        assert scratch.reap() == (), "its owner lives"
    assert not note.exists()
    note.write_text(said)  # as after a kill: the note, and a directory without a living owner
    _aged_after_making(left)

    assert scratch.reap() == (str(left),)
    assert not left.exists()
    assert not note.exists()
    assert target.parent.is_dir()


def test_a_note_that_names_something_else_removes_nothing(tmp_path: Path) -> None:
    scratch, precious = LocalScratchSpace(tmp_path / "scratch"), tmp_path / "precious"
    with scratch.beside(tmp_path / "data"):
        [note] = (tmp_path / "scratch").glob("*.json")
        name = note.name
    precious.mkdir()
    (tmp_path / "scratch" / name).write_text(f'{{"root": "{precious}"}}')
    _aged(precious)

    assert scratch.reap() == ()
    assert precious.is_dir()


def test_a_directory_without_an_owner_is_not_removed_because_its_name_is_like_ours(
    tmp_path: Path,
) -> None:
    scratch = LocalScratchSpace(tmp_path / "scratch")
    with scratch.beside(tmp_path / "data") as area:
        [note] = (tmp_path / "scratch").glob("*.json")
        said, killed = note.read_text(), area.root
    copied = tmp_path / f"copy-of-{killed.name}"
    _aged_after_making(copied)
    killed.mkdir()
    (killed / "rows").write_bytes(b"of somebody")
    _aged(killed)
    for number, root in enumerate((killed, copied)):
        note.with_name(note.name.replace(".json", f"{number}.json")).write_text(
            said.replace(str(killed), str(root))
        )

    assert scratch.reap() == ()
    with scratch.beside(tmp_path / "data"):
        assert (killed / "rows").exists()
    assert (copied / "data").is_dir()
    (killed / "rows").unlink()
    note.write_text(said)
    _aged(killed)
    assert scratch.reap() == (str(killed),), "nothing is lost with an empty one"


def _aged_after_making(directory: Path) -> None:
    directory.mkdir()
    (directory / "data").mkdir()
    (directory / "owner.json").write_text('{"sockets": "/nowhere"}')
    _aged(directory)
