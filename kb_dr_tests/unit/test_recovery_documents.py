"""What a person reads in trouble is what the code says: messages, codes, figures, commands."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr import errors
from kb_dr.settings import load_settings
from kb_dr_tests.bench.recovery_figures import BEGIN, END, put_between_marks
from kb_dr_tests.end_to_end.test_hand_restore import FORMAT
from kb_dr_tests.end_to_end.test_runbook import TYPED
from kb_dr_tests.integration.test_dumps_by_hand import DOCUMENT as DUMPS
from kb_dr_tests.typed_documents import ROOT, Block, blocks

TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
RTO_RPO = ROOT / "docs" / "RTO-RPO.md"
TYPED_DOCUMENTS = [
    path
    for path in sorted((ROOT / "docs").glob("*.md"))
    # What is restored by hand is typed by tests of its own.
    if path not in (FORMAT, DUMPS) and any(block.language == "bash" for block in blocks(path))
]
NOT_HERE = re.compile(
    r"\b(systemctl|docker|kubectl|aws|apt-get|python3 -m venv)\b|^export KB_DR_ENV_FILE=", re.M
)
"""What no test machine has; and the values a person has to fill in."""


# --- commands -----------------------------------------------------------------------------


def _bash() -> list[Block]:
    return [block for path in TYPED_DOCUMENTS for block in blocks(path) if block.language == "bash"]


def test_each_command_line_is_typed_by_a_test_or_shown_because_it_cannot_be() -> None:
    assert {path.name for path in TYPED_DOCUMENTS} >= {
        "DISASTER-RECOVERY-RUNBOOK.md",
        "recovery-procedures.md",
    }
    for block in _bash():
        if block.words == "shown":
            assert NOT_HERE.search(block.text), f"{block.document} only shows:\n{block.text}"
        else:
            scenario = (Path(block.document).name, block.scenario)
            assert scenario in TYPED, f"{block.document}: ```bash {block.words}"


def test_what_is_to_be_typed_is_typed() -> None:
    source = (ROOT / "kb_dr_tests/end_to_end/test_runbook.py").read_text()
    typed = set(re.findall(r'_type\(\s*shell,\s*"(\w+)"', source))

    assert {(Path(b.document).name, b.scenario) for b in _bash() if b.scenario} == set(TYPED)
    assert typed == {scenario for _, scenario in TYPED}


def test_the_names_in_the_lines_are_set_before_they_are_used() -> None:
    """Each name in capitals is exported on the first page, set by a line, or explained."""
    [first, *_] = [b for b in blocks(ROOT / "docs/DISASTER-RECOVERY-RUNBOOK.md") if b.language]
    given = set(re.findall(r"^export ([A-Z_]+)=", first.text, re.MULTILINE)) | {"HOME"}
    for path in TYPED_DOCUMENTS:
        page = path.read_text()
        made = set(re.findall(r"^([A-Z_]+)=", page, re.MULTILINE))
        explained = set(re.findall(r"`([A-Z_]+)`", page))
        for block in blocks(path):
            used = set(re.findall(r"\$\{?([A-Z][A-Z_]+)", block.text))
            unknown = used - given - made - explained
            assert block.language != "bash" or block.words == "shown" or not unknown, unknown


@pytest.mark.parametrize("page", TYPED_DOCUMENTS, ids=lambda path: path.name)
def test_every_place_in_a_page_that_is_linked_to_is_there(page: Path) -> None:
    for path, anchor in re.findall(r"\]\(([^)#\s]*)#([^)\s]+)\)", page.read_text()):
        if "://" in path:
            continue
        target = (page.parent / path) if path else page
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        assert anchor in {_anchor(each) for each in headings}, f"{path}#{anchor}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


# --- refusals -----------------------------------------------------------------------------


def _messages() -> Iterator[tuple[str, str]]:
    """Each first argument of a call in the product, by what is called; … for what differs."""
    for path in (ROOT / "kb_dr").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Name):
                yield node.func.id, _text(node.args[0])
            elif isinstance(node, ast.JoinedStr):
                yield "", _text(node)


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_text(value) for value in values)
        case ast.BinOp(left=left, right=right):
            return _text(left) + _text(right)
        case ast.FormattedValue():
            return "…"
    return ""


def test_each_refusal_in_the_table_is_what_the_code_says_with_that_code() -> None:
    said = list(_messages())
    section = TROUBLESHOOTING.read_text().split("## A restore was refused")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| `([^`]+)` \|", section, re.MULTILINE)
    assert len(rows) >= 25
    for code, words in rows:
        raisers = {name for name, text in said if words in text}
        assert raisers, f"nothing says: {words}"
        codes = {_code(name) for name in raisers} - {None}
        assert not codes or int(code) in codes, f"{words}: {code}, but it is {codes}"


def _code(name: str) -> int | None:
    if name == "ValueError":
        return errors.ConfigurationError.exit_code  # as the command line says it
    kind = getattr(errors, name, None)
    return kind.exit_code if isinstance(kind, type) and issubclass(kind, errors.KbDrError) else None


REFUSALS = (
    "TargetUnreachable", "TimelineForked", "NoUsableBackup", "TargetIsProduction",
    "DataDirectoryInUse", "NotEnoughSpace",
)  # fmt: skip


def test_every_way_to_refuse_a_target_is_in_the_table() -> None:
    section = TROUBLESHOOTING.read_text().split("## A restore was refused")[1].split("\n## ")[0]
    words = re.findall(r"^\| \d+ \| `([^`]+)` \|", section, re.MULTILINE)
    for name in (
        "resolve_target",
        "refuse_target",
        "plan_point_recovery",
        "check_target",
    ):
        source = ROOT / "kb_dr" / "operations" / f"{name}.py"
        for node in ast.walk(ast.parse(source.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
                continue
            if node.func.id in REFUSALS:
                text = _text(node.args[0])
                assert any(each in text for each in words) or "there is no backup in" in text, text


# --- figures ------------------------------------------------------------------------------


def test_the_objectives_on_the_page_are_the_defaults_of_the_settings() -> None:
    page = RTO_RPO.read_text()
    objectives = load_settings({}).objectives
    told = dict(re.findall(r"^\| `(KB_DR_\w+)` \| (\d+) ", page, re.MULTILINE))

    assert {name: float(text) for name, text in told.items()} == {
        "KB_DR_RPO_SECONDS": objectives.rpo_seconds,
        "KB_DR_RTO_SECONDS": objectives.rto_seconds,
        "KB_DR_BACKUP_AGE_HOURS": objectives.backup_age_seconds / 3600,
        "KB_DR_PROOF_AGE_HOURS": objectives.proof_age_seconds / 3600,
    }


def test_the_measured_figures_are_there_against_these_objectives() -> None:
    page = RTO_RPO.read_text()
    measured = page.split(BEGIN)[1].split(END)[0]
    objectives = load_settings({}).objectives

    assert put_between_marks(page, measured) == page
    end = r" \| .* \| (\d+) \| [\d.]+ \|$"
    rto = re.findall(r"^\| \w+ \| (?:a time|the end)" + end, measured, re.MULTILINE)
    rpo = re.findall(r"^\| (?:archived|streamed)[^|]*" + end, measured, re.MULTILINE)
    assert rto == [f"{objectives.rto_seconds:.0f}"] * 4, "two copies, two kinds of target"
    assert rpo == [f"{objectives.rpo_seconds:.0f}"] * 4, "two copies, archived and streamed"
