"""Bring one base backup back as files, and look at every one of them."""

from kb_dr.domain.manifest import Manifest
from kb_dr.domain.recovery import WorkArea
from kb_dr.operations.fetch_backup import CHUNKS_AHEAD, fetch_backup
from kb_dr.operations.phases import Phases
from kb_dr.ports import Codec, PostgresHost, Progress, Repository


def restore_files(
    repository: Repository,
    codec: Codec,
    host: PostgresHost,
    manifest: Manifest,
    area: WorkArea,
    phases: Phases,
    progress: Progress,
    *,
    ahead: int = CHUNKS_AHEAD,
) -> None:
    """Unpack a backup into ``area.data``, and hold the files against PostgreSQL's manifest.

    Raises ObjectMissing, ChecksumMismatch, KeyMissing, NotEnoughSpace, RepositoryUnavailable;
    what is in ``area`` then is to be thrown away.
    """
    with (
        phases.measured("fetch and unpack", manifest.plain_bytes),
        host.unpack(area.data) as tar,
    ):
        fetch_backup(repository, codec, manifest, tar, progress=progress, ahead=ahead)
    progress.begin("verify files")
    try:
        with phases.measured("verify files", manifest.plain_bytes):
            host.verify_files(area.data, manifest.source)
    finally:
        progress.end()
