"""Restores of dumps, planned and carried out in this process, and what came of them."""

import hashlib
from pathlib import Path

from kb_dr.adapters.log_progress import LogProgress
from kb_dr.domain.load_plan import Part
from kb_dr.installation.loading import LoadWords
from kb_dr.operations.load_dump import Loaded
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.protected_service import Service


def load(
    service: Service,
    *,
    file: Path | None = None,
    into: str | None = None,
    replace: bool = False,
    checksum: bool = True,
    part: Part | None = None,
    settings: dict[str, str] | None = None,
) -> Loaded:
    """Plan and carry out, in this process."""
    opened = service.opened(**(settings or {}))
    words = LoadWords(file, None, None, into, replace, checksum)
    plan = opened.plan_load(words, part or Part(), LogProgress())
    return opened.load(plan, words, LogProgress())


def databases(cluster: RunningCluster) -> list[str]:
    return [row[0] for row in cluster.query("select datname::text from pg_database order by 1")]


def rows(cluster: RunningCluster, table: str, database: str) -> int:
    ((count,),) = cluster.query(f"select count(*)::int from {table}", database=database)
    return int(count)


def with_checksum(file: Path) -> Path:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_name(file.name + ".sha256").write_text(f"{digest}  {file.name}\n")
    return file
