"""Configuration files land below their directory, as plain files, for the owner alone."""

import io
import tarfile
from pathlib import Path

import pytest

from kb_dr.errors import UnreadableRecord
from kb_dr.operations.lay_configuration import lay_configuration


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_files_keep_their_place_and_are_private(tmp_path: Path) -> None:
    lay_configuration(
        _tar((tarfile.TarInfo("etc/postgresql/16/main/pg_hba.conf"), b"local all all peer\n")),
        tmp_path / "laid",
    )

    laid = tmp_path / "laid" / "etc" / "postgresql" / "16" / "main" / "pg_hba.conf"
    assert laid.read_bytes() == b"local all all peer\n"
    assert laid.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["../outside", "/outside", "etc/../../outside"])
def test_nothing_is_laid_outside(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableRecord):
        lay_configuration(_tar((tarfile.TarInfo(name), b"x")), tmp_path / "laid")

    assert not (tmp_path / "outside").exists()


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("etc/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"

    with pytest.raises(UnreadableRecord):
        lay_configuration(_tar((link, b"")), tmp_path / "laid")
