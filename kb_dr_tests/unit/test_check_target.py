"""What must not be restored into is refused before anything is written."""

import struct
from pathlib import Path

import pytest

from kb_dr.errors import (
    DataDirectoryInUse,
    DataDirectoryNotEmpty,
    RecoveryError,
    TargetIsProduction,
)
from kb_dr.operations.check_target import check_target

SYSTEM = 7_300_000_000_000_000_001


def _cluster(directory: Path, system: int) -> Path:
    (directory / "global").mkdir(parents=True)
    (directory / "global" / "pg_control").write_bytes(struct.pack("=Q", system) + bytes(100))
    return directory


def _check(target: Path, production: Path | None = None) -> None:
    check_target(target, system_identifier=SYSTEM, production=production)


def test_a_new_and_an_empty_directory_are_fine(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    _check(tmp_path / "empty")
    _check(tmp_path / "new" / "below")


def test_a_directory_that_holds_anything_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data" / "lost+found").mkdir(parents=True)

    with pytest.raises(DataDirectoryNotEmpty):
        _check(tmp_path / "data")


def test_a_place_inside_any_cluster_is_refused(tmp_path: Path) -> None:
    cluster = _cluster(tmp_path / "other", SYSTEM + 1)

    with pytest.raises(DataDirectoryInUse):
        _check(cluster / "base" / "restored")


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")

    with pytest.raises(DataDirectoryNotEmpty):
        _check(tmp_path / "data")


def test_a_directory_with_a_server_is_refused(tmp_path: Path) -> None:
    data = _cluster(tmp_path / "data", SYSTEM + 1)
    (data / "postmaster.pid").write_text("1\n")

    with pytest.raises(DataDirectoryInUse):
        _check(data)


def test_the_cluster_the_backup_is_of_is_told_by_its_identifier(tmp_path: Path) -> None:
    data = _cluster(tmp_path / "data", SYSTEM)
    (data / "postmaster.pid").write_text("1\n")

    with pytest.raises(TargetIsProduction):
        _check(data)


@pytest.mark.parametrize("target", ["data", "data/below", ".", "link"])
def test_the_configured_data_directory_is_refused_even_when_it_is_gone(
    tmp_path: Path, target: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "data")

    with pytest.raises(TargetIsProduction):
        _check(tmp_path / target, production=tmp_path / "data")


def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(RecoveryError, match="symbolic link"):
        _check(tmp_path / "data")
