"""What docs/logical-dumps.md says of errors and versions is what the code does."""

import re
from pathlib import Path

from kb_dr.domain.expected_errors import EXPECTED_ERRORS
from kb_dr.errors import PostgresProgramMissing, TargetLacks

TEXT = (Path(__file__).parents[2] / "docs" / "logical-dumps.md").read_text()


def test_every_expected_error_is_listed_with_its_reason_and_no_other() -> None:
    rows = re.findall(r"^\| `.+` \| `.+` \| (.+) \|$", _part("### Errors that are expected"), re.M)

    assert rows == [each.reason for each in EXPECTED_ERRORS]


def test_a_dump_goes_into_its_own_major_version_and_newer_ones() -> None:
    lines = re.findall(r"^\| (1\d) \| (.*) \|$", _part("## Versions"), re.MULTILINE)

    said = {(int(source), 14 + place): word for source, words in lines
            for place, word in enumerate(words.split(" | "))}  # fmt: skip
    assert said == {
        (source, target): "yes" if target >= source else "refused"
        for source in range(14, 19)
        for target in range(14, 19)
    }


def test_what_is_refused_has_the_exit_code_that_is_said() -> None:
    codes = re.findall(r"^\| .* \| (\d+) \| .* \|$", _part("## Versions"), re.MULTILINE)

    expected = (PostgresProgramMissing, TargetLacks, TargetLacks)
    assert codes == [str(each.exit_code) for each in expected]


def _part(heading: str) -> str:
    return re.split(r"^#+ ", TEXT.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
