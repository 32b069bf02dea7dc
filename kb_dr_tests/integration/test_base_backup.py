"""A base backup of a real server exists only when it is whole, and its WAL is where it is."""

import hashlib
import io
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import cast

import pyrage
import pytest
import zstandard

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import (
    BackupInProgress,
    KbDrError,
    ObjectConflict,
    PostgresCommandFailed,
    PostgresUnavailable,
    RepositoryUnavailable,
    SourceLockLost,
    WalGap,
)
from kb_dr.operations.base_backup import BackupTools, take_base_backup
from kb_dr.operations.catalog import load_catalog, readable
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.sweep import sweep
from kb_dr.ports import Repository
from kb_dr.settings import SourceSettings
from kb_dr_tests.postgres_servers import RunningCluster, fill, programs_of, source_settings
from kb_dr_tests.push_wal import archive_command

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())
CODEC = AgeCodec([RECIPIENT], [str(IDENTITY)])


_SETTINGS = SourceSettings(
    host="",
    port=5432,
    database="postgres",
    user="postgres",
    password=None,
    sslmode="prefer",
    data_directory=None,
)


@dataclass
class Protected:
    """A cluster whose WAL goes into a repository."""

    cluster: RunningCluster
    repository: DirectoryRepository

    def back_up(
        self,
        repository: "Repository | Interrupting | AtTheWal | None" = None,
        *,
        wal_deadline_seconds: float = 120.0,
    ) -> StoredManifest:
        settings = source_settings(self.cluster)
        return take_base_backup(
            cast("Repository", repository or self.repository),  # they pass on what they lack
            CODEC,
            PostgresSource(settings),
            PgBaseBackup(self.cluster.programs, settings),
            SystemClock(),
            SilentProgress(),
            BackupTools(
                "kb",
                "default",
                "test-host",
                chunk_bytes=1024 * 1024,
                wal_deadline_seconds=wal_deadline_seconds,
            ),
        )

    def backups(self) -> list[str]:
        return [each.manifest.id for each in readable(load_catalog(self.repository))]

    def failures(self) -> list[str]:
        return [listed.key for listed in self.repository.list("failures/")]


def protect(cluster: RunningCluster, directory: Path) -> Protected:
    repository = DirectoryRepository(directory, "primary")
    repository.create()
    init_repository(repository, SystemClock(), service="kb", org="default")
    cluster.archive_with(archive_command(directory, RECIPIENT))
    return Protected(cluster, repository)


@pytest.fixture(scope="module")
def shared_cluster(
    postgres_programs: PostgresPrograms, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningCluster]:
    with RunningCluster(postgres_programs, tmp_path_factory.mktemp("protected")) as cluster:
        fill(cluster)
        yield cluster


@pytest.fixture
def protected(shared_cluster: RunningCluster, tmp_path: Path) -> Protected:
    return protect(shared_cluster, tmp_path / "repository")


def stored_tar(repository: Repository, manifest_chunks: tuple[StoredObject, ...]) -> bytes:
    """The tar as ``cat chunks | age -d | zstd -d`` gives it."""
    coded = b"".join(repository.get(chunk) for chunk in manifest_chunks)
    plain = pyrage.decrypt(coded, [IDENTITY])
    return zstandard.ZstdDecompressor().decompressobj().decompress(plain)


def test_a_backup_is_complete_and_its_tar_unpacks_without_us(protected: Protected) -> None:
    stored = protected.back_up()

    manifest = stored.manifest
    assert protected.backups() == [manifest.id]
    assert len(manifest.chunks) > 1
    tar = stored_tar(protected.repository, manifest.chunks)
    assert hashlib.sha256(tar).hexdigest() == manifest.plain_sha256
    assert len(tar) == manifest.plain_bytes
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        names = opened.getnames()
    assert {"backup_label", "global/pg_control", "backup_manifest"} <= set(names)
    assert manifest.wal.start < manifest.wal.stop <= manifest.fingerprint.lsn
    needed = find_needed_wal(protected.repository, manifest)
    assert needed.missing == ()
    assert manifest.postgres_manifest is not None
    kept = protected.repository.get(manifest.postgres_manifest)
    text = zstandard.ZstdDecompressor().decompressobj().decompress(kept)
    assert str(manifest.wal.stop).encode() in text
    assert protected.failures() == []
    assert [each.recall_at_10 > 0.8 for each in manifest.source.vectors] == [True]


def test_two_backups_follow_each_other_with_ids_in_order(protected: Protected) -> None:
    first, second = protected.back_up(), protected.back_up()

    assert protected.backups() == [first.manifest.id, second.manifest.id]


@pytest.mark.parametrize("major", [14, 15, 17, 18])
def test_every_major_version_streams_a_tar_with_its_wal_positions(
    major: int, tmp_path: Path
) -> None:
    with RunningCluster(programs_of(major), tmp_path) as cluster:
        settings = source_settings(cluster)
        program = PgBaseBackup(cluster.programs, settings)
        with program.stream("kb-full-20260101-000000") as stream:
            length = 0
            while data := stream.read(100_000):
                length += len(data)
            end = stream.finish()

        fingerprint, _ = PostgresSource(settings).fingerprint("kb-full-20260101-000000", ())
        assert end.plain_bytes == length
        assert end.wal.start < end.wal.stop <= fingerprint.lsn
        assert PostgresSource(settings).switch_wal() >= fingerprint.lsn


def test_a_backup_of_an_empty_database_succeeds(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with RunningCluster(postgres_programs, tmp_path / "empty") as cluster:
        protected = protect(cluster, tmp_path / "repository")

        stored = protected.back_up()

        assert stored.manifest.fingerprint.tables == ()
        assert stored.manifest.source.schema_version is None
        assert protected.backups() == [stored.manifest.id]


def test_the_positions_are_not_told_before_the_program_has_ended(
    shared_cluster: RunningCluster,
) -> None:
    program = PgBaseBackup(shared_cluster.programs, source_settings(shared_cluster))

    with program.stream("kb-full-20260101-000000") as stream:
        stream.read(1000)
        with pytest.raises(PostgresCommandFailed, match="not read to the end"):
            stream.finish()

    shared_cluster.wait_for("select not exists (select from pg_stat_replication)")


class Interrupting:
    """A repository that does something once, when the first chunk arrives."""

    def __init__(self, inner: Repository, action: Callable[[], object]) -> None:
        self._inner = inner
        self._action = action
        self._done = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        stored = self._inner.put(key, body)
        if "base.tar" in key and not self._done:
            self._done = True
            self._action()
        return stored


def test_a_server_stopped_in_the_middle_leaves_no_backup(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with RunningCluster(postgres_programs, tmp_path / "stopped") as cluster:
        cluster.query("create table filler as select repeat(md5(i::text), 30) as text"
                      " from generate_series(1, 100000) i")  # fmt: skip
        protected = protect(cluster, tmp_path / "repository")
        stopping = Interrupting(protected.repository, lambda: cluster.stop(signal.SIGQUIT))

        with pytest.raises((PostgresCommandFailed, PostgresUnavailable, SourceLockLost)) as raised:
            protected.back_up(stopping)

        assert raised.value.hint
        assert protected.backups() == []
        assert len(protected.failures()) == 1
        cluster.start()
        stored = protected.back_up()
        assert protected.backups() == [stored.manifest.id]


def test_a_repository_that_fails_in_the_middle_stops_the_backup(protected: Protected) -> None:
    def fail() -> None:
        raise RepositoryUnavailable("put: the region is down")

    failing = Interrupting(protected.repository, fail)

    with pytest.raises(RepositoryUnavailable, match="region is down"):
        protected.back_up(failing)

    assert protected.backups() == []
    protected.cluster.wait_for("select not exists (select from pg_stat_replication)")
    assert protected.back_up().manifest.id in protected.backups()


def test_a_lost_lock_ends_the_backup(protected: Protected) -> None:
    def end_session() -> None:
        protected.cluster.query(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
        )

    losing = Interrupting(protected.repository, end_session)

    with pytest.raises(SourceLockLost):
        protected.back_up(losing)

    assert protected.backups() == []


def test_a_lock_lost_after_the_last_chunk_leaves_no_backup(protected: Protected) -> None:
    def end_session() -> None:
        # All WAL is there at the first look: nothing is waited for, and nothing looked at then.
        protected.cluster.archive_everything()
        protected.cluster.query(
            "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'"
        )

    losing = AtTheWal(protected.repository, end_session)

    with pytest.raises(SourceLockLost):
        protected.back_up(losing)

    assert losing.done
    assert protected.backups() == []


class AtTheWal:
    """A repository that does something once, before WAL is listed."""

    def __init__(self, inner: Repository, action: Callable[[], object]) -> None:
        self._inner = inner
        self._action = action
        self.done = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        if prefix.startswith("wal/") and not self.done:
            self.done = True
            self._action()
        return self._inner.list(prefix, start_after=start_after)


def test_a_second_backup_at_once_is_refused_and_the_first_completes(protected: Protected) -> None:
    refused: list[KbDrError] = []

    def second() -> None:
        try:
            protected.back_up()
        except KbDrError as error:
            refused.append(error)

    interrupting = Interrupting(protected.repository, second)
    stored = protected.back_up(interrupting)

    assert [type(error) for error in refused] == [BackupInProgress]
    assert protected.backups() == [stored.manifest.id]


def test_wal_that_goes_elsewhere_makes_no_backup(protected: Protected) -> None:
    protected.cluster.archive_with("/bin/true")

    with pytest.raises(WalGap, match="not in primary") as raised:
        protected.back_up(wal_deadline_seconds=1.0)

    assert "not to this repository" in raised.value.hint
    assert protected.backups() == []


def test_an_archive_command_that_fails_makes_no_backup(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    # A cluster of its own: after three failures the archiver rests for a minute.
    with RunningCluster(postgres_programs, tmp_path / "failing") as cluster:
        protected = protect(cluster, tmp_path / "repository")
        cluster.archive_with("/bin/false")

        with pytest.raises(WalGap, match="not in primary after 1 s") as raised:
            protected.back_up(wal_deadline_seconds=1.0)

        assert "archive_command fails" in raised.value.hint
        assert protected.backups() == []


def test_a_server_that_does_not_archive_is_refused_at_once(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with RunningCluster(
        postgres_programs, tmp_path / "quiet", settings={"archive_mode": "off"}
    ) as cluster:
        repository = DirectoryRepository(tmp_path / "repository", "primary")
        repository.create()
        init_repository(repository, SystemClock(), service="kb", org="default")
        protected = Protected(cluster, repository)

        with pytest.raises(WalGap, match="archive_mode is off") as raised:
            protected.back_up()

        assert "RESET archive_mode" in raised.value.hint
        assert list(protected.repository.list("full/")) == []


def test_a_backup_under_a_taken_id_is_refused(protected: Protected) -> None:
    stored = protected.back_up()
    settings = source_settings(protected.cluster)

    with pytest.raises(ObjectConflict, match="already"):
        take_base_backup(
            protected.repository,
            CODEC,
            PostgresSource(settings),
            PgBaseBackup(protected.cluster.programs, settings),
            SystemClock(),
            SilentProgress(),
            BackupTools("kb", "default", "test-host"),
            backup=stored.manifest.backup_id,
        )


_KILLED = """
import sys
from kb_dr_tests.integration import test_base_backup as tests
tests.back_up_and_hang(*sys.argv[1:])
"""


def back_up_and_hang(
    bin_dir: str, sockets: str, repository: str, recipient: str
) -> None:  # pragma: no cover - runs in a process that is killed
    """Take a backup whose manifest is never stored: say so, and wait to be killed."""
    from kb_dr.operations import backup_run

    def hang(*_: object) -> StoredManifest:
        print("before the manifest", flush=True)
        time.sleep(3600)
        raise AssertionError("nobody killed this process")

    vars(backup_run)["store_manifest"] = hang
    programs = PostgresPrograms(Path(bin_dir))
    settings = replace(_SETTINGS, host=sockets)
    take_base_backup(
        DirectoryRepository(Path(repository), "primary"),
        AgeCodec([recipient]),
        PostgresSource(settings),
        PgBaseBackup(programs, settings),
        SystemClock(),
        SilentProgress(),
        BackupTools("kb", "default", "test-host", chunk_bytes=1024 * 1024),
    )


def test_a_kill_before_the_manifest_leaves_nothing_but_what_is_swept(
    protected: Protected,
) -> None:
    words = [
        str(protected.cluster.programs.bin_dir),
        str(protected.cluster.sockets),
        protected.repository.url.removeprefix("file://"),
        RECIPIENT,
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, *words],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"before the manifest\n"
        with pytest.raises(BackupInProgress):
            protected.back_up()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert protected.backups() == []
    protected.cluster.wait_for(
        "select not exists (select from pg_locks where locktype = 'advisory')"
    )

    stored = protected.back_up()

    assert protected.backups() == [stored.manifest.id]
    good = layout.attempt_prefix(stored.manifest.backup_id, stored.manifest.attempt)
    assert sweep(protected.repository, SystemClock(), dry_run=False) == ()
    left = sweep(protected.repository, SystemClock(), dry_run=True, grace=timedelta(0))
    assert len(left) == 1
    assert sweep(protected.repository, SystemClock(), dry_run=False, grace=timedelta(0)) == left
    keys = [listed.key for listed in protected.repository.list(f"{BackupKind.FULL}/")]
    assert {key for key in keys if not key.startswith(good)} == {
        layout.manifest_key(stored.manifest.backup_id)
    }
    assert [chunk for chunk in stored.manifest.objects if chunk.key not in keys] == []


def test_no_program_outlives_a_process_that_is_killed() -> None:
    # Not pg_basebackup: without a reader that one ends by itself sooner or later.
    script = (
        "import time\n"
        "from kb_dr.adapters.unprivileged import Unprivileged\n"
        "print(Unprivileged().start(['sleep', '600']).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        # Until then it is not tied yet: unshare and setpriv come first.
        _await(lambda: _name(child) == "sleep")
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    _await(lambda: _name(child) != "sleep")


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def _name(pid: int) -> str:
    """What a process runs; empty once it is gone, or has ended and nobody has noticed."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return ""
    return "" if "zombie" in status else status.split()[1]


@pytest.fixture(autouse=True)
def _no_session_is_left(shared_cluster: RunningCluster) -> Iterator[None]:
    yield
    if shared_cluster.data.exists():
        shared_cluster.wait_for(
            "select not exists (select from pg_stat_activity where application_name = 'kb-dr')"
        )
