"""What a verb loads before it begins: no more than it takes to read its words and settings."""

import json
import subprocess
import sys

import pytest

from kb_dr.cli.backup_dump import FORMATS
from kb_dr.domain.dump import DumpFormat

LIBRARIES = {
    "alembic", "asyncio", "boto3", "botocore", "dagster", "matplotlib", "obstore", "pandas",
    "psutil", "psycopg", "pyrage", "rich", "sqlalchemy", "zstandard",
}  # fmt: skip

OF_OTHER_VERBS = {
    f"kb_dr.domain.{each}"
    for each in (
        "alert", "catalog_rows", "cloudwatch_alarms", "cloudwatch_metrics", "control", "forecast",
        "integrity_report", "local_dump", "manifest", "measured", "metric", "objective",
        "retention", "status", "wal_archive",
    )
}  # fmt: skip
"""Each is dozens of values, and to make one takes as long as to read ten lines of settings."""


@pytest.mark.parametrize("verb", ["backup", "restore", "verify", "list_backups", "status"])
def test_a_verb_loads_what_it_uses_when_it_uses_it(verb: str) -> None:
    loaded = set(
        json.loads(
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    "import json, sys, kb_dr.cli.__main__, kb_dr.cli.app, "
                    f"kb_dr.cli.{verb}, kb_dr.installation; print(json.dumps(sorted(sys.modules)))",
                ],
                check=True,
                capture_output=True,
                timeout=60,
            ).stdout
        )
    )
    assert "kb_dr.settings" in loaded
    assert not loaded & LIBRARIES
    assert not loaded & OF_OTHER_VERBS
    assert not {name for name in loaded if name.startswith("kb_dr.adapters.")}


def test_the_forms_of_a_dump_file_are_those_there_are() -> None:
    assert set(FORMATS) == set(DumpFormat)
