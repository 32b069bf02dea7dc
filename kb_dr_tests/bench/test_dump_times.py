"""The table of a document: what is put between its marks, and that the measuring works."""

import pytest

from kb_dr_tests.bench.dump_times import BEGIN, END, Times, between_marks, measure_times, table

MEASURED = Times(1000, 5 << 20, 2 << 20, 1.25, 2.5, 3.75)


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"

    assert between_marks(document, "new") == f"before\n{BEGIN}\nnew\n{END}\nafter\n"


def test_a_document_without_marks_is_left_alone() -> None:
    with pytest.raises(ValueError, match="times: begin"):
        between_marks("nothing", "new")


def test_a_busy_machine_is_said() -> None:
    assert "while others worked" in table([MEASURED], load_before=2.0)
    assert "while others worked" not in table([MEASURED], load_before=0.1)
    assert "| 1,000 | 5 MiB | 2.0 MiB | 1.2 s | 2.5 s | 3.8 s |" in table(
        [MEASURED], load_before=0.1
    )


def test_the_measuring_dumps_proves_and_restores() -> None:
    found = measure_times(50, lambda _: None)

    assert found.entries == 50
    assert min(found.dump_seconds, found.proof_seconds, found.restore_seconds) > 0
    assert found.stored_bytes > 1000
