"""Where a contestant keeps what it writes: a directory, and a prefix of the bench's bucket."""

import shutil
from pathlib import Path

from kb_dr_tests.bench.contestants.stored import bytes_below
from kb_dr_tests.bench.site import BUCKET, Site


class OwnPlace:
    """Its repository is in the directory, or below the prefix where the store is a bucket."""

    _site: Site
    _store: str
    _prefix: str
    _place: Path

    def stored_bytes(self) -> int:
        """What its repository takes now."""
        in_directory = self._store == "directory"
        return bytes_below(self._place / "repository" if in_directory else self._bucket)

    def forget(self) -> None:
        """Remove both."""
        shutil.rmtree(self._place, ignore_errors=True)
        if self._store != "directory":
            shutil.rmtree(self._bucket, ignore_errors=True)

    @property
    def _bucket(self) -> Path:
        return self._site.s3_of(self._store).buckets / BUCKET / self._prefix
