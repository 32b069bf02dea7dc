"""Each fault ends a command with its own exit code and a hint; nothing good is lost."""

import hashlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psutil
import pyrage
import pytest

from kb_dr import records
from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.domain import layout
from kb_dr.domain.backup_failure import BackupFailure
from kb_dr.domain.proof import Standing, Verdict
from kb_dr.errors import WalGap
from kb_dr.installation import Installation
from kb_dr.operations.plan_target import Wanted
from kb_dr_tests.faults.s3_proxy import Fault, Kind
from kb_dr_tests.object_stores import RcloneStore
from kb_dr_tests.postgres_servers import RunningCluster
from kb_dr_tests.protected_service import (
    BUCKET,
    SECONDS,
    CopiedService,
    ProtectedService,
    Said,
    ended,
    environment,
)

FOREVER = 10**6


@pytest.fixture
def service(protected_service: ProtectedService) -> Iterator[ProtectedService]:
    """The protected service; its region answers again afterwards."""
    yield protected_service
    protected_service.proxy.heal()


@pytest.fixture
def copied(protected_service: ProtectedService, tmp_path: Path) -> CopiedService:
    """A copy of both repositories, to be damaged."""
    return protected_service.copied(tmp_path / "copied")


# damage in one copy


def overwrite(path: Path, body: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(body)


def flipped_byte(copied: CopiedService) -> None:
    body = bytearray(copied.chunk.read_bytes())
    body[len(body) // 2] ^= 1
    overwrite(copied.chunk, bytes(body))


def missing_chunk(copied: CopiedService) -> None:
    copied.chunk.unlink()


def empty_wal(copied: CopiedService) -> None:
    overwrite(copied.object_of(copied.segments[0]), b"")


def truncated_wal(copied: CopiedService) -> None:
    path = copied.object_of(copied.segments[-1])
    overwrite(path, path.read_bytes()[: path.stat().st_size // 2])


def foreign_wal(copied: CopiedService) -> None:
    """A segment of another cluster, whole and well stored."""
    path = copied.object_of(copied.segments[-1])
    codec = copied.opened().codec
    assert isinstance(codec, AgeCodec)
    plain = bytearray(codec.decode(path.read_bytes()))
    plain[24] ^= 1  # xlp_sysid of XLogLongPageHeaderData
    path.unlink()
    system = copied.stored.manifest.source.system_identifier
    key = layout.wal_key(system, copied.segments[-1], hashlib.sha256(plain).hexdigest())
    copied.opened().repository("offsite").put(key, codec.encode(bytes(plain)))


def newer_schema(copied: CopiedService) -> None:
    newer = replace(copied.stored.manifest, schema_version=records.SCHEMA_VERSION + 1)
    overwrite(copied.root / layout.manifest_key(copied.backup()), records.to_json(newer))


def wrong_identity(copied: CopiedService) -> None:
    key = copied.directory / "another.agekey"
    key.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    copied.settings["KB_DR_AGE_IDENTITY_FILE"] = str(key)
    copied.write(copied.settings)


@pytest.mark.parametrize(
    ("damage", "verify", "restore", "left"),
    [
        (flipped_byte, 61, 14, Standing.FAILED),
        (missing_chunk, 61, 12, Standing.FAILED),
        (empty_wal, 61, 25, Standing.FAILED),
        (truncated_wal, 61, 25, Standing.FAILED),
        (foreign_wal, 61, 25, Standing.FAILED),
        # What cannot be read here was proven elsewhere: it stays what it was.
        (newer_schema, 62, 15, Standing.PROVEN),
        (wrong_identity, 62, 18, Standing.PROVEN),
    ],
)
def test_a_damaged_copy_is_never_proven_and_never_restored(
    copied: CopiedService,
    tmp_path: Path,
    damage: Callable[[CopiedService], None],
    verify: int,
    restore: int,
    left: Standing,
) -> None:
    target = tmp_path / "target"
    assert copied.standing("offsite") is Standing.PROVEN
    damage(copied)

    copied.run("verify", str(copied.backup()), "--from", "offsite").require(
        verify, "FAILED" if verify == 61 else "NOT_PROVEN"
    )
    copied.run("restore", "--backup", str(copied.backup()), "--from", "offsite",
               "--into", str(target)).require(restore)  # fmt: skip

    assert copied.standing("offsite") is left
    assert copied.standing("primary") is Standing.UNPROVEN, "a proof speaks of one copy"
    assert not target.exists()
    assert not list(tmp_path.glob(".*partial*"))
    assert list(copied.directory.glob("scratch/*")) == []
    if damage is not wrong_identity:
        plan = copied.opened().plan_restore(Wanted(backup=copied.backup()), "primary", target)
        assert plan.recovery.stored.digest == copied.stored.digest


class HurriedClock(SystemClock):
    """Nobody waits: a sleep only moves it on."""

    slept = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def test_a_segment_missing_in_the_middle(copied: CopiedService, tmp_path: Path) -> None:
    missing = copied.segments[0]
    copied.object_of(missing).unlink()
    # A restore looks again for half a minute: the segment may be on its way.
    opened = Installation(copied.opened().settings, HurriedClock())

    copied.run("wal", "audit", "--from", "offsite").require(24, missing)
    copied.run("wal", "audit", "--from", "primary").require(0)
    with pytest.raises(WalGap, match=missing) as raised:
        opened.plan_restore(Wanted(backup=copied.backup()), "offsite", tmp_path / "target")
    proof = opened.verify(copied.backup(), "offsite", SilentProgress())

    assert (raised.value.exit_code, bool(raised.value.hint)) == (24, True)
    assert proof.verdict is Verdict.FAILED
    assert copied.standing("offsite") is Standing.FAILED


def test_a_failed_proof_after_a_good_one_turns_that_copys_green_off(
    copied: CopiedService,
) -> None:
    copied.run("status").require(0)
    copied.run("list", "--from", "offsite").require(0)
    flipped_byte(copied)

    copied.run("verify").require(61)

    copied.run("status").require(63, "proof")
    assert "offsite failed" in copied.run("list").require(0).out


# stores


def test_wrong_credentials(service: ProtectedService) -> None:
    wrong = {"KB_DR_REPOSITORY_SECRET_ACCESS_KEY": "not-the-right-secret"}
    for words in (("list",), ("backup", "full"), ("verify", "--from", "primary"), ("init",)):
        said = service.run(*words, **wrong).require(16, "403")
        assert wrong["KB_DR_REPOSITORY_SECRET_ACCESS_KEY"] not in said.out + said.err


def test_a_bucket_that_is_not_there(service: ProtectedService) -> None:
    missing = {"KB_DR_REPOSITORY_URL": "s3://no-such-bucket/org"}
    for words in (("list",), ("backup", "full"), ("init",)):
        service.run(*words, **missing).require(17, "no-such-bucket")


def test_a_region_that_goes_down_while_a_backup_is_uploaded(service: ProtectedService) -> None:
    known = service.backups()
    # Only what this backup writes: PostgreSQL's archiver would rest after three failures.
    service.proxy.inject(Fault(Kind.PASS_THEN, "PUT", in_path="base.tar"))
    service.proxy.inject(Fault(Kind.ANSWER, "PUT", FOREVER, in_path="base.tar"))

    service.run("backup", "full", KB_DR_S3_TIMEOUT_SECONDS="1").require(11)

    assert service.backups() == known
    _nothing_runs_at_the_source(service)


def test_a_region_that_goes_down_while_a_copy_is_uploaded(
    service: ProtectedService, tmp_path: Path
) -> None:
    with RcloneStore(tmp_path / "other") as store:
        store.make_bucket(BUCKET)
        other = {
            "KB_DR_OFFSITE_URL": f"s3://{BUCKET}/{uuid4().hex}",
            "KB_DR_OFFSITE_ENDPOINT_URL": store.endpoint_url,
            "KB_DR_OFFSITE_ACCESS_KEY_ID": store.access_key_id,
            "KB_DR_OFFSITE_SECRET_ACCESS_KEY": store.secret_access_key,
        }
        service.run("init", **other).require(0)
        # It is gone when the second chunk has been read here.
        service.proxy.inject(Fault(Kind.PASS_THEN, "GET", in_path="base.tar"))
        service.proxy.inject(Fault(Kind.PASS_THEN, "GET", in_path="base.tar", then=store.stop))

        service.run("copy", **other, KB_DR_S3_TIMEOUT_SECONDS="1").require(11)

        store.start()
        assert readable_ids(service, other) == []
        service.run("copy", **other).require(0)
        assert readable_ids(service, other) == service.backups()


def readable_ids(service: ProtectedService, settings: dict[str, str]) -> list[str]:
    opened = service.opened(**settings)
    return [line.id for line in opened.overview("offsite") if line.unreadable is None]


def test_a_segment_stored_with_its_answer_lost_is_pushed_again(
    service: ProtectedService, tmp_path: Path
) -> None:
    segment = service.cluster.data / "pg_wal" / service.cluster.archive_everything()
    target = {"KB_DR_REPOSITORY_URL": f"s3://{BUCKET}/{uuid4().hex}",
              "KB_DR_STATE_DIR": str(tmp_path)}  # fmt: skip
    service.run("init", **target).require(0)
    service.proxy.inject(Fault(Kind.LOSE_ANSWER, "PUT", FOREVER, in_path=segment.name))
    service.proxy.inject(Fault(Kind.ANSWER, "GET", FOREVER, in_path=segment.name))
    service.proxy.inject(Fault(Kind.ANSWER, "HEAD", FOREVER, in_path=segment.name))

    service.run("wal", "push", str(segment), **target, KB_DR_S3_TIMEOUT_SECONDS="1").require(11)
    service.proxy.heal()
    service.run("wal", "push", str(segment), **target).require(0)

    keys = [each.key for each in service.opened(**target).primary.list("wal/")]
    assert len(keys) == 1


# the source


def _nothing_runs_at_the_source(service: ProtectedService) -> None:
    service.cluster.wait_for("select not exists (select from pg_stat_replication)")
    service.cluster.wait_for("select not exists (select from pg_locks where locktype = 'advisory')")


def test_postgresql_stopped_in_the_middle_of_a_backup(service: ProtectedService) -> None:
    known = service.backups()
    stop = lambda: service.cluster.stop(signal.SIGQUIT)  # noqa: E731
    service.proxy.inject(Fault(Kind.PASS_THEN, "PUT", in_path="base.tar", then=stop))

    said = service.run("backup", "full", KB_DR_TRANSFERS="1")

    service.cluster.start()
    # Who hears of it first: pg_basebackup, the session with the lock, or the next question.
    assert said.status in (21, 22, 28)
    said.require(said.status)
    assert service.backups() == known
    assert said.status in [each.exit_code for each in _failures(service)]


def _failures(service: ProtectedService) -> list[BackupFailure]:
    repository = service.opened().primary
    return [
        records.from_json(BackupFailure, repository.read(each.key), what=each.key)
        for each in repository.list("failures/")
    ]


def test_a_backup_killed_before_its_manifest_is_none_and_the_next_one_succeeds(
    service: ProtectedService,
) -> None:
    known = service.backups()
    second: list[Said] = []
    first: list[subprocess.Popen[str]] = []

    def meanwhile() -> None:
        second.append(service.run("backup", "full"))
        first[0].kill()

    # Its own list of PostgreSQL's files is the last object before the manifest.
    service.proxy.inject(
        Fault(Kind.PASS_THEN, "PUT", in_path="backup_manifest.zst", then=meanwhile)
    )
    first.append(service.start("backup", "full"))
    assert ended(first[0]).status == -signal.SIGKILL

    second[0].require(26)
    assert service.backups() == known
    _nothing_runs_at_the_source(service)
    service.run("backup", "full").require(0)
    assert len(service.backups()) == len(known) + 1
    assert service.opened().sweep(dry_run=False) == (), "younger than a day: not swept"


class BehindClock(SystemClock):
    """Half an hour ago."""

    def now(self) -> datetime:
        return super().now() - timedelta(minutes=30)


def test_a_clock_that_was_set_back(service: ProtectedService) -> None:
    opened = service.opened()
    known = service.backups()
    behind = Installation(opened.settings, BehindClock())

    stored = behind.back_up(None, SilentProgress())

    assert stored.manifest.id > max(known), "ids keep the order in which backups were taken"
    assert service.backups() == [*known, stored.manifest.id]
    assert any("clock" in note for note in stored.manifest.notes)


# where to restore to


def test_targets_that_are_refused(
    copied: CopiedService, service: ProtectedService, primary: RunningCluster, tmp_path: Path
) -> None:
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "of somebody").write_text("kept")
    data = service.cluster.data
    refused: tuple[tuple[Path, int, dict[str, str]], ...] = (
        (occupied, 44, {}),
        (primary.data, 45, {}),
        (data, 46, {}),  # known by its system identifier alone
        (data.parent, 46, {"KB_DR_SOURCE_DATA_DIRECTORY": str(data)}),
        (Path("/"), 46, {"KB_DR_SOURCE_DATA_DIRECTORY": str(data)}),
        (occupied / "of somebody", 44, {}),
        (occupied / "of somebody" / "below", 40, {}),
        (tmp_path / ("x" * 300), 40, {}),
    )
    for target, status, settings in refused:
        copied.run("restore", "--latest", "--into", str(target), **settings).require(status)

    assert (occupied / "of somebody").read_text() == "kept"
    assert os.listdir(occupied) == ["of somebody"]
    assert primary.value("select 1") == 1
    assert service.cluster.value("select count(*) from knowledge_entries") == 300


def test_a_disk_that_is_too_small(copied: CopiedService, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = 'mount -t tmpfs -o size=8m,mode=0700 tmpfs "$0" && exec "$@"'
    for words, status in (
        (("restore", "--latest", "--into", str(small / "data")), 47),
        (("verify",), 62),
    ):
        done = subprocess.run(
            ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(small),
             *copied.words(*words)],
            env=environment({"KB_DR_SCRATCH_DIR": str(small / "scratch")}),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )  # fmt: skip
        Said(done.returncode, done.stdout, done.stderr).require(status)
    assert copied.standing("offsite") is Standing.PROVEN


# Ctrl-C


@pytest.mark.parametrize(
    ("words", "method", "in_path"),
    [
        (["backup", "full"], "PUT", "base.tar"),
        (["verify", "BACKUP", "--from", "primary"], "GET", "base.tar"),
        (["verify", "BACKUP", "--from", "primary"], "GET", "wal/"),
        (["restore", "--backup", "BACKUP", "--into", "TARGET"], "GET", "base.tar"),
        (["restore", "--backup", "BACKUP", "--into", "TARGET"], "GET", "wal/"),
    ],
    ids=["backup", "verify-fetch", "verify-replay", "restore-fetch", "restore-replay"],
)
def test_ctrl_c_leaves_nothing_behind(
    service: ProtectedService, tmp_path: Path, words: list[str], method: str, in_path: str
) -> None:
    known = service.backups()
    process: list[subprocess.Popen[str]] = []
    interrupt = lambda: process[0].send_signal(signal.SIGINT)  # noqa: E731
    target = tmp_path / "target"
    part = service.segments[0] if in_path == "wal/" else in_path
    service.proxy.inject(Fault(Kind.PASS_THEN, method, in_path=part, then=interrupt))
    given = {"BACKUP": known[0], "TARGET": str(target)}
    process.append(
        service.start(*(given.get(word, word) for word in words),
                      KB_DR_SCRATCH_DIR=str(tmp_path / "scratch"))
    )  # fmt: skip

    ended(process[0]).require(130, "interrupted")

    assert service.backups() == known
    assert list(tmp_path.glob("scratch/*")) == []
    assert not target.exists()
    assert not list(tmp_path.glob(".*partial*"))
    assert not [each for each in psutil.process_iter(["cmdline"]) if _mentions(each, tmp_path)]
    _nothing_runs_at_the_source(service)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_is_heard_while_a_region_hangs(
    stop: signal.Signals, service: ProtectedService, tmp_path: Path
) -> None:
    process: list[subprocess.Popen[str]] = []
    interrupt = lambda: process[0].send_signal(stop)  # noqa: E731
    # Two hang for ever; the third request interrupts.
    service.proxy.inject(Fault(Kind.HANG, "GET", 2, in_path="base.tar"))
    service.proxy.inject(Fault(Kind.PASS_THEN, "GET", in_path="base.tar", then=interrupt))
    process.append(
        service.start("restore", "--backup", service.backups()[0], "--into", str(tmp_path / "x"),
                      KB_DR_S3_TIMEOUT_SECONDS="3600")
    )  # fmt: skip

    ended(process[0]).require(130, "interrupted")

    assert list(tmp_path.iterdir()) == []


def _mentions(process: psutil.Process, path: Path) -> bool:
    return any(str(path) in word for word in process.info["cmdline"] or ())
