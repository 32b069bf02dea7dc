"""Exit codes are an interface: distinct, and documented exactly."""

import re
from pathlib import Path

from kb_dr import errors
from kb_dr.errors import KbDrError

ROOT = Path(__file__).parents[2]


def _every_error() -> dict[str, int]:
    return {
        name: kind.exit_code
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, KbDrError)
    }


def test_each_error_has_an_exit_code_of_its_own() -> None:
    codes = list(_every_error().values())

    assert len(set(codes)) == len(codes)
    assert all(0 < code < 126 for code in codes), "126 and above mean something to PostgreSQL"


def test_each_error_says_what_to_do_next() -> None:
    silent = [name for name in _every_error() if not getattr(errors, name)("failed").hint]

    assert silent == ["KbDrError"], "the one without a subject of its own"


def test_the_document_lists_exactly_these_codes() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", text, re.MULTILINE)

    assert {name: int(code) for code, name in rows} == _every_error()


def test_only_what_may_pass_by_itself_is_retried() -> None:
    retryable = {name for name in _every_error() if getattr(errors, name).retryable}

    assert retryable == {
        "RepositoryUnavailable",
        "PostgresUnavailable",
        "SourceLockLost",
        "CatalogUnavailable",
        "ChannelUnavailable",
        "CloudWatchUnavailable",
        "OutboxUnavailable",
    }
