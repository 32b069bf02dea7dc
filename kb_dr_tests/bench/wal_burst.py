"""A burst of full segments that every contestant archives: the same bytes, each time anew."""

import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from kb_dr.domain.wal_names import is_segment
from kb_dr_tests.bench.descendants import Took, watching_descendants
from kb_dr_tests.bench.site import DATABASE, Site

DEADLINE_SECONDS = 1800.0
LOOK_SECONDS = 0.02

_LOOKS_PER_QUESTION = 50
"""To look into a directory is cheap; to ask the server costs it a process."""
_KEEP = "1000000MB"
_ROWS = 500
_TABLE_BYTES = 48 << 20


class NotArchived(Exception):
    """A contestant failed at a segment, or took too long."""


@dataclass(frozen=True)
class Burst:
    """Segments of ordinary rows, and a base backup that was taken just before them.

    All of them stay in pg_wal, marked as archived while nobody archives.
    """

    site: Site
    prelude: tuple[str, ...]
    """WAL files a recovery reads before the burst; archived before anything is measured."""
    segments: tuple[str, ...]
    base: Path
    """A data directory without WAL, to be copied."""
    segment_bytes: int

    @property
    def plain_bytes(self) -> int:
        """What the segments of the burst take together."""
        return len(self.segments) * self.segment_bytes

    def forget(self) -> None:
        """Let the server drop the segments, and the rows they were made of."""
        self.site.cluster.settings.pop("wal_keep_size", None)
        self.site.cluster.reload()
        self.site.cluster.query("drop table if exists burst", database=DATABASE)
        self.site.cluster.query("checkpoint")

    def begin(self, archive_command: str) -> None:
        """Let the server archive what comes before the burst."""
        self._archive(self.prelude, archive_command)

    def push(self, archive_command: str) -> tuple[float, Took]:
        """Let the server archive the burst, from the reload until the last one is archived.

        NotArchived when the command fails at any of them.
        """
        with watching_descendants() as took:
            seconds = self._archive(self.segments, archive_command)
        return seconds, took

    def _archive(self, names: Sequence[str], archive_command: str) -> float:
        cluster = self.site.cluster
        wanted = {f"{name}.ready" for name in names}
        done, failed = _archived(self.site)
        for name in names:
            (self._status / f"{name}.done").rename(self._status / f"{name}.ready")
        began = time.perf_counter()
        # Not archive_with(): it waits until the setting is seen, and here the clock runs.
        cluster.archive_command = archive_command
        cluster.reload()
        try:
            looks = 0
            while wanted & set(os.listdir(self._status)):
                if time.perf_counter() - began > DEADLINE_SECONDS:
                    raise NotArchived(f"{archive_command}: not done in {DEADLINE_SECONDS:.0f} s")
                looks += 1
                if looks % _LOOKS_PER_QUESTION == 0:
                    self._check_no_failure(failed, archive_command)
                time.sleep(LOOK_SECONDS)
            seconds = time.perf_counter() - began
        finally:
            cluster.archive_with("")
        cluster.wait_for("select archived_count >= %s from pg_stat_archiver", [done + len(names)])
        self._check_no_failure(failed, archive_command)
        return seconds

    @property
    def _status(self) -> Path:
        return self.site.cluster.data / "pg_wal" / "archive_status"

    def _check_no_failure(self, failed: int, archive_command: str) -> None:
        if _archived(self.site)[1] > failed:
            words = self.site.cluster.log.read_text()[-1500:]
            raise NotArchived(f"{archive_command}: it failed\n{words}")


def make_burst(site: Site, count: int, place: Path) -> Burst:
    """Take the base backup, and write segments until ``count`` are full."""
    cluster = site.cluster
    # What was archived once is to be archived again: no checkpoint may remove it.
    cluster.settings["wal_keep_size"] = _KEEP
    cluster.archive_with("")
    cluster.switch_wal()
    base = place / "base"
    cluster.programs.run(
        "pg_basebackup",
        *("-D", base, "-X", "fetch", "-c", "fast", "--no-sync", "-d", cluster.conninfo()),
    )
    for each in (base / "pg_wal").iterdir():
        if each.is_file():
            each.unlink()
    prelude = _ready(cluster.data)
    _write_rows(site, lambda: len(_ready(cluster.data)) < len(prelude) + count)
    names = _ready(cluster.data)
    status = cluster.data / "pg_wal" / "archive_status"
    for name in names:
        (status / f"{name}.ready").rename(status / f"{name}.done")
    os.sync()
    segments = [name for name in names if is_segment(name) and name not in prelude]
    size = (cluster.data / "pg_wal" / segments[0]).stat().st_size
    return Burst(site, tuple(prelude), tuple(segments[:count]), base, size)


def copy_of(base: Path, data: Path) -> None:
    """A data directory to recover in."""
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(base, data, symlinks=True)
    (data / "recovery.signal").touch()


def _write_rows(site: Site, wanted: Callable[[], bool]) -> None:
    """The rows of the site once more, texts and vectors, in a table that does not grow."""
    with psycopg.connect(site.cluster.conninfo(DATABASE), autocommit=True) as connection:
        connection.execute("create table if not exists burst (like chunks)")
        first, newest = 0, int(_value(connection, "select max(id) from chunks"))
        while wanted():
            connection.execute(
                "insert into burst select * from chunks where id > %s and id <= %s",
                [first, first + _ROWS],
            )
            first = (first + _ROWS) % newest
            if int(_value(connection, "select pg_table_size('burst')")) > _TABLE_BYTES:
                connection.execute("truncate burst")


def _value(connection: psycopg.Connection[tuple[int]], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _ready(data: Path) -> list[str]:
    marks = os.listdir(data / "pg_wal" / "archive_status")
    return sorted(mark.removesuffix(".ready") for mark in marks if mark.endswith(".ready"))


def _archived(site: Site) -> tuple[int, int]:
    found = site.cluster.query("select archived_count, failed_count from pg_stat_archiver")[0]
    return int(found[0]), int(found[1])
