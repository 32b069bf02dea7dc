"""Objects a manifest records are copied between stores of any two kinds."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr.adapters.digests import described
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.errors import ChecksumMismatch
from kb_dr.operations.copy_object import copy_recorded, put_recorded
from kb_dr.ports import Repository
from kb_dr_tests.fakes import MemoryRepository

KEY = "full/20261120-020000/0000/base.tar.zst.age.00000"
BODY = b"a chunk"


@pytest.mark.parametrize("with_md5", [True, False])
@pytest.mark.parametrize("kind", ["memory", "directory"])
def test_an_object_is_copied_whether_its_md5_was_recorded_or_not(
    kind: str, tmp_path: Path, *, with_md5: bool
) -> None:
    """A store of the other kind recorded it, or an older version did."""
    source = MemoryRepository("primary")
    source.put(KEY, BODY)
    target: Repository = MemoryRepository("offsite")
    if kind == "directory":
        (tmp_path / "offsite").mkdir()
        target = DirectoryRepository(tmp_path / "offsite", "offsite")
    md5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest() if with_md5 else ""
    stored = replace(described(KEY, BODY), md5=md5)

    copy_recorded(source, target, stored)
    assert target.get(stored) == BODY
    assert not copy_recorded(source, target, stored), "it stands there"


def test_other_bytes_than_recorded_are_told() -> None:
    with pytest.raises(ChecksumMismatch, match="stored as"):
        put_recorded(MemoryRepository(), described(KEY, BODY), b"A chunk")
