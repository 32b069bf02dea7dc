"""Nothing that recovers, judges or counts on recovery ever takes a dump for a base backup."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kb_dr import records
from kb_dr.cli import list_backups, restore, show, status
from kb_dr.cli.app import run
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.proof import Verdict
from kb_dr.errors import NoUsableBackup, PostgresUnavailable, UnreadableRecord
from kb_dr.operations.catalog import load_catalog, read_manifest, readable, unreadable, walk_back
from kb_dr.operations.choose_backup import choose_backup
from kb_dr.operations.copied_chain import brought_wal
from kb_dr.operations.copy_wal import recent_wal
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr.operations.name_backup import next_backup_id
from kb_dr.operations.needed_wal import find_needed_wal, needed_segments
from kb_dr.operations.newest_backup import newest_backup
from kb_dr.operations.newest_first import newest_first
from kb_dr.operations.newest_tries import newest_tries
from kb_dr.operations.plan_recovery import plan_recovery
from kb_dr.operations.plan_target import Wanted, plan_target
from kb_dr.operations.proofs import store_proof
from kb_dr.operations.recovery_windows import list_recovery_windows
from kb_dr.operations.survey import survey
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_dumps import DUMPED, dump_manifest, store_dump
from kb_dr_tests.made_installation import MadeInstallation, made_proof
from kb_dr_tests.stored_backups import SYSTEM, store_backup

CODEC = PlainCodec()


@pytest.fixture
def repository() -> MemoryRepository:
    return MemoryRepository()


def _silent() -> Any:
    raise PostgresUnavailable("ask the source: it is gone")


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeInstallation:
    made = MadeInstallation(tmp_path)
    made.source = cast("Any", SimpleNamespace(facts=_silent))
    for module in (list_backups, restore, show, status):
        monkeypatch.setattr(module, "installation", lambda: made)
    return made


def test_the_latest_is_the_newest_base_backup_however_new_a_dump_is(
    repository: MemoryRepository,
) -> None:
    base = store_backup(repository, CODEC)
    store_dump(repository, CODEC)

    assert choose_backup(repository).stored == base
    assert newest_backup(repository) == base.manifest.backup_id
    assert list(walk_back(repository)) == [base]
    assert readable(load_catalog(repository)) == (base,)


def test_where_there_is_a_dump_alone_there_is_nothing_to_recover_from(
    repository: MemoryRepository,
) -> None:
    store_dump(repository, CODEC)

    for look in (choose_backup, newest_backup):
        with pytest.raises(NoUsableBackup):
            look(repository)
    assert list(list_recovery_windows(repository, CODEC)) == []
    assert recent_wal(repository, SYSTEM) == ""


def test_a_dump_that_is_asked_for_by_its_id_is_refused_and_said_why(
    repository: MemoryRepository,
) -> None:
    store_backup(repository, CODEC)
    dump = store_dump(repository, CODEC)
    clock, backup = FakeClock(), dump.manifest.backup_id

    for refused in (
        lambda: choose_backup(repository, str(backup)),
        lambda: plan_recovery(repository, CODEC, dump, clock),
        lambda: plan_target(repository, CODEC, clock, Wanted(backup=backup)),
        lambda: needed_segments(dump.manifest),
    ):
        with pytest.raises(NoUsableBackup, match="a logical dump is no base of a recovery") as said:
            refused()
        assert "--into URL" in said.value.hint


def test_a_dump_needs_no_wal(repository: MemoryRepository) -> None:
    store_backup(repository, CODEC)
    dump = store_dump(repository, CODEC)

    assert find_needed_wal(repository, dump.manifest).objects == ()
    assert find_needed_wal(repository, dump.manifest).missing == ()
    assert brought_wal(repository, dump) == frozenset()


def test_no_increment_is_built_upon_a_dump(repository: MemoryRepository) -> None:
    base = store_backup(repository, CODEC)
    store_dump(repository, CODEC)
    later = next_backup_id(repository, "kb", DUMPED + timedelta(hours=1), BackupKind.INCR)

    assert [found for _, found in newest_first(repository, later)] == [base]


def test_a_dump_is_named_after_dumps_alone_and_a_base_backup_after_bases(
    repository: MemoryRepository,
) -> None:
    base, dump = store_backup(repository, CODEC).manifest, store_dump(repository, CODEC).manifest

    fresh = next_backup_id(repository, "kb", base.started, BackupKind.DUMP)
    behind = next_backup_id(repository, "kb", dump.started, BackupKind.DUMP)
    full = next_backup_id(repository, "kb", dump.started, BackupKind.FULL)

    assert behind.started == dump.started + timedelta(seconds=1)
    assert full.started == dump.started, "a dump of that second is none of its kind"
    assert fresh.started == behind.started, "ids keep their order when a clock was put back"


def test_status_sees_no_dump_in_backups_windows_and_proofs(repository: MemoryRepository) -> None:
    init_repository(repository, FakeClock(), service="kb", org="default")
    base = store_backup(repository, CODEC)
    dump = store_dump(repository, CODEC)
    proof = made_proof(dump, Verdict.PROVEN, copy="primary")

    seen = survey(
        repository, CODEC, {dump.manifest.id: [proof]}, service="kb", org="default",
        void_through=None,
    )  # fmt: skip

    assert [each.id for each in seen.backups] == [base.manifest.id]
    assert seen.proven == ()


def test_a_dump_beside_stale_backups_turns_no_objective_green(
    installation: MadeInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    base = installation.has_backup()
    installation.has_offsite_copy(base)
    installation.made_clock.sleep(40 * 86400.0)
    assert run(["status", "--json"]) != 0
    before = json.loads(capsys.readouterr().out)
    for copy in ("primary", "offsite"):
        dump = store_dump(
            installation.memory[copy], CODEC, started=installation.clock.now() - timedelta(hours=1)
        )
        installation.has_proof(dump, Verdict.PROVEN, copy=copy)

    assert run(["status", "--json"]) != 0
    after = json.loads(capsys.readouterr().out)

    assert after["objectives"] == before["objectives"]
    assert after["copies"] == before["copies"]
    assert after["windows"] == before["windows"]
    told = [note for note in after["notes"] if "newest dump" in note]
    assert [note.partition(":")[0] for note in told] == [
        "newest dump in primary", "newest dump in offsite",
    ]  # fmt: skip
    assert all(dump.manifest.id in note for note in told)


def test_a_dumps_proof_is_no_turn_of_its_copy(repository: MemoryRepository) -> None:
    base, dump = store_backup(repository, CODEC), store_dump(repository, CODEC)
    old = made_proof(base, Verdict.PROVEN, copy="primary")
    store_proof(repository, old)
    new = replace(made_proof(dump, Verdict.PROVEN, copy="primary"), reach=None)
    store_proof(repository, new)

    assert new.finished > old.finished
    assert newest_tries(repository) == {"primary": old.finished}


def test_a_dumps_manifest_under_a_base_backups_key_is_no_backup(
    repository: MemoryRepository,
) -> None:
    manifest = dump_manifest(repository, CODEC)
    base = store_backup(repository, CODEC).manifest
    for wrong, name in (
        (replace(manifest, id="kb-full-20261121-020000"), "full"),
        (replace(manifest, id="kb-full-20261121-020000", kind=BackupKind.FULL), "full"),
        (replace(base, id="kb-dump-20261121-020000", kind=BackupKind.DUMP), "dump"),
    ):
        key = layout.manifest_key(wrong.backup_id)
        repository.bodies[key] = records.to_json(wrong)

        with pytest.raises(UnreadableRecord, match=f"expected {name}"):
            read_manifest(repository, wrong.backup_id)
        found = unreadable(load_catalog(repository, kinds=ALL_KINDS))
        assert [each.key for each in found] == [key]
        del repository.bodies[key]


def test_list_and_show_say_what_kind_it_is(
    installation: MadeInstallation, capsys: pytest.CaptureFixture[str]
) -> None:
    installation.has_backup()
    dump = store_dump(installation.primary, CODEC)

    assert run(["list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["kind"], row["broken"]) for row in rows] == [("full", None), ("dump", None)]

    assert run(["show", dump.manifest.id]) == 0
    said = capsys.readouterr().out
    assert "custom, by pg_dump 16.14" in said
    assert "no WAL is needed" in said
    assert "restore point" not in said
