"""The lines of docs/logical-dumps.md restore a dump without any of our code."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kb_dr_tests.dumped_service import DATABASE, DumpedService

DOCUMENT = Path(__file__).parents[2] / "docs" / "logical-dumps.md"

_COUNTS = """
select table_schema, table_name,
       (xpath('/row/c/text()', query_to_xml(
           format('select count(*) as c from %I.%I', table_schema, table_name), true, true, ''
       )))[1]::text::int
from information_schema.tables
where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
order by 1, 2
"""


@pytest.mark.parametrize(("which", "made"), [("dump", "kb_restored"), ("file", "kb_from_file")])
def test_the_typed_lines_bring_every_row_back(
    dumped_service: DumpedService, tmp_path: Path, which: str, made: str
) -> None:
    cluster, database = dumped_service.cluster, DATABASE
    if which == "dump":
        for chunk in dumped_service.stored.manifest.chunks:
            shutil.copy(dumped_service.directory / "primary" / chunk.key, tmp_path)
        shutil.copy(dumped_service.settings["KB_DR_AGE_IDENTITY_FILE"], tmp_path / "kb.agekey")
    else:
        dumped_service.run("backup", "dump", "--to", str(tmp_path)).require(0)

    try:
        typed = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", _lines(which)],
            cwd=tmp_path,
            env=_environment(dumped_service),
            capture_output=True,
            text=True,
        )

        assert typed.returncode == 0, typed.stderr
        counts = cluster.query(_COUNTS, database=made)
        assert counts == cluster.query(_COUNTS, database=database)
        assert sum(rows for _, _, rows in counts) > 300
    finally:
        cluster.query(f"drop database if exists {made}")


def test_what_comes_with_a_damaged_file_stops_the_person(
    dumped_service: DumpedService, tmp_path: Path
) -> None:
    dumped_service.run("backup", "dump", "--to", str(tmp_path)).require(0)
    (file,) = tmp_path.glob("*.sql.gz")
    damaged = bytearray(file.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    file.write_bytes(damaged)

    typed = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", _lines("file")],
        cwd=tmp_path,
        env=_environment(dumped_service),
        capture_output=True,
        text=True,
    )

    assert typed.returncode != 0
    assert "FAILED" in typed.stdout
    assert dumped_service.cluster.query(
        "select datname from pg_database where datname = 'kb_from_file'"
    ) == []  # fmt: skip


def _lines(which: str) -> str:
    (found,) = re.findall(
        rf"<!-- {which} by hand: begin -->\n```bash\n(.*?)```\n<!-- {which} by hand: end -->",
        DOCUMENT.read_text(),
        re.DOTALL,
    )
    return str(found)


def _environment(service: DumpedService) -> dict[str, str]:
    programs = service.cluster.programs
    return programs.environment() | {
        "PATH": f"{programs.bin_dir}:{os.environ['PATH']}",
        "PGUSER": "postgres",
        "PGHOST": str(service.cluster.sockets),
    }
