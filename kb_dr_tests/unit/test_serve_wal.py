"""The exit contract of a restored server's restore_command: only "certainly absent" is 1."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.recovery import RecoveryPlan, WalFile
from kb_dr.domain.recovery_target import Latest
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import RepositoryUnavailable, TargetNotReached, WalDamaged, WalGap
from kb_dr.operations.serve_wal import WalServer, serving_wal
from kb_dr_tests.fakes import MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.made_wal import WalWriter
from kb_dr_tests.stored_backups import (
    SEGMENT_BYTES,
    SYSTEM,
    segment,
    segment_content,
    store_backup,
    store_wal,
)

CODEC = PlainCodec()
LAST = 30
"""More than are held ready, so that the spool has to move on."""


@pytest.fixture
def repository() -> MemoryRepository:
    return MemoryRepository()


@pytest.fixture
def plan(repository: MemoryRepository) -> RecoveryPlan:
    stored = store_backup(repository, CODEC)
    keys = [
        store_wal(repository, CODEC, segment(number).name, segment_content(segment(number)))
        for number in range(2, LAST + 1)
    ]
    history = store_wal(repository, CODEC, "00000002.history", b"1\t0/9000000\tno reason\n")
    return RecoveryPlan(
        stored=stored,
        target=Latest(),
        copy="primary",
        url=repository.url,
        system_identifier=SYSTEM,
        timeline=1,
        segments=tuple(_file(key) for key in keys),
        histories=(_file(history),),
        expected_end=Lsn(segment(LAST).end),
        expected_timeline=1,
        newest_commit=None,
        bytes_needed=0,
    )


def _file(key: str) -> WalFile:
    name, _, digest = key.rpartition("/")[2].partition("-")
    return WalFile(name, key, digest.partition(".")[0], 1)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "a spool's 100% own place"


@pytest.fixture
def server(plan: RecoveryPlan, repository: MemoryRepository, spool: Path) -> Iterator[WalServer]:
    with serving_wal(plan, repository, CODEC, spool) as serving:
        yield serving


def _asked(server: WalServer, name: str, to: Path) -> int:
    """Run the command as PostgreSQL does; return its exit status."""
    line = server.restore_command.replace("%%", "\0")
    line = line.replace("%f", name).replace("%p", str(to)).replace("\0", "%")
    return subprocess.run(["/bin/sh", "-c", line], timeout=120, check=False).returncode


def test_every_segment_comes_in_turn(server: WalServer, tmp_path: Path) -> None:
    for number in range(2, LAST + 1):
        to = tmp_path / "RECOVERYXLOG"
        assert _asked(server, segment(number).name, to) == 0
        assert to.read_bytes() == segment_content(segment(number))


def test_progress_is_told_of_what_replay_has_done_with(
    plan: RecoveryPlan, repository: MemoryRepository, spool: Path, tmp_path: Path
) -> None:
    progress = RecordingProgress()
    progress.begin("replay")

    with serving_wal(plan, repository, CODEC, spool, progress) as server:
        assert _asked(server, segment(2).name, tmp_path / "RECOVERYXLOG") == 0
        assert _asked(server, segment(LAST).name, tmp_path / "RECOVERYXLOG") == 0
        expected = (LAST - 2) * plan.stored.manifest.source.segment_bytes
        deadline = time.monotonic() + 60
        while progress.done != [expected] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert progress.done == [expected], "its window lies ahead, and does not count"

        server.all_replayed()

    segment_bytes = plan.stored.manifest.source.segment_bytes
    assert progress.done == [len(plan.segments) * segment_bytes]


def test_replay_may_begin_again_further_back(
    server: WalServer, tmp_path: Path, spool: Path
) -> None:
    for number in (2, LAST, 3, 2, 20):
        to = tmp_path / "RECOVERYXLOG"
        assert _asked(server, segment(number).name, to) == 0
        assert to.read_bytes() == segment_content(segment(number))
    assert len(list((spool / "ready").iterdir())) < LAST - 2, "the spool is bounded"


def test_a_history_of_the_archive_is_served(server: WalServer, tmp_path: Path) -> None:
    assert _asked(server, "00000002.history", tmp_path / "history") == 0
    assert (tmp_path / "history").read_bytes().startswith(b"1\t")


@pytest.mark.parametrize(
    "name",
    [segment(LAST + 1).name, "00000003.history", Segment(2, LAST + 1, SEGMENT_BYTES).name],
)
def test_what_lies_behind_the_plans_end_is_absent(
    server: WalServer, tmp_path: Path, name: str
) -> None:
    assert _asked(server, name, tmp_path / "to") == 1
    assert not (tmp_path / "to").exists()
    assert server.failure is None


def test_what_is_not_planned_below_the_end_is_never_absent(
    server: WalServer, tmp_path: Path
) -> None:
    assert _asked(server, Segment(2, LAST - 1, SEGMENT_BYTES).name, tmp_path / "to") == 126
    assert isinstance(server.failure, WalGap)


def test_a_segment_gone_since_the_plan_is_never_absent(
    server: WalServer, plan: RecoveryPlan, repository: MemoryRepository, tmp_path: Path
) -> None:
    repository.delete(plan.segments[-1].key)

    assert _asked(server, plan.last_segment, tmp_path / "to") == 126
    assert isinstance(server.failure, WalGap)


def test_a_damaged_segment_is_never_absent(
    server: WalServer, plan: RecoveryPlan, repository: MemoryRepository, tmp_path: Path
) -> None:
    repository.bodies[plan.segments[-1].key] = b"damaged"

    assert _asked(server, plan.last_segment, tmp_path / "to") == 126
    assert isinstance(server.failure, WalDamaged)


def test_a_store_that_does_not_answer_is_never_absent(
    server: WalServer, plan: RecoveryPlan, repository: MemoryRepository, tmp_path: Path
) -> None:
    repository.failures[plan.segments[-1].key] = RepositoryUnavailable("get: no answer")

    assert _asked(server, plan.last_segment, tmp_path / "to") == 126
    # Nobody serves any more, so even what would have been absent is not.
    assert _asked(server, segment(LAST + 1).name, tmp_path / "to") == 126
    assert isinstance(server.failure, RepositoryUnavailable)


def test_a_file_that_cannot_be_written_is_never_absent(
    server: WalServer, plan: RecoveryPlan, tmp_path: Path
) -> None:
    assert _asked(server, plan.first_segment, tmp_path / "nowhere" / "to") == 126


@pytest.mark.parametrize("lost", ["fetch-wal", "asked", "."])
def test_a_spool_that_is_gone_is_never_absent(
    plan: RecoveryPlan, repository: MemoryRepository, spool: Path, tmp_path: Path, lost: str
) -> None:
    served = WalServer(plan, repository, CODEC, spool)
    served.prepare()
    (spool / lost).resolve().rename(tmp_path / "gone")

    assert _asked(served, segment(LAST + 1).name, tmp_path / "to") == 126


def test_after_the_recovery_nothing_is_absent(
    plan: RecoveryPlan, repository: MemoryRepository, spool: Path, tmp_path: Path
) -> None:
    with serving_wal(plan, repository, CODEC, spool) as server:
        pass

    assert _asked(server, segment(LAST + 1).name, tmp_path / "to") == 126
    assert not spool.exists()


def _creating(plan: RecoveryPlan, repository: MemoryRepository, number: int) -> RecoveryPlan:
    """The same plan, with a segment that creates a tablespace."""
    wanted = segment(number)
    writer = WalWriter(wanted, system_identifier=SYSTEM)
    writer.record(b"\0\x40\0\0/live/space\0", rmid=5)
    key = store_wal(repository, CODEC, wanted.name, writer.segments()[wanted.name])
    files = [_file(key) if file.name == wanted.name else file for file in plan.segments]
    return replace(plan, segments=tuple(files))


def test_a_segment_that_creates_a_tablespace_is_refused_once_it_is_asked_for(
    plan: RecoveryPlan, repository: MemoryRepository, spool: Path, tmp_path: Path
) -> None:
    with serving_wal(_creating(plan, repository, 4), repository, CODEC, spool) as server:
        for number in (2, 3, 2, 3):
            assert _asked(server, segment(number).name, tmp_path / "to") == 0
        assert not (spool / "closed").exists(), "a target before it may be reached"

        assert _asked(server, segment(4).name, tmp_path / "to") == 126
        assert _asked(server, segment(5).name, tmp_path / "to") == 126

    assert isinstance(server.failure, TargetNotReached)
    assert "creates tablespace 16384 at /live/space" in str(server.failure)
    assert server.failure.hint


def test_what_is_taken_never_changes_what_lies_ready(server: WalServer, tmp_path: Path) -> None:
    """PostgreSQL removes what an earlier request left; who does not is served as well."""
    to = tmp_path / "RECOVERYXLOG"
    for number in (2, 3, 2, 4, 3, 2):
        assert _asked(server, segment(number).name, to) == 0
        assert to.read_bytes() == segment_content(segment(number))


def test_where_a_segment_cannot_be_linked_it_is_copied(
    server: WalServer, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ln").write_text("#!/bin/sh\nexit 1\n")
    (programs / "ln").chmod(0o755)
    to = tmp_path / "RECOVERYXLOG"
    assert _asked(server, segment(2).name, to) == 0
    assert to.samefile(spool / "ready" / segment(2).name), "it costs nothing"

    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)

    assert _asked(server, segment(3).name, to) == 0
    assert to.read_bytes() == segment_content(segment(3))
    assert not to.samefile(spool / "ready" / segment(3).name)
