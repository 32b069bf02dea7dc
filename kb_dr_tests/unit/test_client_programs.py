"""Which pg_dump dumps a server: its own version's, else the nearest newer one, never an older."""

import shutil
from pathlib import Path

import pytest

from kb_dr.adapters import client_programs
from kb_dr.adapters.client_programs import find_client_programs
from kb_dr.errors import PostgresProgramMissing


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(client_programs, "_DEBIAN_DIRECTORIES", tmp_path / "none")
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "pg_dump" else real(name))


def _installed(directory: Path, version: str) -> Path:
    directory.mkdir()
    program = directory / "pg_dump"
    program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
    program.chmod(0o755)
    return directory


@pytest.mark.parametrize(
    ("server", "chosen"), [(14, "14.20"), (15, "16.15"), (16, "16.15"), (17, "18.1")]
)
def test_the_servers_own_version_or_the_nearest_newer_one(
    tmp_path: Path, server: int, chosen: str
) -> None:
    places = [_installed(tmp_path / each, each) for each in ("18.1", "14.20", "16.15")]

    found = find_client_programs("pg_dump", server, places)

    assert found.version == chosen
    assert found.programs.bin_dir == tmp_path / chosen


def test_a_newer_server_is_refused_with_both_versions(tmp_path: Path) -> None:
    places = [_installed(tmp_path / each, each) for each in ("9.6.24", "16.15")]

    with pytest.raises(PostgresProgramMissing, match=r"9\.6\.24, 16\.15 here, expected 17") as e:
        find_client_programs("pg_dump", 17, places)

    assert "PostgreSQL 17" in e.value.hint


def test_none_at_all_is_said(tmp_path: Path) -> None:
    with pytest.raises(PostgresProgramMissing, match="none here"):
        find_client_programs("pg_dump", 17, [tmp_path])


def test_a_machine_without_a_server_will_do(tmp_path: Path) -> None:
    """Debian's client package holds no `postgres` program."""
    place = _installed(tmp_path / "bin", "17.2")

    assert find_client_programs("pg_dump", 17, [place]).major == 17
