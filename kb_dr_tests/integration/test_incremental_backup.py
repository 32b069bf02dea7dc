"""What an hourly backup becomes on real servers, and what it leaves when it comes to nothing."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.adapters.clock import SystemClock
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.adapters.log_progress import SilentProgress
from kb_dr.adapters.pg_basebackup import PgBaseBackup
from kb_dr.adapters.postgres_programs import PostgresPrograms
from kb_dr.adapters.postgres_source import PostgresSource
from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.increment import NATIVE, RECOVERY_POINT
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.space import Space
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import BackupInProgress, KbDrError, NotEnoughSpace, RepositoryUnavailable
from kb_dr.operations.backup_chain import load_chain
from kb_dr.operations.incremental_backup import ChainRules, take_incremental_backup
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.sweep import sweep
from kb_dr.operations.validate_backup import validate_backup
from kb_dr.ports import Repository
from kb_dr.sandbox.postgres_binaries import MAJORS_WITH_VECTOR, vector_tree
from kb_dr_tests.incremental_service import (
    SETTINGS,
    SUMMARIZING,
    WORDS,
    IncrementalService,
    incremental_service,
)
from kb_dr_tests.postgres_servers import fill, programs_of
from kb_dr_tests.protected_service import Service
from kb_dr_tests.recoverable import make_ledger, several_writers

OLD_18 = "18.4"
"""The minor release that comes with pgvector: its increments corrupt silently."""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[IncrementalService]:
    """A server that may send increments, with a full backup."""
    with incremental_service(programs_of(17), tmp_path, SUMMARIZING) as made:
        fill(made.cluster)
        made.back_up()
        yield made


def full_of(service: IncrementalService) -> str:
    return next(name for name in service.backups() if "-full-" in name)


def is_sound(service: IncrementalService, stored: StoredManifest) -> bool:
    found = validate_backup(
        service.repository, service.codec, stored.manifest.backup_id, SilentProgress(), deep=True
    )
    return found.sound


@pytest.mark.parametrize("major", [17, 18])
def test_increments_under_load_are_each_the_child_of_the_one_before(
    major: int, tmp_path: Path
) -> None:
    with incremental_service(programs_of(major), tmp_path, SUMMARIZING) as service:
        fill(service.cluster)
        make_ledger(service.cluster)
        taken = [service.back_up()]
        for _ in range(5):
            with several_writers(service.cluster):
                taken.append(service.increment())
        chain = load_chain(service.repository, taken[-1])
        sound = [is_sound(service, each) for each in taken]

    assert [link.digest for link in chain] == [each.digest for each in taken]
    for child in taken[1:]:
        manifest = child.manifest
        assert (manifest.kind, manifest.engine) == (BackupKind.INCR, NATIVE)
        assert not [note for note in manifest.notes if "recovery point" in note]
        assert 0 < manifest.plain_bytes < taken[0].manifest.plain_bytes / 2
    assert all(sound)
    assert service.failures() == []


def test_before_17_a_recovery_point_names_a_state_of_the_parents_wal(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with incremental_service(postgres_programs, tmp_path) as service:
        fill(service.cluster)
        parent = service.back_up()
        service.cluster.query("insert into organizations values (100, 'later')")
        stored = service.increment()
        service.cluster.query("insert into organizations values (101, 'later still')")
        second = service.increment()
        wal = find_needed_wal(service.repository, stored.manifest)
        sound = [is_sound(service, each) for each in (stored, second)]

    manifest = stored.manifest
    assert (manifest.kind, manifest.engine) == (BackupKind.INCR, RECOVERY_POINT)
    assert (manifest.parent, manifest.parent_digest) == (parent.manifest.id, parent.digest)
    assert second.manifest.parent == parent.manifest.id, "points stand on files, not on points"
    assert (manifest.chunks, manifest.plain_bytes, manifest.postgres_manifest) == ((), 0, None)
    assert manifest.wal.start == parent.manifest.wal.start
    assert manifest.wal.stop >= manifest.fingerprint.lsn > parent.manifest.wal.stop
    assert manifest.fingerprint.restore_point == manifest.id
    [rows] = [t.rows for t in manifest.fingerprint.tables if t.table.endswith("organizations")]
    assert rows == 21
    assert wal.missing == wal.doubtful == ()
    assert all(sound)
    assert "came with 17" in manifest.notes[0]


def test_the_command_says_what_it_took_and_why_it_was_no_more(
    postgres_programs: PostgresPrograms, tmp_path: Path
) -> None:
    with incremental_service(postgres_programs, tmp_path) as made:
        fill(made.cluster)
        key = tmp_path / "kb.agekey"
        key.write_text(f"{made.identity}\n")
        command = Service(
            tmp_path / "command",
            {
                "KB_DB_HOST": str(made.cluster.sockets),
                "KB_DB_NAME": "postgres",
                "KB_DR_REPOSITORY_URL": str(tmp_path / "repository"),
                "KB_DR_OFFSITE_URL": str(tmp_path / "offsite"),
                "KB_DR_AGE_RECIPIENTS": made.recipient,
                "KB_DR_AGE_IDENTITY_FILE": str(key),
                "KB_DR_POSTGRES_BIN_DIRS": str(postgres_programs.bin_dir),
                "KB_DR_STATE_DIR": str(tmp_path / "state"),
            },
        )
        command.run("init").require(0)
        full = command.run("backup", "incr", "--json").require(0)
        point = command.run("backup", "incr", "--copy").require(0)

    named = json.loads(full.out)["manifest"]
    assert named["kind"] == "full"
    assert "no usable parent" in named["notes"][0]
    assert f"recovery point on {named['id']}" in point.out
    assert "came with 17" in point.out
    assert command.backups("offsite") == command.backups("primary")
    assert len(command.backups()) == 2


def test_a_minor_that_corrupts_silently_is_refused_with_that_reason(tmp_path: Path) -> None:
    programs = PostgresPrograms(vector_tree(MAJORS_WITH_VECTOR[18]) / "bin", Unprivileged())
    assert programs.version == OLD_18
    with incremental_service(programs, tmp_path, SUMMARIZING) as service:
        fill(service.cluster)
        parent = service.back_up()
        stored = service.increment()

    assert stored.manifest.engine == RECOVERY_POINT
    assert stored.manifest.parent == parent.manifest.id
    (note,) = [each for each in stored.manifest.notes if "recovery point" in each]
    assert "18.4 silently corrupt the visibility map" in note
    assert "expected 18.6 or newer" in note


def test_without_summarize_wal_the_recovery_point_says_so(tmp_path: Path) -> None:
    with incremental_service(programs_of(17), tmp_path) as service:
        fill(service.cluster)
        service.back_up()
        stored = service.increment()

    assert stored.manifest.engine == RECOVERY_POINT
    assert "summarize_wal is off" in stored.manifest.notes[0]


def test_summaries_that_are_gone_leave_a_recovery_point_and_no_debris(
    service: IncrementalService,
) -> None:
    service.cluster.archive_everything()
    service.cluster.query("checkpoint")
    service.cluster.wait_for(
        "select summarized_lsn >= (select redo_lsn from pg_control_checkpoint())"
        " from pg_get_wal_summarizer_state()"
    )
    for summary in (service.cluster.data / "pg_wal" / "summaries").iterdir():
        summary.unlink()

    stored = service.increment()

    manifest = stored.manifest
    assert manifest.engine == RECOVERY_POINT
    assert "WAL summaries are required" in manifest.notes[0]
    assert service.backups() == [full_of(service), manifest.id]
    assert not list(service.repository.list(f"incr/{manifest.backup_id.stamp}/{manifest.attempt}"))
    left = [listed.key for listed in service.repository.list("incr/")]
    assert left == [f"incr/{manifest.backup_id.stamp}/manifest.json"]
    assert service.failures() == []


def test_without_a_parent_it_is_a_full_and_says_so(tmp_path: Path) -> None:
    with incremental_service(programs_of(17), tmp_path, SUMMARIZING) as service:
        asked = BackupId.parse("kb-incr-20261120-033000")
        first = service.increment(backup=asked)
        second = service.increment()
        third = service.increment(longest=1)

    assert first.manifest.id == "kb-full-20261120-033000"
    assert first.manifest.parent is None
    assert "no usable parent: there is no full backup before it" in first.manifest.notes[0]
    assert second.manifest.parent == first.manifest.id
    assert third.manifest.kind is BackupKind.FULL
    assert "1 incremental backups stand on" in third.manifest.notes[0]
    assert service.backups() == [each.manifest.id for each in (first, second, third)]


def test_a_full_that_would_not_fit_is_refused_also_where_an_increment_was_asked_for(
    service: IncrementalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = service.backups()
    monkeypatch.setattr(DirectoryRepository, "space", lambda _: Space(10**9, 10_000))

    with pytest.raises(NotEnoughSpace, match="back up kb-full-"):
        service.increment(longest=0)

    assert service.backups() == before
    assert service.increment().manifest.engine == NATIVE, "what it takes is not known beforehand"


def test_a_promoted_source_begins_with_a_full(service: IncrementalService) -> None:
    cluster = service.cluster
    cluster.stop()
    promote = cluster.data / "recovery.signal"
    promote.touch()
    cluster.programs.unprivileged.give(promote)
    cluster.settings["restore_command"] = "exit 1"
    cluster.configure()
    cluster.start()
    cluster.wait_for("select not pg_is_in_recovery()")

    full = service.increment()
    child = service.increment()

    assert (full.manifest.kind, full.manifest.wal.timeline) == (BackupKind.FULL, 2)
    assert "on timeline 1, the source writes 2" in full.manifest.notes[0]
    assert (child.manifest.parent, child.manifest.engine) == (full.manifest.id, NATIVE)


class FailsAt:
    """A repository that does not answer one put; all others pass."""

    def __init__(self, inner: DirectoryRepository, number: int) -> None:
        self._inner = inner
        self._left = number
        self.failed = False

    def put(self, key: str, body: bytes, *, digest: bool = True) -> StoredObject:
        if key.startswith("failures/"):
            return self._inner.put(key, body)
        self._left -= 1
        if self._left == 0:
            self.failed = True
            raise RepositoryUnavailable(f"put {key}: 503")
        return self._inner.put(key, body)

    def __getattr__(self, name: str) -> Callable[..., object]:
        found: Callable[..., object] = getattr(self._inner, name)
        return found


@pytest.mark.parametrize("summarizes", ["on", "off"])
def test_a_store_that_fails_at_any_write_leaves_nothing_like_a_backup(
    summarizes: str, service: IncrementalService
) -> None:
    service.cluster.query(f"alter system set summarize_wal = {summarizes}")
    service.cluster.query("select pg_reload_conf()")
    service.cluster.query(
        "create table much as select gen_random_uuid() from generate_series(1, 20000)"
    )
    before, number = service.backups(), 0
    while True:
        number += 1
        failing = FailsAt(service.repository, number)
        try:
            stored = service.increment(repository=cast("Repository", failing))
        except RepositoryUnavailable:
            assert failing.failed
            assert service.backups() == before
            assert len(service.failures()) == number
            continue
        break

    assert not failing.failed
    assert number > (1 if summarizes == "off" else 3)
    assert service.backups() == [*before, stored.manifest.id]
    assert is_sound(service, stored)


_STEPS = {
    "before the first byte": ("kb_dr.operations.base_backup", "_store_base"),
    "before the fingerprint": ("kb_dr.adapters.postgres_source", "critical_tables"),
    "before the manifest": ("kb_dr.operations.backup_run", "store_manifest"),
}


def hang_at(step: str, bin_dir: str, sockets: str, repository: str, recipient: str) -> None:
    """Take an increment that stops at one step: say so, and wait to be killed."""
    import importlib

    module, name = _STEPS[step]

    def hang(*_: object, **__: object) -> None:
        print(step, flush=True)
        time.sleep(3600)
        raise AssertionError("nobody killed this process")

    vars(importlib.import_module(module))[name] = hang
    programs = PostgresPrograms(Path(bin_dir))
    settings = replace(SETTINGS, host=sockets)
    place = DirectoryRepository(Path(repository), "primary")
    take_incremental_backup(
        place,
        AgeCodec([recipient]),
        PostgresSource(settings),
        PgBaseBackup(programs, settings),
        SystemClock(),
        SilentProgress(),
        WORDS,
        ChainRules({"primary": place.url}, 24),
    )


@pytest.mark.parametrize("step", _STEPS)
def test_a_kill_leaves_nothing_but_what_is_swept(step: str, service: IncrementalService) -> None:
    process = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys; from kb_dr_tests.integration.test_incremental_backup import hang_at; "
            "hang_at(*sys.argv[1:])",
            step,
            str(service.cluster.programs.bin_dir),
            str(service.cluster.sockets),
            service.repository.url.removeprefix("file://"),
            service.recipient,
        ],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    before = service.backups()
    try:
        assert process.stdout is not None
        assert process.stdout.readline().decode().strip() == step
        with pytest.raises(BackupInProgress):
            service.increment()
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert service.backups() == before
    service.cluster.wait_for("select not exists (select from pg_locks where locktype = 'advisory')")

    stored = service.increment()

    assert service.backups() == [*before, stored.manifest.id]
    assert stored.manifest.engine == NATIVE
    assert sweep(service.repository, SystemClock(), dry_run=True) == ()


def test_a_link_that_goes_while_it_is_taken_leaves_no_child(
    service: IncrementalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = service.increment()
    fingerprint = PostgresSource.fingerprint

    def purged(self: PostgresSource, *what: Any) -> object:
        (Path(service.repository.url.removeprefix("file://")) / key).unlink()
        return fingerprint(self, *what)

    key = f"full/{BackupId.parse(parent.manifest.parent or '').stamp}/manifest.json"
    monkeypatch.setattr(PostgresSource, "fingerprint", purged)

    with pytest.raises(KbDrError, match="is not in primary"):
        service.increment()

    assert service.backups() == [parent.manifest.id]
