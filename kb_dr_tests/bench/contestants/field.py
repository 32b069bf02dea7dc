"""Who takes part on which store, and who does not and why."""

import shutil

from kb_dr_tests.bench.contestants.barman_cloud import BarmanCloud
from kb_dr_tests.bench.contestants.contestant import Contestant
from kb_dr_tests.bench.contestants.kb_dr import KbDr
from kb_dr_tests.bench.contestants.pgbackrest import PgBackRest
from kb_dr_tests.bench.contestants.pipes import Pipes
from kb_dr_tests.bench.contestants.wal_g import PROGRAM, WalG
from kb_dr_tests.bench.site import OVER_TLS, Site


def contestants_on(site: Site, store: str) -> tuple[Contestant, ...]:
    """All that can keep backups there, us first."""
    found: list[Contestant] = [KbDr(site, store)]
    if store in {"directory", OVER_TLS}:
        found.append(PgBackRest(site, store))
    if store != "directory":
        found.append(BarmanCloud(site, store))
    if shutil.which(PROGRAM):
        found.append(WalG(site, store))
    found.append(Pipes(site, store))
    return tuple(found)


def not_measured() -> tuple[str, ...]:
    """Tools, or ways of theirs, that are missing from the tables, and why."""
    said = [
        "pgBackRest on S3 without TLS: its S3 client insists on TLS.",
        "barman-cloud on a directory: it keeps backups in object stores only.",
    ]
    if not shutil.which(PROGRAM):
        said.append("WAL-G: its binary, wal-g, is not on PATH; neither Debian nor PyPI has it.")
    return tuple(said)
