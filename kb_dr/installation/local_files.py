"""Dumps in files of their own: written, and looked at without a restore."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.domain.backup_id import BackupKind
from kb_dr.errors import ConfigurationError
from kb_dr.installation.cloudwatch import CloudWatching
from kb_dr.installation.pinging import Pinging

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kb_dr.domain.dump import DumpFormat
    from kb_dr.domain.file_validation import FileValidation
    from kb_dr.operations.write_local_dump import LocalDump
    from kb_dr.ports import Progress


class LocalFiles(CloudWatching, Pinging):
    """What needs no repository: a server and a directory, or a file alone."""

    def dump_to(
        self,
        directory: Path | None,
        form: DumpFormat,
        progress: Progress,
        *,
        jobs: int | None = None,
    ) -> LocalDump:
        """Dump the database into a new file in ``directory``; None: where the settings say.

        The repository is not asked, and does not know of it: no objective rests on it.
        """
        from kb_dr.domain.dump import DumpFormat
        from kb_dr.operations.write_local_dump import LocalDumpTools, write_local_dump

        with self._failure_told():
            return write_local_dump(
                wiring.dump_source(self.settings),
                # pg_restore reads only what pg_dump compressed; psql, what anybody did.
                wiring.dump_program(self.settings, compressed=form is DumpFormat.CUSTOM),
                wiring.whole_files(self.settings),
                self.clock,
                progress,
                LocalDumpTools(
                    service=self.settings.service,
                    tables=self.settings.critical_tables,
                    jobs=jobs or self.settings.load_jobs,
                ),
                directory=directory or self.settings.local_dump_dir,
                form=form,
            )

    def validate_file(
        self, path: Path, progress: Progress, *, checksum: bool = True
    ) -> FileValidation:
        """Look at a file or a directory that a dump was written into."""
        from kb_dr.operations.validate_file import validate_file

        return validate_file(
            path,
            lambda: wiring.dump_loader(self.settings, self.settings.source),
            lambda: self.codec,
            progress,
            checksum=checksum,
        )

    @contextmanager
    def _failure_told(self) -> Iterator[None]:
        """A failure is told as every backup's is; a success is none of the repository's."""
        work = "dump" if "dump" in self.settings.pings else "backup"
        with self.backup_told(BackupKind.DUMP, None):
            try:
                yield
            except ConfigurationError:
                raise  # of words typed: nobody waits for it
            except BaseException:
                with self.pinged(work):
                    raise
