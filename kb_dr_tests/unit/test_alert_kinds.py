"""Every alert is described, in the code and in docs/monitoring.md alike."""

import re
from pathlib import Path

from kb_dr.definitions import defs
from kb_dr.domain.alert_kinds import CHECKS, EVENTS, KINDS
from kb_dr.domain.severity import Severity
from kb_dr.domain.watch_checks import HOURLY_CHECKS, MINUTE_CHECKS

DOCUMENT = Path(__file__).parents[2] / "docs" / "monitoring.md"


def _sections() -> dict[str, str]:
    alerts = DOCUMENT.read_text().split("\n## Alerts\n", 1)[1].split("\n## ", 1)[0]
    parts = re.split(r"^### (\w+)\n", alerts, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_each_kind_has_a_section_and_each_section_a_kind() -> None:
    assert list(_sections()) == list(KINDS)


def test_each_section_says_how_bad_it_is_what_it_means_and_what_to_do_first() -> None:
    words = {name: " ".join(text.split()) for name, text in _sections().items()}

    wrong = [
        name
        for name, kind in KINDS.items()
        if not words[name].lower().startswith(str(kind.severity))
        or kind.means not in words[name]
        or kind.first_move not in words[name]
    ]

    assert wrong == []


def test_each_check_on_the_pages_has_a_kind() -> None:
    on_the_pages = {key.name for key in defs.resolve_asset_graph().asset_check_keys}

    assert on_the_pages <= set(CHECKS)


def test_each_check_of_the_watch_has_a_kind() -> None:
    assert {*MINUTE_CHECKS, *HOURLY_CHECKS} <= set(CHECKS)


def test_whoever_is_woken_is_told_what_it_means_and_what_to_do() -> None:
    silent = [
        kind.name
        for kind in KINDS.values()
        if kind.severity is not Severity.INFO and not (kind.means and kind.first_move)
    ]

    assert silent == []
    assert not set(CHECKS) & set(EVENTS)
