"""The README's restore by hand, typed line by line, without any of our code."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.domain import layout
from kb_dr_tests.chained_service import ChainedService
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.object_stores import RcloneStore
from kb_dr_tests.protected_cluster import AFTER_THE_BACKUP, LostCluster
from kb_dr_tests.spaced_service import CONTENT, content, spaced

README = Path(__file__).parents[2] / "README.md"
FORMAT = README.parent / "docs" / "repository-format.md"


def _typed_lines() -> str:
    found = re.search(
        r"<!-- restore by hand: begin -->\n```bash\n(.*?)```\n<!-- restore by hand: end -->",
        README.read_text(),
        re.DOTALL,
    )
    assert found is not None
    return found[1]


def _typed_chain() -> str:
    """The lines for a chain, and what follows them in the README."""
    found = re.search(
        r"<!-- chain by hand: begin -->\n```bash\n(.*?)```\n<!-- chain by hand: end -->",
        FORMAT.read_text(),
        re.DOTALL,
    )
    assert found is not None
    readme = _typed_lines()
    return found[1] + readme[readme.index("# All WAL of that cluster") :]


@pytest.fixture
def by_hand(lost_cluster: LostCluster, rclone_store: RcloneStore, tmp_path: Path) -> dict[str, str]:
    """The environment of the person who types: a bucket, a key, a directory, programs."""
    prefix = f"by-hand-{tmp_path.name}"
    client = rclone_store.client()
    for file in lost_cluster.root.rglob("*"):
        if file.is_file():
            key = f"{prefix}/{file.relative_to(lost_cluster.root)}"
            client.put_object(Bucket=S3Place.bucket, Key=key, Body=file.read_bytes())
    identity = tmp_path / "kb.agekey"
    identity.write_text(lost_cluster.identity + "\n")
    return _environment(lost_cluster.programs, tmp_path) | {
        "REPOSITORY": f"store:{S3Place.bucket}/{prefix}",
        "IDENTITY": str(identity),
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG_STORE_ENDPOINT": rclone_store.endpoint_url,
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": rclone_store.access_key_id,
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": rclone_store.secret_access_key,
    }


def _environment(programs: PostgresPrograms, tmp_path: Path) -> dict[str, str]:
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "rclone").symlink_to(Path(sys.executable).parent / "rclone")
    return programs.environment() | {
        "PATH": f"{binaries}:{programs.bin_dir}:{os.environ['PATH']}",
        "PGUSER": "postgres",
        "RCLONE_CONFIG": str(tmp_path / "no-configuration"),
    }


def _type(lines: str, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    return Unprivileged().run(["bash", "-c", lines], env=environment, timeout_seconds=240)


@pytest.fixture
def target() -> Iterator[Path]:
    """Short: a unix socket will lie in it."""
    place = Path("/tmp") / f"kbdr-hand-{os.getpid()}"
    shutil.rmtree(place, ignore_errors=True)
    yield place
    pid_file = place / "data" / "postmaster.pid"
    if pid_file.exists():
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
    shutil.rmtree(place, ignore_errors=True)


def test_the_lines_of_the_readme_bring_the_rows_back(by_hand: dict[str, str], target: Path) -> None:
    done = _type(_typed_lines(), by_hand | {"TARGET": str(target)})

    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    with psycopg.connect(f"host={target} user=postgres dbname=postgres") as connection:
        rows = connection.execute("select entry from ledger order by entry").fetchall()
        archives = connection.execute("show archive_mode").fetchone()
    assert {row[0] for row in rows} == {"in the base backup", *AFTER_THE_BACKUP}
    assert archives == ("off",)


def test_a_hole_in_the_wal_stops_the_person_before_anything_starts(
    by_hand: dict[str, str], target: Path, lost_cluster: LostCluster, rclone_store: RcloneStore
) -> None:
    prefix = by_hand["REPOSITORY"].split("/", 1)[1]
    hole = lost_cluster.segments[0]
    client = rclone_store.client()
    for entry in client.list_objects_v2(Bucket=S3Place.bucket, Prefix=f"{prefix}/wal/")["Contents"]:
        if f"/{hole}-" in entry["Key"]:
            client.delete_object(Bucket=S3Place.bucket, Key=entry["Key"])

    done = _type(_typed_lines(), by_hand | {"TARGET": str(target)})

    assert done.returncode != 0
    assert f"missing: {hole}" in done.stdout.decode()
    assert not (target / "data" / "recovery.signal").exists()


def test_the_same_lines_bring_tablespaces_back_and_leave_those_of_the_source_alone(
    postgres_programs: PostgresPrograms, target: Path, tmp_path: Path
) -> None:
    with spaced(postgres_programs, tmp_path / "service") as service:
        service.run("backup", "full").require(0)
        service.cluster.archive_everything()
        rows, before = content(service.cluster), service.settled()
        environment = _environment(postgres_programs, tmp_path) | {
            "REPOSITORY": service.settings["KB_DR_REPOSITORY_URL"],
            "IDENTITY": service.settings["KB_DR_AGE_IDENTITY_FILE"],
            "TARGET": str(target),
        }

        done = _type(_typed_lines(), environment)

        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        with psycopg.connect(
            f"host={target} user=postgres dbname=postgres", autocommit=True
        ) as connection:
            assert connection.execute(CONTENT.encode()).fetchall() == rows
            places = connection.execute(
                "select pg_tablespace_location(oid) from pg_tablespace where oid >= 16384"
            ).fetchall()
            connection.execute("update aside set word = 'changed'")
            connection.execute("checkpoint")
        assert len(places) == 2
        assert all(place.startswith(f"{target}/data/kb_dr_tablespaces/") for (place,) in places)
        assert service.settled() == before, "the tablespaces of the source were touched"


@pytest.mark.parametrize("major", [16, 17])
def test_the_lines_for_a_chain_bring_its_rows_back(
    chained_of: Callable[[int], ChainedService], target: Path, tmp_path: Path, major: int
) -> None:
    chained = chained_of(major)
    done = _type(_typed_chain(), _chain_environment(chained, target, tmp_path))

    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    with psycopg.connect(f"host={target} user=postgres dbname=postgres") as connection:
        rows = {row[0] for row in connection.execute("select id from ledger")}
    assert rows == {each.id for each in chained.everything}


def test_a_replaced_parent_stops_the_person_before_anything_is_combined(
    chained_of: Callable[[int], ChainedService], target: Path, tmp_path: Path
) -> None:
    chained = chained_of(17).copied(tmp_path / "copied")
    manifest = chained.path(layout.manifest_key(chained.chain[2].manifest.backup_id))
    manifest.write_bytes(manifest.read_bytes().replace(b"test-host", b"other-host"))

    done = _type(_typed_chain(), _chain_environment(chained, target, tmp_path))

    assert done.returncode != 0
    assert not (target / "data").exists()


def _chain_environment(chained: ChainedService, target: Path, tmp_path: Path) -> dict[str, str]:
    identity = tmp_path / "kb.agekey"
    identity.write_text(f"{chained.service.identity}\n")
    return _environment(chained.service.programs, tmp_path) | {
        "REPOSITORY": str(chained.root),
        "BACKUP": chained.newest.manifest.id,
        "IDENTITY": str(identity),
        "TARGET": str(target),
    }
