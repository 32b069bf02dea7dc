"""A second installation in one repository is refused; an upgraded cluster is not."""

from datetime import timedelta

import pytest

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import WrongRepository
from kb_dr.operations.refuse_newcomer import refuse_newcomer
from kb_dr_tests.made_history import History

A, B, C = 7, 8, 9


def _try(taken: list[int], now: int) -> None:
    """A backup of each of these clusters, an hour apart, and then one of ``now``."""
    history = History.begin()
    for system in taken:
        history.system = system
        history.back_up()
        history.clock.pass_time(timedelta(hours=1))
    backup = BackupId.of("kb", BackupKind.FULL, history.clock.now())
    refuse_newcomer(history.repository, backup, now)


@pytest.mark.parametrize(
    "taken", [[A, B, A, B, A], [A, A, B, B, A, B, A, A], [C, A, B, C, A, B, A]]
)
def test_a_cluster_that_came_between_another_s_backups_is_refused(taken: list[int]) -> None:
    with pytest.raises(WrongRepository, match=f"cluster {A}, which was backed up before"):
        _try(taken, B)


@pytest.mark.parametrize(
    ("taken", "now"),
    [
        pytest.param([], A, id="the first backup"),
        pytest.param([A, A], A, id="as every day"),
        pytest.param([A, A], B, id="the first after an upgrade"),
        pytest.param([A, B, B], B, id="the next after an upgrade"),
        pytest.param([A, B], A, id="an upgrade taken back"),
        pytest.param([A, B, A], A, id="the next after that"),
        pytest.param([A, B, A], C, id="upgraded again"),
        pytest.param([A, B, B, A], B, id="the old server started once more"),
        pytest.param([A, B, A, B, A, B], A, id="the first installation, beside a second one"),
    ],
)
def test_whoever_is_no_newcomer_is_backed_up(taken: list[int], now: int) -> None:
    _try(taken, now)
