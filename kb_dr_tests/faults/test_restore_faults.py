"""A restore that cannot be complete ends in its own error, and leaves the target as it was."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pyrage
import pytest

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.postgres_host import LocalPostgresHost
from kb_dr.domain.layout import wal_key
from kb_dr.domain.manifest import Source
from kb_dr.domain.recovery import ControlFile
from kb_dr.errors import (
    ChecksumMismatch,
    KbDrError,
    KeyMissing,
    ObjectMissing,
    RepositoryUnavailable,
    TargetNotReached,
    WalDamaged,
    WalGap,
    WrongCluster,
)
from kb_dr.operations.plan_target import Wanted, plan_target
from kb_dr.operations.restore_postgres import Restored, plan_restore, restore_postgres
from kb_dr.ports import Codec, Repository
from kb_dr_tests.fakes import FakeClock
from kb_dr_tests.protected_cluster import LostCluster

_CHILD = Path(__file__).with_name("restore_child.py")
_SECONDS = 240.0


@pytest.fixture
def lost(lost_cluster: LostCluster, tmp_path: Path) -> LostCluster:
    """The lost cluster with a repository that may be damaged."""
    return lost_cluster.copied(tmp_path)


def restore(
    lost: LostCluster,
    target: Path,
    *,
    repository: Repository | None = None,
    codec: Codec | None = None,
    after_the_plan: Callable[[], None] = lambda: None,
) -> Restored:
    """Plan and carry out; the clock does not wait."""
    source, keys, clock = repository or lost.repository, codec or lost.codec, FakeClock()
    plan = plan_restore(plan_target(source, keys, clock, Wanted()), lost.host, target)
    after_the_plan()
    scratch = lost.scratch(target.parent)
    return restore_postgres(plan, source, keys, lost.host, scratch, clock, SilentProgress())


def refused(
    lost: LostCluster, target: Path, error: type[KbDrError], words: str | None = None
) -> None:
    """It fails so, and nothing appears."""
    with pytest.raises(error, match=words):
        restore(lost, target)
    _nothing_appeared(target)


def _nothing_appeared(target: Path) -> None:
    assert not target.exists()
    assert not list(target.parent.glob(".*partial*")), "leftovers stand beside the target"


def _flip(path: Path, at: int) -> None:
    body = bytearray(path.read_bytes())
    body[at] ^= 0x01
    path.write_bytes(body)


# chunks


def test_a_missing_chunk(lost: LostCluster, tmp_path: Path) -> None:
    lost.chunks[1].unlink()

    refused(lost, tmp_path / "data", ObjectMissing, "00001")


def test_one_flipped_byte_in_a_chunk(lost: LostCluster, tmp_path: Path) -> None:
    _flip(lost.chunks[0], lost.chunks[0].stat().st_size // 2)

    refused(lost, tmp_path / "data", ChecksumMismatch, "00000")


# WAL


def test_a_segment_missing_that_the_backup_needs(lost: LostCluster, tmp_path: Path) -> None:
    planned = plan_target(lost.repository, lost.codec, FakeClock(), Wanted())
    plan = plan_restore(planned, lost.host, tmp_path / "data")
    lost.object_of(plan.recovery.first_segment).unlink()

    refused(lost, tmp_path / "data", WalGap, "which the backup itself needs")


def test_a_segment_missing_in_the_middle(lost: LostCluster, tmp_path: Path) -> None:
    lost.object_of(lost.segments[0]).unlink()

    refused(lost, tmp_path / "data", WalGap, f"{lost.segments[0]} is missing")


def test_a_segment_that_vanishes_after_the_plan_does_not_end_recovery_early(
    lost: LostCluster, tmp_path: Path
) -> None:
    target = tmp_path / "data"

    with pytest.raises(WalGap, match=lost.segments[-1]):
        restore(lost, target, after_the_plan=lost.object_of(lost.segments[-1]).unlink)

    _nothing_appeared(target)


def test_a_segment_of_zero_bytes(lost: LostCluster, tmp_path: Path) -> None:
    os.truncate(lost.object_of(lost.segments[0]), 0)

    refused(lost, tmp_path / "data", WalDamaged, "zero bytes")


@pytest.mark.parametrize("which", [0, -1], ids=["in the middle", "the last"])
def test_a_truncated_segment(lost: LostCluster, tmp_path: Path, which: int) -> None:
    stored = lost.object_of(lost.segments[which])
    os.truncate(stored, stored.stat().st_size // 2)

    refused(lost, tmp_path / "data", WalDamaged, lost.segments[which])


def test_a_damaged_segment_that_the_plan_does_not_read(lost: LostCluster, tmp_path: Path) -> None:
    target = tmp_path / "data"
    stored = lost.object_of(lost.segments[0])

    with pytest.raises(WalDamaged, match=lost.segments[0]):
        restore(lost, target, after_the_plan=lambda: _flip(stored, stored.stat().st_size // 2))

    _nothing_appeared(target)


def test_a_segment_of_another_cluster(lost: LostCluster, tmp_path: Path) -> None:
    stored = lost.object_of(lost.segments[0])
    plain = bytearray(lost.codec.decode(stored.read_bytes()))
    plain[24] ^= 0x01  # its system identifier
    system = lost.stored.manifest.source.system_identifier
    stored.unlink()
    foreign = wal_key(system, lost.segments[0], hashlib.sha256(plain).hexdigest())
    lost.repository.put(foreign, lost.codec.encode(bytes(plain)))

    refused(lost, tmp_path / "data", WalDamaged, "written by cluster")


@pytest.mark.parametrize(
    ("which", "error"), [(0, TargetNotReached), (-2, WalDamaged)], ids=["unread", "read"]
)
def test_a_segment_in_which_wal_ends_is_not_taken_for_the_end_of_the_archive(
    lost: LostCluster, tmp_path: Path, which: int, error: type[KbDrError]
) -> None:
    """It was archived like that, so its digest is right, and PostgreSQL opens the cluster there."""
    stored = lost.object_of(lost.segments[which])
    plain = lost.codec.decode(stored.read_bytes())
    ended = plain[:64] + bytes(len(plain) - 64)  # the page header, and half a record
    system = lost.stored.manifest.source.system_identifier
    stored.unlink()
    key = wal_key(system, lost.segments[which], hashlib.sha256(ended).hexdigest())
    lost.repository.put(key, lost.codec.encode(ended))

    refused(lost, tmp_path / "data", error)


# keys, identities, stores


def test_a_wrong_identity(lost: LostCluster, tmp_path: Path) -> None:
    stranger = AgeCodec([lost.recipient], [str(pyrage.x25519.Identity.generate())])

    with pytest.raises(KeyMissing):
        restore(lost, tmp_path / "data", codec=stranger)

    _nothing_appeared(tmp_path / "data")


def test_wal_of_another_cluster_is_never_replayed_on_these_files(
    lost: LostCluster, tmp_path: Path
) -> None:
    target, clock = tmp_path / "data", FakeClock()
    host = _Impostor([lost.programs.bin_dir])
    planned = plan_target(lost.repository, lost.codec, clock, Wanted())
    plan = plan_restore(planned, host, target)

    with pytest.raises(WrongCluster):
        restore_postgres(
            plan,
            lost.repository,
            lost.codec,
            host,
            lost.scratch(tmp_path),
            clock,
            SilentProgress(),
        )

    _nothing_appeared(target)


class _Impostor(LocalPostgresHost):
    """Finds another cluster's pg_control among the files."""

    def control(self, directory: Path, source: Source) -> ControlFile:
        return replace(super().control(directory, source), system_identifier=1)


class _GoesDown(DirectoryRepository):
    """A store that stops answering for one segment, once it is told to."""

    down_for: str | None = None

    def read(self, key: str) -> bytes:
        if self.down_for is not None and self.down_for in key:
            raise RepositoryUnavailable(f"get {key}: no answer")
        return super().read(key)


@pytest.mark.parametrize("which", [0, -1], ids=["in the middle", "at the end"])
def test_a_store_that_goes_down_during_recovery_stops_it_instead_of_ending_it_early(
    lost: LostCluster, tmp_path: Path, which: int
) -> None:
    store = _GoesDown(lost.root, "primary")

    def go_down() -> None:
        store.down_for = lost.segments[which]

    with pytest.raises(RepositoryUnavailable, match="no answer"):
        restore(lost, tmp_path / "data", repository=store, after_the_plan=go_down)

    _nothing_appeared(tmp_path / "data")


# the machine


def _child(lost: LostCluster, target: Path, *words: str) -> list[str]:
    return [
        *(sys.executable, str(_CHILD), str(lost.programs.bin_dir)),
        *(str(lost.root), str(target), *words),
    ]


@pytest.mark.parametrize("phase", ["unpack", "replay"])
def test_a_disk_that_fills_half_way_is_said_to_be_full(
    lost: LostCluster, tmp_path: Path, phase: str
) -> None:
    """While files are unpacked; and when they fit, and the WAL beside them does not."""
    size = {"unpack": 8 << 20, "replay": lost.stored.manifest.plain_bytes + (6 << 20)}[phase]
    place = tmp_path / "small"
    place.mkdir()
    words = _child(lost, place / "data")
    mount = f'mount -t tmpfs -o size={size},mode=0700 tmpfs "$0" && exec "$@"'

    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(place), *words],
        input=lost.identity,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )

    assert done.stdout.startswith("NotEnoughSpace []"), done.stdout + done.stderr
    assert ("unpack into" in done.stdout) == (phase == "unpack"), done.stdout


def test_a_restore_that_is_killed_leaves_no_target_and_the_next_one_cleans_up(
    lost: LostCluster, tmp_path: Path
) -> None:
    target = tmp_path / "place" / "data"
    target.parent.mkdir()
    child = subprocess.Popen(
        _child(lost, target, "stall"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(lost.identity)
        child.stdin.close()
        assert child.stdout.readline() == "stalled\n"
        (partial,) = target.parent.glob(".data.kb-dr-partial-*")
        child.send_signal(signal.SIGKILL)
        child.wait(_SECONDS)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()

    assert not target.exists()
    assert partial.exists()
    restore(lost, target)
    assert (target / "PG_VERSION").exists()
    assert not partial.exists()
    left = [each for each in psutil.process_iter(["cmdline"]) if _mentions(each, partial)]
    assert not left, "a server outlived its restore"


def _mentions(process: psutil.Process, path: Path) -> bool:
    return any(str(path) in word for word in process.info["cmdline"] or ())


def test_scratch_of_a_live_restore_is_never_reaped(lost: LostCluster, tmp_path: Path) -> None:
    scratch = lost.scratch(tmp_path)

    with scratch.area("proof") as area:
        assert scratch.reap() == ()
        assert area.root.is_dir()
        copy = tmp_path / "scratch" / "kb-dr-scratch-proof-killed"
        shutil.copytree(area.root, copy)  # the same files, and nobody who holds them
        assert scratch.reap() == (str(copy),)
        assert area.root.is_dir()
    assert not area.root.exists()
