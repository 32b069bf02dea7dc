"""What an hourly backup becomes on real servers, and what it leaves when it does not."""

from pathlib import Path

import pytest

from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.increment import NATIVE
from kb_dr_tests.incremental_service import SUMMARIZING, incremental_service
from kb_dr_tests.postgres_servers import fill, programs_of


@pytest.mark.parametrize("major", [17, 18])
def test_an_increment_is_stored_as_a_full_is_and_names_its_parent(
    major: int, tmp_path: Path
) -> None:
    with incremental_service(programs_of(major), tmp_path, SUMMARIZING) as service:
        fill(service.cluster)
        full = service.back_up()
        service.cluster.query("insert into organizations values (100, 'later')")
        stored = service.increment()

    manifest = stored.manifest
    assert (manifest.kind, manifest.engine) == (BackupKind.INCR, NATIVE)
    assert (manifest.parent, manifest.parent_digest) == (full.manifest.id, full.digest)
    assert manifest.notes == ()
    assert 0 < manifest.plain_bytes < full.manifest.plain_bytes / 3
