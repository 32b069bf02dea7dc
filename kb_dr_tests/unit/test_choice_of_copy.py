"""Another copy is read when one cannot serve the target, never when it refuses to guess."""

from pathlib import Path

import pytest

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.recovery_target import AtLsn
from kb_dr.errors import (
    KbDrError,
    RepositoryUnavailable,
    TargetUnreachable,
    TimelineForked,
    WalDamaged,
)
from kb_dr.operations import plan_target as plans
from kb_dr.operations.plan_target import Planned, Wanted
from kb_dr.ports import Repository
from kb_dr_tests.made_installation import MadeInstallation

TARGET = AtLsn(Lsn(1))


class _Served(Exception):
    """Who served it."""


def _primary_raises(monkeypatch: pytest.MonkeyPatch, error: KbDrError) -> None:
    def plan(repository: Repository, *_: object) -> Planned:
        if repository.name == "primary":
            raise error
        raise _Served(repository.name)

    monkeypatch.setattr(plans, "plan_target", plan)


@pytest.mark.parametrize(
    "error",
    [
        RepositoryUnavailable("no answer"),
        WalDamaged("a segment is damaged"),
        TargetUnreachable("behind the newest archived commit"),
    ],
)
def test_the_next_copy_is_asked_when_this_one_cannot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: KbDrError
) -> None:
    _primary_raises(monkeypatch, error)

    with pytest.raises(_Served, match="offsite"):
        MadeInstallation(tmp_path).plan_recovery(Wanted(TARGET), None)


def test_a_copy_that_lags_behind_does_not_answer_what_the_other_refuses_to_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _primary_raises(monkeypatch, TimelineForked("another state on each of timelines 1 and 2"))
    installation = MadeInstallation(tmp_path)

    with pytest.raises(TimelineForked, match="another state on each"):
        installation.plan_recovery(Wanted(TARGET), None)
    with pytest.raises(_Served, match="offsite"):
        installation.plan_recovery(Wanted(TARGET, timeline=2), None)
