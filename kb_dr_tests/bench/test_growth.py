"""The growth of a thing is measured at each size, and said in proportion; no time is asserted."""

import json
from pathlib import Path

import pytest

from kb_dr_tests.bench.contest import Growth, Standing, Work
from kb_dr_tests.bench.growth import growth_of, measure_verbs, run_verb, table, verbs_growth
from kb_dr_tests.bench.growth_world import World

VERBS = ("restore --dry-run", "catalog sync, nothing new", "wal audit")


def standing(contestant: str, plain_bytes: int, *, segments: int | None = None) -> Standing:
    return Standing(
        Work.BACKUP, contestant, "S3", plain_bytes, 3, plain_bytes / 100, (1.0, 2.0), 1.0,
        peak_bytes=7, stored_bytes=None, requests=None, segments=segments,
    )  # fmt: skip


def test_our_own_work_at_several_sizes_is_growth() -> None:
    found = growth_of(
        [
            standing("kb_dr", 2000),
            standing("kb_dr", 200),
            standing("pgbackrest", 200),
            standing("kb_dr", 200, segments=9),
        ]
    )

    assert found == (Growth("full backup, S3", "bytes", ((200, 2.0, 7), (2000, 20.0, 7))),)
    assert growth_of([standing("kb_dr", 200)]) == ()
    assert "time x10.0, memory x1.0 for size x10.0" in table(found)


def test_each_verb_is_measured_at_each_size_and_lists_no_more_often(tmp_path: Path) -> None:
    said: list[str] = []
    measured = measure_verbs((5, 20), tmp_path, said.append, VERBS)

    for growth, points in zip(verbs_growth(measured), measured.values(), strict=True):
        assert growth.unit == "backups"
        assert [size for size, _, _ in growth.points] == [5, 20]
        assert all(peak > 0 for _, _, peak in growth.points)
        small, large = (grown for _, grown in points)
        assert small.calls["list"] == large.calls["list"] > 0, growth.what
    assert len(said) == 2 * len(VERBS)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
    json.dumps([grown.calls for points in measured.values() for _, grown in points])


def test_a_verb_that_breaks_says_why(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="unheard of ended with 1"):
        run_verb("unheard of", World(str(tmp_path)))
