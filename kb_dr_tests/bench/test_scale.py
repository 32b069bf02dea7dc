"""Calls are linear in pages, and those of a status do not grow; no time is asserted."""

from pathlib import Path

import pytest

from kb_dr_tests.bench.made_history import make_in_directory
from kb_dr_tests.bench.scale import measure, run_verb
from kb_dr_tests.bench.scale_page import Size, page
from kb_dr_tests.bench.scale_verbs import VERBS, Measured, Place
from kb_dr_tests.bench.scale_verbs import measure as measure_here
from kb_dr_tests.counting_repository import PAGE

SMALL, LARGE = Size(200, 4_000), Size(800, 16_000)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[Size, str], Measured]:
    """Every verb on a small repository, and on one four times as large."""
    found = {}
    for size in (SMALL, LARGE):
        root = tmp_path_factory.mktemp("scale") / "repository"
        make_in_directory(root, size.backups, size.segments)
        for verb in VERBS:
            found[size, verb] = measure_here(verb, Place(directory=str(root)))
    return found


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_each_verb_lists_what_it_needs_once(
    measured: dict[tuple[Size, str], Measured], size: Size
) -> None:
    pages = {verb: measured[size, verb].calls["pages"] for verb in VERBS}
    keys = 3 * size.backups + size.segments + size.backups // 24 + 10

    assert pages["list"] <= keys // PAGE + 1
    assert pages["catalog"] <= 3 * size.backups // PAGE + 2
    assert pages["audit"] <= size.segments // PAGE + 1
    assert pages["status, everything"] <= keys // PAGE + 20
    assert measured[size, "catalog"].calls["read"] == size.backups
    assert measured[size, "status, everything"].calls["read"] <= size.backups * 25 // 24 + 20


def test_a_status_asks_for_no_more_of_a_larger_repository(
    measured: dict[tuple[Size, str], Measured],
) -> None:
    small, large = measured[SMALL, "status"], measured[LARGE, "status"]

    assert large.said == small.said
    assert "all objectives hold" in large.said
    assert large.calls == small.calls


def test_a_verb_runs_in_a_process_of_its_own_and_the_page_is_written(tmp_path: Path) -> None:
    (scaled,) = measure(Size(50, 500), None, tmp_path, lambda _: None)

    assert [each.verb for each in scaled.verbs][1:] == list(VERBS)
    assert all(each.peak_bytes >= each.idle_bytes > 0 for each in scaled.verbs)
    text = page((scaled,), load_before=0.0)
    assert "50 backups, 500 WAL segments" in text
    assert text.index("time / raw listing") < text.index("peak MiB")
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_verb_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="list ended with 1"):
        run_verb("list", Place(directory=str(tmp_path / "none")))
