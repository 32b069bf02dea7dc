"""A service whose catalog goes away: backups, copies, proofs and WAL go on, and it catches up."""

import json
import shutil
from collections.abc import Iterator

import pyrage
import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr_tests.catalog_database import CatalogDatabase
from kb_dr_tests.postgres_servers import RunningCluster, fill
from kb_dr_tests.protected_service import Service, shell_line

NOBODY = "postgresql://nobody@127.0.0.1:1/kb_dr_catalog"


@pytest.fixture(scope="module")
def database(shared_primary: RunningCluster) -> CatalogDatabase:
    return CatalogDatabase(shared_primary, "kb_dr_catalog")


@pytest.fixture(scope="module")
def service(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service with two copies in directories, whose settings name a catalog that is down."""
    directory = tmp_path_factory.mktemp("catalogued")
    with RunningCluster(postgres_programs, directory / "source") as cluster:
        identity = pyrage.x25519.Identity.generate()
        (directory / "kb.agekey").write_text(f"{identity}\n")
        for copy in ("primary", "offsite"):
            (directory / copy).mkdir()
        made = Service(
            directory,
            {
                "KB_DB_HOST": str(cluster.sockets),
                "KB_DB_NAME": "postgres",
                "KB_DB_USER": "postgres",
                "KB_DR_REPOSITORY_URL": str(directory / "primary"),
                "KB_DR_OFFSITE_URL": str(directory / "offsite"),
                "KB_DR_AGE_RECIPIENTS": str(identity.to_public()),
                "KB_DR_AGE_IDENTITY_FILE": str(directory / "kb.agekey"),
                "KB_DR_POSTGRES_BIN_DIRS": str(postgres_programs.bin_dir),
                "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
                "KB_DR_STATE_DIR": str(directory / "state"),
                "KB_DR_CATALOG_URL": NOBODY,
                # PostgreSQL's archiver reads the same settings, and no such file.
                "KB_DR_CATALOG_PASSWORD_FILE": str(directory / "not-there"),
            },
        )
        made.run("init").require(0)
        fill(cluster, 300)
        cluster.archive_with(shell_line(made.words("wal", "push")) + ' "%p"')
        yield made


def test_with_the_catalog_down_everything_is_done_and_it_catches_up(
    service: Service, database: CatalogDatabase
) -> None:
    backed_up = service.run("backup", "full", "--json").require(0, "the catalog does not show")
    backup = json.loads(backed_up.out)["manifest"]["id"]
    service.run("copy").require(0, f"the catalog does not show {backup}")
    service.run("verify").require(0, f"the catalog does not show {backup}")
    listed = service.run("list", "--catalog").require(0, "the catalog cannot be read")
    assert backup in listed.out

    up = {"KB_DR_CATALOG_URL": database.url, "KB_DR_CATALOG_PASSWORD_FILE": ""}
    service.write(service.settings | up)
    service.run("catalog", "check").require(80, "it was never brought in line")
    service.run("catalog", "sync").require(0)
    service.run("catalog", "check").require(0)

    (row,) = database.query(
        "select backup_id, status, recovery_tested, location_local from backup_logs"
    )
    assert row[:3] == (backup, "verified", True)
    assert str(row[3]).startswith(f"{service.directory}/primary/full/")

    listed = service.run("list", "--catalog").require(0)
    assert "as of 20" in listed.out
    assert "primary unproven, offsite proven" in listed.out
    assert "cannot be read" not in listed.err
    found = json.loads(service.run("list", "--catalog", "--json").require(0).out)
    assert found["read_from"] == "catalog"
    assert found["synced"]["backups"] == 1

    service.run("verify", "--from", "primary").require(0)
    (proofs,) = database.query("select count(*) from backup_proofs where verdict = 'PROVEN'")
    assert proofs == (2,), "a proof is noted without a sync"
    service.run("catalog", "sync").require(0)
    before = database.contents()
    database.drop()
    database.make()
    service.run("catalog", "rebuild").require(0)
    assert database.contents() == before

    proof = str(database.query("select id from backup_proofs order by finished")[0][0])
    told = service.run("show", proof).require(0)
    for text in (backup, "offsite", "WAL replayed", "speaks of what is there now", "yes"):
        assert text in told.out
    shown = json.loads(service.run("show", backup, "--json").require(0).out)
    assert shown["manifest"]["id"] == backup
    assert [each["copy"] for each in shown["lineage"]["rows"]["copies"]] == ["primary", "offsite"]

    drilled = service.run("drill", "--from", "offsite", "--json")
    assert "catalog rebuilt from storage" in drilled.out
    assert database.contents()["backup_manifests"] == before["backup_manifests"]

    # The region of the primary is lost: what it alone held is unknown, what is offsite is there.
    shutil.rmtree(service.directory / "primary")
    service.run("catalog", "rebuild").require(80, "without what did not answer: primary")
    assert database.query("select state from backup_copies order by position") == [
        ("unknown",),
        ("stored",),
    ]
    assert database.query("select status from backup_logs") == [("verified",)]
