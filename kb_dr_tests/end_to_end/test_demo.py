"""`kb-dr demo`, as a person types it: the whole story, and what is left when it is told."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr.sandbox.bring_up import state_of, up
from kb_dr.sandbox.clusters import query
from kb_dr.sandbox.story import archive
from kb_dr.sandbox.take_down import down, lose_production


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A sandbox in which the story was told once, and what was printed."""
    directory = tmp_path_factory.mktemp("demo") / "sandbox"
    try:
        yield directory, _typed("demo", "--dir", str(directory), "--entries", "300")
    finally:
        if directory.exists():
            down(directory, purge=True)


def _typed(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kb_dr.cli", *words],
        capture_output=True, text=True, timeout=1500, cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.timeout(1800)
def test_the_demo_ends_proven_from_the_other_region(told: tuple[Path, str]) -> None:
    _, printed = told
    assert "DISASTER" in printed
    (verdict,) = [line for line in printed.splitlines() if line.startswith("PROVEN: kb-full-")]
    assert verdict.rstrip().endswith("read from offsite")
    missing = next(line for line in printed.splitlines() if "missing after the restore" in line)
    assert missing.split("│")[2].strip() == "0"
    assert "make ui" in printed


@pytest.mark.timeout(900)
def test_production_goes_on_along_a_new_timeline_without_a_gap(told: tuple[Path, str]) -> None:
    directory, _ = told
    state = state_of(directory)
    assert query(state, "production", "show archive_mode") == [("on",)]
    segment = archive(state)
    assert segment.startswith("00000002")

    settings = ("--env-file", str(directory / "kb_dr.env"))
    _typed(*settings, "copy", "--wal-only")
    for copy in ("primary", "offsite"):
        audits = json.loads(_typed(*settings, "wal", "audit", "--from", copy, "--json"))
        assert segment in json.dumps(audits)
    (backup,) = json.loads(_typed(*settings, "list", "--json"))
    assert backup["standings"]["offsite"] == "proven"


@pytest.mark.timeout(900)
def test_the_new_timeline_can_be_lost_and_restored_as_well(told: tuple[Path, str]) -> None:
    directory, _ = told
    settings = ("--env-file", str(directory / "kb_dr.env"))
    state = state_of(directory)
    query(state, "production", "create table second_life (entry text)")
    _typed(*settings, "backup", "full")
    query(state, "production", "insert into second_life values ('after the second backup')")
    archive(state)
    _typed(*settings, "copy")
    lose_production(directory)

    target = directory / "restored" / "data"
    _typed(*settings, "restore", "--latest", "--from", "offsite", "--into", str(target))
    target.rename(directory / "production" / "data")
    up(directory, say=lambda _: None)

    rows = query(state_of(directory), "production", "select entry from second_life")
    assert rows == [("after the second backup",)]
    assert archive(state_of(directory)).startswith("00000003")
