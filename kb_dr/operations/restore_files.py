"""Bring the files of one backup back, and look at every one of them."""

from collections.abc import Sequence
from pathlib import Path

from kb_dr.domain.forecast import COMBINE, FETCH, VERIFY_FILES
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.recovery import WorkArea
from kb_dr.errors import ChecksumMismatch
from kb_dr.operations.fetch_backup import CHUNKS_AHEAD, fetch_backup
from kb_dr.operations.phases import Phases
from kb_dr.ports import Codec, PostgresHost, Progress, Repository


def restore_files(
    repository: Repository,
    codec: Codec,
    host: PostgresHost,
    fetched: Sequence[Manifest],
    area: WorkArea,
    phases: Phases,
    progress: Progress,
    *,
    ahead: int = CHUNKS_AHEAD,
) -> None:
    """Unpack a backup into ``area.data``, and hold the files against PostgreSQL's manifest.

    ``fetched`` is RecoveryPlan.fetched: a full, or a full and the increments to it, which are
    unpacked and verified each on its own, combined, and verified again. Raises ObjectMissing,
    ChecksumMismatch, KeyMissing, NotEnoughSpace, RepositoryUnavailable, and what
    PostgresHost.combine() raises; what is in ``area`` then is to be thrown away.
    """

    def bring(manifest: Manifest, directory: Path) -> None:
        with (
            phases.measured(FETCH, manifest.plain_bytes),
            host.unpack(directory) as tar,
        ):
            fetch_backup(repository, codec, manifest, tar, progress=progress, ahead=ahead)
        progress.begin(VERIFY_FILES)
        try:
            with phases.measured(VERIFY_FILES, manifest.plain_bytes):
                host.verify_files(directory, manifest.source)
        finally:
            progress.end()

    if len(fetched) == 1:
        bring(fetched[0], area.data)
        return
    links = [area.link(number) for number in range(len(fetched))]
    for manifest, directory in zip(fetched, links, strict=True):
        try:
            bring(manifest, directory)
        except ChecksumMismatch as error:
            if manifest.id in str(error):
                raise
            raise ChecksumMismatch(f"restore {manifest.id}: {error}", hint=error.hint) from error
    _combine(host, fetched[-1], links, area, phases, progress)


def _combine(
    host: PostgresHost,
    newest: Manifest,
    links: Sequence[Path],
    area: WorkArea,
    phases: Phases,
    progress: Progress,
) -> None:
    progress.begin(COMBINE)
    try:
        with phases.measured(COMBINE, newest.source.size_bytes):
            host.combine(links, area.data, newest.source)
            host.verify_files(area.data, newest.source)
    finally:
        progress.end()
