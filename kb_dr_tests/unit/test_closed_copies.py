"""A copy that cannot be opened costs one try, and hides nothing the other one knows."""

from pathlib import Path

import pytest

from kb_dr.domain.proof import Standing, Verdict
from kb_dr.errors import (
    BucketMissing,
    RepositoryError,
    RepositoryRefused,
    RepositoryUnavailable,
    UnreadableRecord,
)
from kb_dr.ports import Repository
from kb_dr_tests.made_installation import MadeInstallation


class Lost(MadeInstallation):
    """Its primary repository is gone; each try to open it is counted."""

    tries = 0
    how: RepositoryError = RepositoryUnavailable("open: no answer")

    def checked(self, copy: str) -> Repository:
        if copy == "primary":
            self.tries += 1
            raise self.how
        return super().checked(copy)


@pytest.mark.parametrize(
    "how",
    [
        RepositoryUnavailable("open: no answer"),
        RepositoryRefused("open: forbidden"),
        BucketMissing("open: no bucket"),
    ],
)
def test_the_list_of_the_other_copy_asks_a_lost_region_once(
    tmp_path: Path, how: RepositoryError
) -> None:
    lost = Lost(tmp_path)
    lost.how = how
    for days in range(5):
        stored = lost.has_backup(days=days)
        lost.has_offsite_copy(stored)
        lost.has_proof(stored, Verdict.PROVEN)

    rows = lost.overview("offsite")

    assert [row.standings for row in rows] == [{"offsite": Standing.PROVEN}] * 5
    assert lost.tries == 1
    assert lost.drills() == ()
    assert lost.tries == 1


def test_a_record_nobody_can_read_is_not_passed_over(tmp_path: Path) -> None:
    installation = MadeInstallation(tmp_path)
    stored = installation.has_backup()
    installation.has_offsite_copy(stored)
    backup = stored.manifest.backup_id
    installation.offsite.put(f"proofs/{backup}/offsite/20261120-090000-ab.json", b"{}")

    with pytest.raises(UnreadableRecord):
        installation.proofs(backup)


def test_when_no_copy_can_be_opened_that_is_said(tmp_path: Path) -> None:
    lost = Lost(tmp_path, offsite=False)

    with pytest.raises(RepositoryUnavailable):
        lost.drills()


def test_the_whole_status_asks_a_lost_region_once(tmp_path: Path) -> None:
    lost = Lost(tmp_path)
    stored = lost.has_backup()
    lost.has_offsite_copy(stored)
    lost.memory["primary"].failures[""] = RepositoryUnavailable("list: no answer")

    status = lost.status()

    assert lost.tries == 1
    assert not status.holds
    [primary, offsite] = status.copies
    assert "no answer" in primary.problem
    assert [each.id for each in offsite.backups] == [stored.manifest.id]
