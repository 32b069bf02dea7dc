"""The tables of docs/RTO-RPO.md: what is in them, and what of the page they leave alone."""

import pytest

from kb_dr_tests.bench.recovery_figures import (
    BEGIN,
    END,
    DrillFigures,
    Figures,
    LossFigures,
    RestoreFigures,
    markdown,
    put_between_marks,
)


def made() -> Figures:
    return Figures(
        cores=2,
        memory_bytes=8 << 30,
        load_before=0.1,
        tools={"kb-dr": "0.1.0", "postgres": "16.1"},
        entries=20_000,
        database_bytes=100 << 20,
        stored_bytes=40 << 20,
        rto_objective_seconds=100.0,
        rpo_objective_seconds=50.0,
        drills=(
            DrillFigures("offsite", "a time", 10.0, {"replay": 1.0}),
            DrillFigures("offsite", "a time", 30.0, {"replay": 2.0, "checks": 4.0}),
            DrillFigures("offsite", "a time", 20.0, {"replay": 6.0}),
        ),
        restores=(RestoreFigures("primary", 8.0, {"replay": 5.0}),),
        losses=(LossFigures("streamed", "primary", 1.25, 20, 500),),
    )


def test_least_median_and_ratio_are_those_of_the_drills() -> None:
    page = markdown(made())

    assert "| offsite | a time | 3 | 10.0 | 20.0 | 100 | 0.2000 |" in page
    assert "| replay | 1.00 / 2.00 |" in page
    assert "| checks | 4.00 / 4.00 |" in page
    assert "| streamed | primary | 1.2 | 20 | 500 | 50 | 0.0250 |" in page
    assert "| *all / allowed* | 0.0800 |" in page
    assert "not quiet" not in page


def test_only_what_stands_between_the_marks_is_written_anew() -> None:
    page = f"by hand\n{BEGIN}\nold\n{END}\nby hand, too\n"

    assert put_between_marks(page, "new\n") == f"by hand\n{BEGIN}\nnew\n{END}\nby hand, too\n"


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}\n{BEGIN}"])
def test_a_page_without_the_marks_is_not_written(page: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        put_between_marks(page, "new")
