"""The bench's own arithmetic, and that it runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr_tests.bench import wal_calls
from kb_dr_tests.bench.__main__ import QUICK, UNFINISHED, measure
from kb_dr_tests.bench.contest import US, Work
from kb_dr_tests.bench.dumps import GZIP, OURS, ZSTD
from kb_dr_tests.bench.kept import load
from kb_dr_tests.bench.results import (
    Cost,
    Findings,
    Load,
    Memory,
    Transfer,
    floor_seconds,
    median_cost,
)


def transfer(*, pipeline: float, **stages: Cost) -> Transfer:
    return Transfer(
        "backup", "S3", 1 << 30, 1 << 29, stages, pipeline, Cost(12.0, 9.0), {}, cores=2, rounds=1
    )


def test_the_floor_is_the_slowest_stage_when_the_cores_are_idle() -> None:
    measured = transfer(pipeline=5.0, upload=Cost(4.0, 1.0), encrypt=Cost(1.0, 1.0))

    assert measured.floor_seconds == 4.0
    assert measured.slowest == measured.binding == "upload"
    assert measured.ratio == pytest.approx(1.25)
    assert measured.command_ratio == pytest.approx(3.0)


def test_the_floor_is_the_work_over_the_cores_when_they_are_busy() -> None:
    stages = {"compress": Cost(3.0, 6.0), "encrypt": Cost(3.0, 3.0)}

    assert floor_seconds(stages, cores=2) == pytest.approx(4.5)
    assert floor_seconds(stages, cores=16) == pytest.approx(3.0)
    assert transfer(pipeline=9.0, **stages).binding == "all cores"
    assert transfer(pipeline=9.0, **stages).ratio == pytest.approx(2.0)
    assert transfer(pipeline=9.0, **stages).work_ratio == pytest.approx(1.0)


def test_the_median_is_taken_of_each_measure_by_itself() -> None:
    costs = [Cost(1.0, 9.0), Cost(2.0, 8.0), Cost(30.0, 7.0)]

    assert median_cost(costs) == Cost(2.0, 8.0)


def test_memory_and_loads_are_told_as_ratios() -> None:
    assert Memory("verify", "S3", 1, 200 << 20).ratio == pytest.approx(0.5)
    assert Load(2, 1, Cost(4.0, 3.0), Cost(3.0, 4.0), rounds=1).ratio == pytest.approx(0.75)


def test_the_bench_runs_and_keeps_every_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The contest of WAL, growth and what idles have tests of their own.
    monkeypatch.setattr(wal_calls, "CALLS", 2)
    asked = replace(QUICK, sizes_mib=(10,), stores=("directory",), seed_entries=500, dump_mib=4)

    run = measure(asked, only=("calls", "dumps", "limits", "contest"), out=tmp_path)

    found = run.findings
    assert list(run.parts) == [
        *("calls", "dumps", "limits, 10 MiB, directory", "contest, 10 MiB, directory")
    ]  # fmt: skip
    assert [each.direction for each in found.transfers] == ["backup", "restore"]
    for each in found.transfers:
        assert each.ratio > 0
        assert all(cost.seconds > 0 for cost in each.stages.values())
    assert [each.command for each in found.memory] == ["backup full", "restore", "verify"]
    assert all(each.peak_bytes > 10 << 20 for each in found.memory)
    assert all(0 <= each.import_share < 1 for each in found.calls)
    assert [each.verb for each in found.calls] == ["wal push", "wal fetch"]
    assert [each.how for each in found.archives] == [GZIP, ZSTD, OURS]
    assert all(each.stored_bytes > 100_000 for each in found.archives)
    assert [each.jobs for each in found.loads] == [2]
    _require_everybody(found)
    assert load(tmp_path / UNFINISHED) == run


def _require_everybody(found: Findings) -> None:
    """Each contestant did each work, and is described."""
    names = {each.name for each in found.facts}
    assert names == {US, "pgBackRest", "plain pipes"}
    works = (Work.BACKUP, Work.RESTORE, Work.CHECK, Work.PROOF)
    assert [(each.contestant, each.work) for each in found.tries] == [
        (each.name, work) for each in found.facts for work in works
    ]
    for each in found.tries:
        assert each.seconds > 0
        assert each.cpu_seconds > 0
        assert each.peak_bytes > 1 << 20
        assert (each.stored_bytes or 0) > 1 << 20 or each.work is not Work.BACKUP
    assert all(each.version and each.uneven for each in found.facts)
