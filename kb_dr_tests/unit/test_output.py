"""What people wrote is printed as they wrote it: a reason is no markup, and breaks no table."""

import pytest

from kb_dr.cli.output import print_table


def test_brackets_and_colons_of_a_reason_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    reasons = ("[ticket 7] legal case", "closed [/7]", "[red]alert", "on fire :fire:")

    print_table(
        "Backups in [local]", ("id", "held [x]"), enumerate(reasons), caption="as of [/then]"
    )

    printed = capsys.readouterr().out
    assert [reason for reason in reasons if reason not in printed] == []
    assert "Backups in [local]" in printed
    assert "held [x]" in printed
    assert "as of [/then]" in printed
