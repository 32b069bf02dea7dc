"""A restored cluster's links lead into itself, or it is not started and not put in place."""

from pathlib import Path

import pytest

from kb_dr.adapters.scratch_space import LocalScratchSpace
from kb_dr.adapters.tablespace_links import require_own_tablespaces, settle_links
from kb_dr.domain.recovery import WorkArea
from kb_dr.errors import RecoveryError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """As the tar unpacks: two tablespaces, with relative links."""
    data = tmp_path / "data"
    (data / "pg_tblspc").mkdir(parents=True)
    for oid in ("16384", "16385"):
        (data / "kb_dr_tablespaces" / oid).mkdir(parents=True)
        (data / "kb_dr_tablespaces" / oid / "file").write_text(oid)
        (data / "pg_tblspc" / oid).symlink_to(f"../kb_dr_tablespaces/{oid}")
    return data


def test_links_into_itself_are_accepted_and_become_absolute(data: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    require_own_tablespaces(data)

    settle_links(data, target)
    data.rename(target)

    for oid in ("16384", "16385"):
        link = target / "pg_tblspc" / oid
        assert link.readlink() == target / "kb_dr_tablespaces" / oid
        assert (link / "file").read_text() == oid
    assert len(list((target / "pg_tblspc").iterdir())) == 2


@pytest.mark.parametrize("to", ["/live/space", "../kb_dr_tablespaces/16385", "../../elsewhere"])
def test_a_link_that_leads_elsewhere_is_refused(data: Path, to: str) -> None:
    link = data / "pg_tblspc" / "16384"
    link.unlink()
    link.symlink_to(to)

    with pytest.raises(RecoveryError, match="tablespace 16384 leads to"):
        require_own_tablespaces(data)
    with pytest.raises(RecoveryError, match="tablespace 16384 leads to"):
        settle_links(data, data)


def test_a_map_of_the_sources_paths_is_refused(data: Path) -> None:
    (data / "tablespace_map").write_text("16384 /live/space\n")

    with pytest.raises(RecoveryError, match="tablespace_map"):
        require_own_tablespaces(data)


def test_a_tablespace_that_is_no_link_is_refused(data: Path) -> None:
    (data / "pg_tblspc" / "16390").mkdir()

    with pytest.raises(RecoveryError, match="16390 is no link"):
        require_own_tablespaces(data)


def test_a_cluster_without_tablespaces_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pg_tblspc").mkdir()
    (tmp_path / "tablespace_map").touch()

    require_own_tablespaces(tmp_path)
    settle_links(tmp_path, tmp_path)


def test_links_name_the_place_a_cluster_is_going_to_have(data: Path, tmp_path: Path) -> None:
    area, now = WorkArea(data.parent, tmp_path / "sockets"), tmp_path / "data.restored"

    LocalScratchSpace(tmp_path).put_in_place(area, now, known_as=tmp_path / "final")

    link = now / "pg_tblspc" / "16384"
    assert link.readlink() == tmp_path / "final" / "kb_dr_tablespaces" / "16384"
