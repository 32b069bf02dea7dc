"""Chains of real increments, taken under load: restored whole and proven, or refused with a reason."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.proof import Outcome, Verdict
from kb_dr.domain.recovery_target import AtTime, Latest
from kb_dr.operations.plan_target import Wanted
from kb_dr_tests.chained_service import INCREMENTS, ChainedService
from kb_dr_tests.postgres_servers import RunningCluster

Chained = Callable[[int], ChainedService]


@pytest.fixture(params=[16, 17, 18])
def chained(request: pytest.FixtureRequest, chained_of: Chained) -> ChainedService:
    return chained_of(request.param)


def test_the_newest_of_a_chain_restores_to_the_last_archived_row(chained: ChainedService) -> None:
    service = chained.service
    native = service.programs.major >= 17
    assert [each.manifest.kind for each in chained.chain] == [
        BackupKind.FULL,
        *[BackupKind.INCR] * INCREMENTS,
    ]
    assert all(each.manifest.has_files is native for each in chained.chain[1:])

    restored, place = service.restore(Wanted())

    plan = restored.plan.recovery
    assert plan.stored == chained.newest
    assert len(plan.fetched) == (INCREMENTS + 1 if native else 1)
    with service_of(chained, place) as cluster:
        rows = {row[0] for row in cluster.query("select id from ledger where entry = 'load'")}
        assert rows == {each.id for each in chained.everything}
        assert cluster.query("select 1 from ledger where entry = 'never archived'") == []
    shutil.rmtree(place)


def service_of(chained: ChainedService, place: Path) -> RunningCluster:
    return RunningCluster(chained.service.programs, place)
