"""A directory tree is listed in the order of keys, whatever is asked for and wherever it begins."""

import random
from pathlib import Path

import pytest

from kb_dr.adapters.directory_listing import files_in_key_order
from kb_dr.errors import RepositoryError

PIECES = ("a", "a-", "a.", "a0", "aa", "ab", "b", "a-b", "a=", "A", "_")


def made_tree(root: Path, chance: random.Random) -> list[str]:
    """Files at random depths; a name is a file or a folder, never both."""
    keys: set[str] = set()
    for _ in range(chance.randint(1, 60)):
        key = "/".join(chance.choice(PIECES) for _ in range(chance.randint(1, 3)))
        folders = ["/".join(key.split("/")[:depth]) for depth in range(1, key.count("/") + 1)]
        is_folder = any(each.startswith(key + "/") for each in keys)
        if not is_folder and not any(folder in keys for folder in folders):
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).touch()
            keys.add(key)
    return sorted(keys)


@pytest.mark.parametrize("seed", range(40))
def test_it_is_what_a_sorted_list_of_all_keys_gives(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    keys = made_tree(tmp_path, chance)
    texts = ["", "a", "a/", "zz", "a-/", "none/there", ".hidden/x", *keys]
    texts += [key[: chance.randint(0, len(key))] for key in keys]

    for _ in range(60):
        prefix, after = chance.choice(texts), chance.choice(texts)
        held = chance.choice([1, 2, 5, 100])
        listed = [key for key, _ in files_in_key_order(tmp_path, prefix, after, held_names=held)]
        wanted = [key for key in keys if key.startswith(prefix) and key > after]
        assert listed == wanted, f"seed {seed}: prefix {prefix!r}, after {after!r}, {held} held"


@pytest.mark.parametrize("link", ["wal", "wal/1"])
def test_a_link_on_the_way_to_what_is_asked_for_is_refused(tmp_path: Path, link: str) -> None:
    elsewhere, root = tmp_path / "elsewhere", tmp_path / "root"
    (elsewhere / "1").mkdir(parents=True)
    (root / link).parent.mkdir(parents=True)
    (root / link).symlink_to(elsewhere)

    with pytest.raises(RepositoryError, match="symbolic link"):
        list(files_in_key_order(root, "wal/1/x", ""))


def test_folders_above_what_is_asked_for_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "wal" / "1").mkdir(parents=True)
    (tmp_path / "wal" / "1" / "x").touch()
    (tmp_path / "aside").symlink_to(tmp_path / "wal")

    assert [key for key, _ in files_in_key_order(tmp_path, "wal/1/", "")] == ["wal/1/x"]


def test_a_place_that_is_gone_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(files_in_key_order(tmp_path / "gone", "wal/1/", ""))
