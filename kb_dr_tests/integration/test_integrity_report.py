"""The integrity report, made as a person makes it, of a real backup in two copies."""

import json
from pathlib import Path

import pandas as pd
import pytest

from kb_dr_tests.protected_service import CopiedService, ProtectedService


@pytest.fixture
def service(protected_service: ProtectedService, tmp_path: Path) -> CopiedService:
    return protected_service.copied(tmp_path / "service")


def test_a_report_is_good_only_when_each_copy_was_proven_and_is_whole(
    service: CopiedService, tmp_path: Path
) -> None:
    said = service.run("report", "--every-byte").require(60, "primary")
    assert "proven to restore from it within" in said.out
    service.run("verify", "--from", "primary").require(0)

    frames, picture = tmp_path / "frames", tmp_path / "window.png"
    made = service.run(
        "report", "--every-byte", "--json", "--frames", str(frames), "--plot", str(picture)
    ).require(0)

    report = json.loads(made.out)
    assert report["coverage"]["copies"] == 1
    assert [copy["copy"] for copy in report["copies"]] == ["primary", "offsite"]
    for copy in report["copies"]:
        # Chunks, PostgreSQL's manifest and what else the backup names; all of its WAL.
        assert copy["reread"]["objects"] == len(service.stored.manifest.objects) + copy["wal_files"]
        assert copy["read_since"] is not None
        assert {each["band"] for each in copy["stretches"]} >= {"proven"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert list(pd.read_csv(frames / "backups.csv")["copy"]) == ["primary", "offsite"]
    for name in ("storage.csv", "trend.csv", "coverage.csv"):
        assert not pd.read_csv(frames / name).empty
    for copy in ("primary", "offsite"):
        texts = sorted((service.directory / copy / "reports").glob("*.md"))
        assert len(texts) == 2
        assert "GOOD" in texts[-1].read_text()
    # The next one reads nothing anew within the hour.
    again = json.loads(service.run("report", "--json").require(0).out)
    assert again["copies"][0]["reread"]["objects"] == 0
    last = json.loads(service.run("report", "--last", "--json").require(0).out)
    assert last["id"] == again["id"]


def test_a_flipped_byte_is_found_and_the_copy_named(service: CopiedService) -> None:
    service.run("verify", "--from", "primary").require(0)
    body = bytearray(service.chunk.read_bytes())
    body[len(body) // 2] ^= 1
    service.chunk.chmod(0o600)
    service.chunk.write_bytes(body)

    said = service.run("report", "--every-byte").require(60, "offsite: 1 damaged objects")

    assert service.chunk.name in said.out


def test_status_draws_what_can_be_recovered(service: CopiedService, tmp_path: Path) -> None:
    picture = tmp_path / "window.png"

    service.run("status", "--plot", str(picture))

    assert picture.read_bytes().startswith(b"\x89PNG")


def test_there_is_no_last_report_yet(service: CopiedService) -> None:
    service.run("report", "--last").require(2, "there is none")
