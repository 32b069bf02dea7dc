"""A real server archives through `kb-dr wal push`, and what it archived is whole."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.restore_command import restore_command
from kb_dr.domain.timelines import newest_timeline
from kb_dr.domain.wal_names import DEFAULT_SEGMENT_BYTES, Segment
from kb_dr.domain.wal_page import check_segment
from kb_dr.operations.archived_end import find_archived_end
from kb_dr.operations.audit_wal import audit_wal
from kb_dr.operations.fetch_wal import fetch_wal
from kb_dr.operations.listed_wal import (
    list_wal,
    load_lineages,
    read_archive,
    segments_along,
)
from kb_dr.operations.prefetch_wal import WalPrefetcher
from kb_dr_tests.archived_cluster import (
    ArchivedCluster,
    WalStore,
    archived_cluster,
    recover,
    recovering,
)
from kb_dr_tests.postgres_servers import RunningCluster, programs_of


@pytest.fixture
def store(tmp_path: Path) -> WalStore:
    return WalStore.make(tmp_path / "store")


def test_segments_that_piled_up_are_archived_whole(
    postgres_programs: PostgresPrograms, tmp_path: Path, store: WalStore
) -> None:
    """Of 16 MiB each; most are pushed ahead of their turn, and called archived without starting
    the program. Each is what the server wrote.
    """
    with RunningCluster(
        postgres_programs,
        tmp_path / "source",
        archive_command="/bin/false",
        settings={"wal_keep_size": "1GB"},
    ) as source:
        source.query("create table t (n int)")
        for number in range(8):
            source.query(f"insert into t values ({number})")
            source.switch_wal()

        source.archive_with(store.quick_archive_command)
        last = source.archive_everything()
        noted = list((store.directory / "state" / "wal-push" / "noted").iterdir())
        identifier = source.system_identifier
        written = {
            path.name: path.read_bytes()
            for path in (source.data / "pg_wal").iterdir()
            if path.is_file() and path.name <= last
        }

    found = audit_wal(
        store.repository,
        system_identifier=identifier,
        segment_bytes=DEFAULT_SEGMENT_BYTES,
        codec=store.codec,
        deep=True,
    )
    assert found.passed, found.archive.problems
    assert found.archive.segments == len(written) >= 9
    taken = [path.name for path in noted if path.stat().st_size == 0]
    assert len(taken) >= 7, "they were pushed at their own turn"
    for name, content in written.items():
        assert fetch_wal(
            name,
            tmp_path / "fetched",
            repository=store.repository,
            codec=store.codec,
            system_identifier=identifier,
        )
        assert (tmp_path / "fetched").read_bytes() == content


def test_a_store_that_was_down_gets_everything_when_it_is_back(
    postgres_programs: PostgresPrograms, tmp_path: Path, store: WalStore
) -> None:
    place = store.directory / "repository"
    with RunningCluster(
        postgres_programs, tmp_path / "source", archive_command=store.archive_command
    ) as source:
        first = source.archive_everything()
        place.rename(store.directory / "away")
        source.query("create table t (n int)")
        source.switch_wal()
        source.wait_for("select failed_count > 0 from pg_stat_archiver")
        assert source.value("select last_archived_wal from pg_stat_archiver") == first

        (store.directory / "away").rename(place)
        last = source.archive_everything()
        identifier = source.system_identifier

    stored = [each.name for each in list_wal(store.repository, identifier)]
    assert {first, last} <= set(stored)
    archive = read_archive(store.repository, store.codec, identifier, DEFAULT_SEGMENT_BYTES)
    assert archive.problems == ()


def test_the_program_pushes_again_what_is_stored_and_refuses_other_bytes(
    postgres_programs: PostgresPrograms, tmp_path: Path, store: WalStore
) -> None:
    with RunningCluster(
        postgres_programs, tmp_path / "source", archive_command=store.archive_command
    ) as source:
        segment = source.data / "pg_wal" / source.archive_everything()
        copy = tmp_path / segment.name
        shutil.copy(segment, copy)

    again = subprocess.run(store.words("wal", "push", str(copy)), capture_output=True, text=True)
    content = bytearray(copy.read_bytes())
    content[100] ^= 1
    copy.write_bytes(content)
    other = subprocess.run(store.words("wal", "push", str(copy)), capture_output=True, text=True)

    assert again.returncode == 0, again.stderr
    assert other.returncode == 13
    assert "other bytes are stored" in other.stderr
    assert "hint: " in other.stderr


@pytest.fixture(params=[14, 18])
def forked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ArchivedCluster]:
    directory = tmp_path_factory.mktemp("forked")
    yield archived_cluster(programs_of(request.param), directory, segment_mib=1)
    shutil.rmtree(directory)


def test_recovery_follows_a_fork_to_the_expected_end_with_prefetched_wal(
    forked: ArchivedCluster, tmp_path: Path
) -> None:
    """Recovered once, the cluster lived on as timeline 2 and was lost again."""
    store = forked.store
    with recovering(
        forked,
        tmp_path / "second",
        restore_command(store.words("wal", "fetch")),
        archive_mode="on",
        archive_command=store.archive_command,
    ) as second:
        assert second.running, second.log.read_text()
        second.query("insert into kept values (4)")
        last = second.archive_everything()
        # The label of the base backup named a segment of timeline 1.
        expected_end = Lsn.parse(second.value("select pg_current_wal_lsn()"))

    repository, codec, identifier = store.repository, store.codec, forked.system_identifier
    archive = read_archive(repository, codec, identifier, forked.segment_bytes)
    assert archive.problems == ()
    lineage = newest_timeline(1, load_lineages(repository, codec, identifier))
    assert lineage.timelines == (1, 2)
    start = Segment.parse(
        min(each.name for each in list_wal(repository, identifier)), forked.segment_bytes
    )
    end = find_archived_end(
        repository,
        codec,
        system_identifier=identifier,
        archive=archive,
        start=start,
        lineage=lineage,
    )
    assert end.last.name == last
    assert (end.tip.timeline, end.tip.end) == (2, end.last.end)
    assert end.tip.end == expected_end // forked.segment_bytes * forked.segment_bytes
    words = store.words(
        *("wal", "fetch", "--expect-end", str(end.tip.end), "--expect-timeline", "2"),
        *("--segment-bytes", str(forked.segment_bytes)),
    )

    segments = segments_along(repository, identifier, archive, start, end.last, lineage)
    with WalPrefetcher(repository, codec, tmp_path / "spool", segments) as prefetcher:
        found = recover(forked, tmp_path / "third", restore_command(words, spool=prefetcher.spool))

    assert found.rows == (1, 2, 3, 4), found.log
    assert prefetcher.failure is None
    assert prefetcher.fetched_segments > 0
    assert found.history.splitlines()[-1].split()[:2] == ["2", str(end.tip.end)]


@pytest.mark.parametrize("segment_mib", [32])
def test_the_segment_size_is_that_of_the_header(
    postgres_programs: PostgresPrograms, tmp_path: Path, segment_mib: int
) -> None:
    archived = archived_cluster(postgres_programs, tmp_path, segment_mib=segment_mib)
    shutil.rmtree(archived.base)
    content = archived.store.codec.decode(archived.store.stored(archived.segments[0]).read_bytes())

    header = check_segment(archived.segments[0], content[:40], len(content))

    assert header.segment_bytes == segment_mib * 1024 * 1024 == archived.segment_bytes
    assert header.major == 16
    archive = read_archive(
        archived.store.repository,
        archived.store.codec,
        archived.system_identifier,
        archived.segment_bytes,
    )
    assert archive.problems == ()
