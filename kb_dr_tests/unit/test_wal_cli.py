"""`kb-dr wal audit` exits with what is wrong; `kb-dr wal restore-command` prints the safe line."""

import json
import subprocess
from pathlib import Path

import pytest

from kb_dr_tests.archived_cluster import WalStore
from kb_dr_tests.made_wal import SYSTEM_IDENTIFIER, full_segments

SEGMENTS = full_segments(1, 4)
NAMES = list(SEGMENTS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> WalStore:
    directory = tmp_path_factory.mktemp("wal-cli")
    found = WalStore.make(directory / "store")
    for name, content in SEGMENTS.items():
        (directory / name).write_bytes(content)
        subprocess.run(found.words("wal", "push", str(directory / name)), check=True)
    return found


@pytest.fixture
def store(whole: WalStore, tmp_path: Path) -> WalStore:
    return whole.copied(tmp_path / "store")


def run(store: WalStore, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(store.words("wal", *words), capture_output=True, text=True)


def test_a_whole_archive_passes(store: WalStore) -> None:
    listed, deep = run(store, "audit", "--json"), run(store, "audit", "--deep", "--json")

    assert (listed.returncode, deep.returncode) == (0, 0), deep.stderr
    (found,) = json.loads(deep.stdout)
    assert found["system_identifier"] == str(SYSTEM_IDENTIFIER)
    assert (found["segments"], found["read_files"], found["problems"]) == (4, 4, [])
    assert found["segment_bytes"] == 1024 * 1024
    assert "nothing wrong was found" in run(store, "audit").stdout


def test_a_gap_is_named(store: WalStore) -> None:
    store.stored(NAMES[1]).unlink()

    found = run(store, "audit")

    assert found.returncode == 24
    assert NAMES[1] in found.stdout
    assert "hint: " in found.stderr


def test_damage_is_seen_by_reading(store: WalStore) -> None:
    path = store.stored(NAMES[2])
    content = bytearray(path.read_bytes())
    content[-50] ^= 1
    path.write_bytes(content)

    assert run(store, "audit").returncode == 0, "a listing cannot see it"
    found = run(store, "audit", "--deep", "--json")
    assert found.returncode == 25
    assert [(each["kind"], each["name"]) for each in json.loads(found.stdout)[0]["problems"]] == [
        ("damaged", NAMES[2])
    ]


def test_an_empty_archive_does_not_pass(tmp_path: Path) -> None:
    assert run(WalStore.make(tmp_path / "store"), "audit").returncode == 24


def test_a_host_without_identity_says_what_it_needs(store: WalStore) -> None:
    store.configure(KB_DR_AGE_IDENTITY_FILE="")

    assert run(store, "audit").returncode == 18
    assert run(store, "audit", "--segment-bytes", str(1024 * 1024)).returncode == 0


def test_the_restore_command_maps_every_failure_to_126(store: WalStore) -> None:
    found = run(
        store, "restore-command", "--expect-end", "0/500000", "--expect-timeline", "1",
        "--segment-bytes", "1048576",
    )  # fmt: skip

    assert found.returncode == 0
    assert str(store.env_file) in found.stdout
    assert "--expect-end 0/500000 --expect-timeline 1" in found.stdout
    assert found.stdout.endswith("case $? in 0) exit 0;; 12) exit 1;; *) exit 126;; esac\n")
