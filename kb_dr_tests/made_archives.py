"""Archives as pg_dump writes them, of real servers, and settings to load them with."""

from pathlib import Path

from kb_dr.adapters.pg_restore import PgRestore
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.sandbox.postgres_binaries import install_postgres
from kb_dr_tests.postgres_servers import RunningCluster, source_settings


def dump(
    cluster: RunningCluster,
    database: str,
    into: Path,
    *words: str,
    form: str = "custom",
    programs: PostgresPrograms | None = None,
) -> Path:
    """Dump one database as the product does: uncompressed, custom unless said."""
    (programs or cluster.programs).run(
        "pg_dump",
        f"--dbname={cluster.conninfo(database)}",
        f"--format={form}",
        "--compress=0",
        f"--file={into}",
        *words,
    )
    return into


def loader(cluster: RunningCluster, *majors: int) -> PgRestore:
    """pg_restore of these majors alone (else that of the cluster), against this cluster."""
    places = [install_postgres(each) for each in majors] or [cluster.programs.bin_dir]
    return PgRestore(places, source_settings(cluster))
