"""`kb-dr wal fetch` ends with 0, 12 or 126, whatever happens; and it starts without delay."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kb_dr.cli.program import program
from kb_dr.domain.wal_names import Segment
from kb_dr_tests.archived_cluster import WalStore
from kb_dr_tests.made_wal import SEGMENT_BYTES, SYSTEM_IDENTIFIER, full_segments

SEGMENTS = full_segments(1, 2)
NAMES = list(SEGMENTS)
ABSENT = Segment(1, 3, SEGMENT_BYTES).name


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> WalStore:
    """A store that holds two segments, pushed by the program itself."""
    directory = tmp_path_factory.mktemp("wal-fast")
    found = WalStore.make(directory / "store")
    for name, content in SEGMENTS.items():
        (directory / name).write_bytes(content)
        subprocess.run(found.words("wal", "push", str(directory / name)), check=True)
    return found


def fetch(store: WalStore, directory: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        store.words("wal", "fetch", "--system-identifier", str(SYSTEM_IDENTIFIER), *words),
        cwd=directory,
        capture_output=True,
        text=True,
    )


def test_there_absent_and_anything_else(store: WalStore, tmp_path: Path) -> None:
    expected = ("--expect-timeline", "1", "--segment-bytes", str(SEGMENT_BYTES))

    assert fetch(store, tmp_path, NAMES[0], "out").returncode == 0
    assert (tmp_path / "out").read_bytes() == SEGMENTS[NAMES[0]]
    assert fetch(store, tmp_path, ABSENT, "out").returncode == 12
    at_end = fetch(store, tmp_path, ABSENT, "out", "--expect-end", "0/300000", *expected)
    assert at_end.returncode == 12
    below = fetch(store, tmp_path, ABSENT, "out", "--expect-end", "0/300001", *expected)
    assert below.returncode == 126
    assert "expected to come to 0/300001" in below.stderr


@pytest.mark.parametrize(
    "words",
    [
        (),
        (NAMES[0],),
        (NAMES[0], "out", "--no-such-option"),
        (NAMES[0], "out", "--expect-end", "0/1"),
        (NAMES[0], "out", "--expect-end", "x", "--expect-timeline", "1", "--segment-bytes", "1"),
        (NAMES[0], "no/such/directory/out"),
        ("postgresql.conf", "out"),
        (ABSENT, "out", "--from", "offsite"),
    ],
)
def test_wrong_words_are_no_absence(
    store: WalStore, tmp_path: Path, words: tuple[str, ...]
) -> None:
    assert fetch(store, tmp_path, *words).returncode == 126


def test_without_a_cluster_to_ask_for_nothing_is_absent(store: WalStore, tmp_path: Path) -> None:
    run = subprocess.run(
        store.words("wal", "fetch", ABSENT, "out"), cwd=tmp_path, capture_output=True, text=True
    )

    assert run.returncode == 126
    assert "pg_control" in run.stderr


_DYING = """
import sys
import kb_dr.operations.fetch_wal as module
def dying(*_, **__):
    {act}
module.fetch_wal = dying
from kb_dr.cli.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "act",
    [
        "raise KeyboardInterrupt",
        "raise MemoryError",
        "raise SystemExit(1)",
        "raise SystemExit(12)",
        "raise RecursionError",
        "raise GeneratorExit",
        "from kb_dr.errors import ObjectMissing; raise ObjectMissing('x')",
        "import os; os.kill(os.getpid(), 2); import time; time.sleep(60)",
    ],
)
def test_however_it_dies_it_is_no_absence(store: WalStore, tmp_path: Path, act: str) -> None:
    words = store.words("wal", "fetch", ABSENT, "out", "--system-identifier", "1")[len(program()) :]
    run = subprocess.run(
        [sys.executable, "-c", _DYING.format(act=act), *words], cwd=tmp_path, capture_output=True
    )

    assert run.returncode == 126, run.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "2>/dev/full", ">/dev/full 2>&1"])
def test_output_that_cannot_be_written_changes_no_status(
    store: WalStore, tmp_path: Path, closed: str
) -> None:
    def status(name: str, *more: str) -> int:
        words = store.words(
            "wal", "fetch", name, "out", "--system-identifier", str(SYSTEM_IDENTIFIER), *more
        )
        line = " ".join(f"'{word}'" for word in words)
        return subprocess.run(["sh", "-c", f"{line} {closed}"], cwd=tmp_path).returncode

    assert status(NAMES[0]) == 0
    assert status(ABSENT) == 12
    assert status(ABSENT, "--expect-end", "0/9") == 126


_LOADED = """
import json, os, sys
os._exit = lambda status: (print(json.dumps(sorted(sys.modules))), sys.exit(status))
from kb_dr.cli.__main__ import main
status = main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize("verb", ["push", "fetch"])
def test_nothing_heavy_is_loaded(store: WalStore, tmp_path: Path, verb: str) -> None:
    (tmp_path / NAMES[0]).write_bytes(SEGMENTS[NAMES[0]])
    words = {"push": (str(tmp_path / NAMES[0]),), "fetch": (NAMES[0], str(tmp_path / "out"))}
    run = subprocess.run(
        [
            sys.executable,
            *("-c", _LOADED),
            *store.words("wal", verb, *words[verb])[len(program()) :],
            *("--system-identifier", str(SYSTEM_IDENTIFIER)),
        ],
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = set(json.loads(run.stdout.splitlines()[-1]))
    heavy = {"click", "rich", "msgspec", "boto3", "botocore", "psycopg", "dagster", "tenacity"}
    heavy |= {"asyncio"}
    assert "kb_dr.operations.listed_wal" in loaded
    assert not loaded & heavy
    assert not {name for name in loaded if name.startswith("kb_dr.domain.manifest")}


def test_push_says_what_is_wrong_with_a_status_the_archiver_survives(
    store: WalStore, tmp_path: Path
) -> None:
    (tmp_path / NAMES[0]).write_bytes(SEGMENTS[NAMES[0]][:5000])
    cut = subprocess.run(
        store.words("wal", "push", str(tmp_path / NAMES[0])), capture_output=True, text=True
    )
    unset = subprocess.run(
        [*program(), "wal", "push", "x"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )

    assert cut.returncode == 25
    assert "truncated" in cut.stderr
    assert 0 < unset.returncode < 126


def test_push_refuses_a_place_that_is_no_repository(store: WalStore, tmp_path: Path) -> None:
    """Such as the empty directory below a mount that is not there."""
    other = store.copied(tmp_path / "other")
    for entry in (other.directory / "repository").iterdir():
        if entry.is_file():
            entry.unlink()
    (tmp_path / NAMES[0]).write_bytes(SEGMENTS[NAMES[0]])

    run = subprocess.run(
        other.words("wal", "push", str(tmp_path / NAMES[0])), capture_output=True, text=True
    )

    assert run.returncode == 19
