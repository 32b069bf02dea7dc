"""What only a directory has: links, unfinished files, disks that are full, endless folders."""

import os
import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kb_dr.adapters.directory_listing import files_in_key_order
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.errors import BucketMissing, ObjectMissing, RepositoryError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    DirectoryRepository(root, "primary").create()
    return root


@pytest.fixture
def repository(root: Path) -> DirectoryRepository:
    return DirectoryRepository(root, "primary")


@contextmanager
def files_at_most(size_bytes: int) -> Iterator[None]:
    """The kernel refuses to write more to any one file, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_only_the_owner_may_read_what_is_stored(
    repository: DirectoryRepository, root: Path
) -> None:
    repository.put("wal/1/segment", b"x")

    modes = {path.name: path.stat().st_mode & 0o777 for path in [root, *root.rglob("*")]}
    assert modes == {
        "repository": 0o700, "wal": 0o700, "1": 0o700, "segment": 0o600, ".incoming": 0o700,
    }  # fmt: skip


def test_a_write_that_fails_midway_leaves_nothing_to_read(
    repository: DirectoryRepository, root: Path
) -> None:
    with files_at_most(1000), pytest.raises(RepositoryError):
        repository.put("chunk", b"x" * 5000)

    assert repository.find("chunk") is None
    assert list(repository.list("")) == []
    assert list((root / ".incoming").iterdir()) == []
    repository.put("chunk", b"x" * 5000)
    assert repository.read("chunk") == b"x" * 5000


def test_what_a_killed_writer_left_is_never_listed_and_goes_after_a_day(root: Path) -> None:
    incoming = root / ".incoming"
    incoming.mkdir()
    old, young = incoming / "1-old", incoming / "2-young"
    for left in (old, young):
        left.write_bytes(b"half")
    os.utime(old, (1, 1))
    repository = DirectoryRepository(root, "primary")

    assert list(repository.list("")) == []
    repository.put("chunk", b"x")

    assert [path.name for path in incoming.iterdir()] == ["2-young"]


def test_links_lead_neither_out_nor_to_silence(
    repository: DirectoryRepository, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")

    for key in ("folder/secret", "file"):
        for call in (repository.read, repository.find):
            with pytest.raises(RepositoryError) as raised:
                call(key)
            assert not isinstance(raised.value, ObjectMissing)
    with pytest.raises(RepositoryError):
        repository.put("folder/new", b"x")
    with pytest.raises(RepositoryError):
        repository.delete("folder/secret")
    for prefix in ("", "f", "folder", "folder/", "folder/se", "file"):
        with pytest.raises(RepositoryError, match="symbolic link"):
            list(repository.list(prefix))
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]


def test_the_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    repository = DirectoryRepository(tmp_path / "link", "primary")

    repository.put("chunk", b"x")

    assert repository.read("chunk") == b"x"


def test_a_root_that_is_a_file_or_was_unmounted_is_no_empty_repository(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    for root in (tmp_path / "file", tmp_path / "gone"):
        with pytest.raises(BucketMissing):
            list(DirectoryRepository(root, "primary").list(""))


def test_what_is_not_ours_is_left_out_of_a_listing(
    repository: DirectoryRepository, root: Path
) -> None:
    (root / "lost+found").mkdir(mode=0o000)
    (root / ".snapshot").mkdir()
    (root / "name with blanks").write_bytes(b"")
    repository.put("chunk", b"x")

    assert [seen.key for seen in repository.list("")] == ["chunk"]


def test_a_folder_larger_than_memory_is_listed_whole_and_in_order(root: Path) -> None:
    names = [f"{number * 7919 % 3001:08d}" for number in range(3001)]
    for name in names:
        (root / name).touch()

    listed = [key for key, _ in files_in_key_order(root, "", "", held_names=100)]
    later = [key for key, _ in files_in_key_order(root, "0000", "00001500", held_names=100)]

    assert listed == sorted(names)
    assert later == sorted(names)[1501:]


def test_memory_of_a_listing_does_not_grow_with_the_folder(root: Path) -> None:
    for number in range(8_000):
        (root / f"{number:024d}-{'a' * 64}.zst.age").touch()

    tracemalloc.start()
    try:
        count = sum(1 for _ in files_in_key_order(root, "", "", held_names=500))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert count == 8_000
    assert peak < 2 * 500 * 400, "two times the names held, some 150 bytes each"
