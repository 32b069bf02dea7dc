"""A real service whose bucket retains what is written: whoever has its keys cannot take it away."""

from pathlib import Path
from uuid import uuid4

import pyrage
import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.errors import ObjectRetained
from kb_dr.operations.catalog import readable
from kb_dr_tests.ceph import CephStore
from kb_dr_tests.made_bucket import make_lockable
from kb_dr_tests.postgres_servers import RunningCluster, fill
from kb_dr_tests.protected_service import Service, shell_line


def settings_of(
    store: CephStore, bucket: str, cluster: RunningCluster, programs: PostgresPrograms, place: Path
) -> dict[str, str]:
    identity = pyrage.x25519.Identity.generate()
    key = place / "kb.agekey"
    key.write_text(f"{identity}\n")
    return {
        "KB_DB_HOST": str(cluster.sockets),
        "KB_DB_NAME": "postgres",
        "KB_DB_USER": "postgres",
        "KB_DR_REPOSITORY_URL": f"s3://{bucket}/org",
        "KB_DR_REPOSITORY_ENDPOINT_URL": store.endpoint_url,
        "KB_DR_REPOSITORY_ACCESS_KEY_ID": store.access_key_id,
        "KB_DR_REPOSITORY_SECRET_ACCESS_KEY": store.secret_access_key,
        "KB_DR_REPOSITORY_OBJECT_LOCK_MODE": "compliance",
        "KB_DR_REPOSITORY_OBJECT_LOCK_DAYS": "3",
        "KB_DR_AGE_RECIPIENTS": str(identity.to_public()),
        "KB_DR_AGE_IDENTITY_FILE": str(key),
        "KB_DR_POSTGRES_BIN_DIRS": str(programs.bin_dir),
        "KB_DR_SCRATCH_DIR": str(place / "scratch"),
        "KB_DR_STATE_DIR": str(place / "state"),
        "KB_DR_CRITICAL_TABLES": "knowledge_entries",
    }


def test_who_deletes_everything_with_our_keys_hides_it_and_it_is_proven_again(
    ceph_store: CephStore, postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    bucket = f"locked-{uuid4().hex[:12]}"
    make_lockable(ceph_store, bucket)
    with RunningCluster(postgres_programs, tmp_path / "source") as cluster:
        service = Service(
            tmp_path, settings_of(ceph_store, bucket, cluster, postgres_programs, tmp_path)
        )
        assert "compliance, 3 days" in service.run("init").require(0).out
        fill(cluster, 100)
        cluster.archive_with(shell_line(service.words("wal", "push")) + ' "%p"')
        service.run("backup", "full").require(0)
        cluster.archive_everything()
    repository = service.opened().checked("primary")
    keys = [listed.key for listed in repository.list("")]
    kinds = {key.split("/")[0] for key in keys}

    for key in keys:
        with pytest.raises(ObjectRetained):
            repository.delete(key)
        ceph_store.client().delete_object(Bucket=bucket, Key=f"org/{key}")
    assert list(repository.list("")) == [], "to every reader it is gone"
    assert "hidden in primary" in service.run("doctor").require(60).err
    service.run("retention", "hidden", "--bring-back", "--yes").require(0)

    assert kinds == {"full", "wal", "repository.json"}
    assert [listed.key for listed in repository.list("")] == keys
    assert len(readable(service.opened().catalog("primary"))) == 1
    service.run("verify", "latest", "--from", "primary").require(0)
