"""A target that cannot be reached is refused in its own words, and nothing is written."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kb_dr_tests.protected_service import CopiedService, ProtectedService

TOMORROW = f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def copied(protected_service: ProtectedService, tmp_path: Path) -> CopiedService:
    return protected_service.copied(tmp_path)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["--target-time", "2026-11-20 02:03:04"], 2, "a time without a zone"),
        (["--target-time", "yesterday"], 2, "not a time: 'yesterday'"),
        (["--target-lsn", "16-B374D848"], 2, "not an LSN: '16-B374D848'"),
        (["--target-name", ""], 2, "not the name of a restore point"),
        ([], 2, "no target was given"),
        (["--latest", "--target-lsn", "0/1"], 2, "more than one target"),
        (["--latest", "--exclusive"], 2, "--exclusive goes with"),
        (["--target-time", TOMORROW], 49, "it lies in the future"),
        (["--target-time", "2001-01-01T00:00:00Z"], 41, "before every backup"),
        (["--target-lsn", "0/28"], 41, "before every backup"),
        (["--target-lsn", "FFFF/0"], 49, "behind the newest archived record"),
        (["--target-name", "never made"], 49, "no such restore point"),
        (["--latest", "--target-timeline", "7"], 42, "there is no such timeline here"),
        (["--target-lsn", "0/28", "--target-timeline", "7"], 42, "there is no such timeline"),
    ],
)
def test_what_cannot_be_reached_is_refused_before_anything_is_written(
    copied: CopiedService, tmp_path: Path, words: list[str], status: int, says: str
) -> None:
    target = tmp_path / "target"

    copied.run("restore", *words, "--into", str(target)).require(status, says)

    assert not target.exists()
    assert not list(tmp_path.glob(".*partial*"))


def test_a_dry_run_of_what_cannot_be_reached_says_what_can(
    copied: CopiedService, tmp_path: Path
) -> None:
    words = ["restore", "--target-time", TOMORROW, "--into", str(tmp_path / "x"), "--dry-run"]

    people = copied.run(*words).require(49)
    machines = json.loads(copied.run(*words, "--json").require(49).out)

    assert "Recoverable windows" in people.out
    assert "nearest before" in people.out
    assert machines["plan"]["reachable"] is False
    assert "it lies in the future" in machines["plan"]["why"]
    assert {each["copy"] for each in machines["windows"]} == {"primary", "offsite"}
    nearest = machines["nearest"]["before"]
    copied.run(
        "restore",
        *("--target-lsn", nearest["ends_lsn"], "--target-timeline", str(nearest["timeline"])),
        *("--into", str(tmp_path / "nearest"), "--from", nearest["copy"]),
    ).require(0)


def test_the_first_copy_that_can_serve_a_target_is_read_and_says_why(
    copied: CopiedService, tmp_path: Path
) -> None:
    words = ["restore", "--latest", "--into", str(tmp_path / "x"), "--dry-run", "--json"]
    near = json.loads(copied.run(*words).require(0).out)["plan"]
    (copied.directory / "primary" / "repository.json").unlink()
    far = json.loads(copied.run(*words).require(0).out)["plan"]

    assert near["copy"] == "primary"
    assert near["notes"][0] == "read from primary: the nearest copy that holds it"
    assert far["copy"] == "offsite"
    assert far["notes"][0].startswith("read from offsite: primary cannot serve it: ")


def test_a_plan_foretells_how_long_it_takes_from_what_was_measured(
    copied: CopiedService, tmp_path: Path
) -> None:
    plan = copied.run("restore", "--latest", "--into", str(tmp_path / "x"), "--dry-run").require(0)
    told = copied.run(
        "restore", "--latest", "--into", str(tmp_path / "x"), "--dry-run", "--json"
    ).require(0)

    assert "will take about" in plan.out
    forecast = json.loads(told.out)["plan"]["forecast"]
    assert forecast["seconds"] > 0
    assert {"fetch and unpack", "verify files", "replay"} <= {p["name"] for p in forecast["phases"]}
