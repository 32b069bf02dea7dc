"""A repository with WAL in it, pushed as the archiver would."""

from collections.abc import Mapping
from pathlib import Path

from kb_dr.operations.archive_wal import push_file
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SYSTEM_IDENTIFIER


def repository_of(segments: Mapping[str, bytes], directory: Path) -> MemoryRepository:
    """All of them, by name; the plain files stay in ``directory``."""
    found = MemoryRepository()
    for name, content in segments.items():
        (directory / name).write_bytes(content)
        push_file(
            directory / name,
            repository=found,
            codec=PlainCodec(),
            system_identifier=SYSTEM_IDENTIFIER,
        )
    return found
