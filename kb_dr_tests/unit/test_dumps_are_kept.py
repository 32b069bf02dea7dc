"""What keeps, copies, lists, counts and lets go, does it with dumps as with base backups."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyrage
import pytest

from kb_dr.adapters.age_codec import AgeCodec
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.catalog_rows import BackupState
from kb_dr.domain.derive_rows import derive_rows
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.key_check import KeyCheck
from kb_dr.domain.lifecycle import lifecycle_rules, needed_days, too_short
from kb_dr.domain.proof import Outcome as Said
from kb_dr.domain.proof import Standing, Verdict
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.tombstone import PurgeStep
from kb_dr.domain.trends import DUMP_BYTES, FULL_BYTES, INCR_BYTES, RTO
from kb_dr.errors import KeyMissing
from kb_dr.operations.catalog import load_catalog, read_manifest, readable
from kb_dr.operations.check_keys import check_keys
from kb_dr.operations.copy_lag import measure_lag
from kb_dr.operations.gather_backup import gather_backup
from kb_dr.operations.gather_trends import gather_trends
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.list_holdings import Place, ancestors, list_holdings
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr.operations.recent_backups import list_names
from kb_dr.operations.reencrypt_backup import reencrypt_backup
from kb_dr.operations.sweep import sweep
from kb_dr.operations.validate_backup import validate_backup
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_copies import QUIET, bring, damage, let_go
from kb_dr_tests.made_dumps import DUMPED, dump_manifest, store_dump
from kb_dr_tests.made_installation import MadeInstallation
from kb_dr_tests.stored_backups import STARTED, store_backup

CODEC = PlainCodec()
DAY = timedelta(days=1)


@pytest.fixture
def installation(tmp_path: Path) -> MadeInstallation:
    return MadeInstallation(tmp_path, local=True)


def of_dumps(memory: MemoryRepository) -> dict[str, bytes]:
    return {key: body for key, body in memory.bodies.items() if key.startswith("dump/")}


def test_a_dump_is_brought_to_every_copy_with_the_same_manifest_and_no_wal(
    installation: MadeInstallation,
) -> None:
    dump = store_dump(installation.primary, CODEC)

    assert bring(installation, "offsite") == [dump.manifest.id]
    copied = installation.copy_backup(dump.manifest.backup_id, "local", QUIET)

    assert (copied.digest, copied.objects, copied.wal_files) == (dump.digest, 3, 0)
    for memory in (installation.offsite, installation.local):
        assert of_dumps(memory) == of_dumps(installation.primary)
        assert not any(key.startswith("wal/") for key in memory.bodies)
    assert installation.lacking("offsite").wanted == ()


def test_copying_a_dump_follows_wal_as_copying_any_backup_does(
    installation: MadeInstallation,
) -> None:
    installation.has_backup()
    dump = store_dump(installation.primary, CODEC)

    installation.copy_backup(dump.manifest.backup_id, "offsite", QUIET)

    wal = {key for key in installation.primary.bodies if key.startswith("wal/")}
    assert wal
    assert wal <= installation.offsite.bodies.keys()


def test_a_copy_that_let_go_of_a_dump_is_not_brought_it_again(
    installation: MadeInstallation,
) -> None:
    dump = store_dump(installation.primary, CODEC)
    let_go(installation, dump, PurgeStep.EXPIRED)

    assert bring(installation, "local") == []
    assert installation.lacking("local").let_go == (dump.manifest.id,)


def test_a_damaged_dump_is_mended_from_another_copy(installation: MadeInstallation) -> None:
    dump = store_dump(installation.primary, CODEC)
    bring(installation, "offsite")
    whole = dict(installation.offsite.bodies)
    spoilt = [
        damage(installation.offsite, ".dump.zst.age.00001", "flip"),
        damage(installation.offsite, "globals.sql", None),
    ]

    (mended,) = installation.repair(None, "offsite", QUIET)

    assert not isinstance(mended, Exception)
    assert mended.backup_id == dump.manifest.id
    assert len(mended.mended) == len(spoilt)
    assert of_dumps(installation.offsite) == {
        key: body for key, body in whole.items() if key.startswith("dump/")
    }


@pytest.mark.parametrize("deep", [False, True])
def test_a_whole_dump_validates_and_nothing_is_said_of_wal(deep: bool) -> None:
    repository = MemoryRepository()
    dump = store_dump(repository, CODEC)

    found = validate_backup(
        repository, CODEC, dump.manifest.backup_id, RecordingProgress(), deep=deep
    )

    assert found.sound
    assert [(each.subject, each.outcome) for each in found.findings] == [("objects", Said.PASSED)]
    assert found.objects == 3


@pytest.mark.parametrize("part", [".dump.zst.age.00000", ".dump.zst.age.00001", "globals.sql"])
@pytest.mark.parametrize("how", ["flip", b"short", None])
def test_what_is_wrong_with_a_dump_is_named(part: str, how: bytes | str | None) -> None:
    repository = MemoryRepository()
    dump = store_dump(repository, CODEC)
    key = damage(repository, part, how)

    found = validate_backup(
        repository, CODEC, dump.manifest.backup_id, RecordingProgress(), deep=True
    )

    assert not found.sound
    assert key in {each.subject for each in found.findings}


def test_an_unfinished_dump_is_swept_and_a_complete_one_stays() -> None:
    clock = FakeClock(DUMPED)
    repository = MemoryRepository(clock=clock)
    dump = store_dump(repository, CODEC)
    whole = of_dumps(repository)
    unfinished = dump_manifest(repository, CODEC, started=DUMPED + DAY)
    clock.pass_time(3 * DAY)
    store_backup(repository, CODEC, started=STARTED + 3 * DAY)

    swept = sweep(repository, clock, dry_run=False)

    assert swept == (layout.attempt_prefix(unfinished.backup_id, unfinished.attempt),)
    assert of_dumps(repository) == whole
    assert read_manifest(repository, dump.manifest.backup_id) == dump


def test_a_held_dump_says_why(installation: MadeInstallation) -> None:
    dump = store_dump(installation.primary, CODEC)
    held = installation.hold(dump.manifest.backup_id, "case 7")

    assert held.copies == ("primary",)
    assert [each.reason for each in installation.holds(dump.manifest.backup_id)] == ["case 7"]
    (row,) = installation.overview("primary")
    assert row.holds == ("case 7",)


def test_the_catalog_has_the_rows_of_a_dump(installation: MadeInstallation) -> None:
    dump = store_dump(installation.primary, CODEC)
    bring(installation, "offsite")
    installation.has_proof(dump, Verdict.PROVEN)
    places = [Place(each.name, each.url, each) for each in installation.memory.values()]

    listings = [list_holdings(each, "kb") for each in places]
    rows = derive_rows(gather_backup(dump.manifest.backup_id, listings), None)

    assert (rows.log.backup_type, rows.log.status) == ("dump", BackupState.VERIFIED)
    assert rows.log.checksum_sha256 == dump.digest
    assert rows.log.checksum_md5
    assert rows.log.backup_size_bytes == dump.manifest.stored_bytes
    assert {each.copy: each.standing for each in rows.copies} == {
        "primary": Standing.UNPROVEN, "offsite": Standing.PROVEN,
    }  # fmt: skip
    (row,) = rows.manifests
    assert (row.kind, row.objects, row.wal_start) == ("dump", 3, row.wal_stop)


def test_no_rows_of_an_increment_are_made_anew_for_a_dump() -> None:
    repository = MemoryRepository()
    base = store_backup(repository, CODEC)
    store_increment(repository, CODEC, base, hours=3)
    place = Place(repository.name, repository.url, repository)
    before = ancestors(list_holdings(place, "kb"))

    store_dump(repository, CODEC)

    assert before
    assert ancestors(list_holdings(place, "kb")) == before


def test_a_report_has_a_line_of_each_dump_and_reads_its_bytes(
    installation: MadeInstallation,
) -> None:
    base = installation.has_backup()
    dump = store_dump(installation.primary, CODEC)
    key = damage(installation.primary, "globals.sql", "flip")

    found = _report(installation)

    primary = next(each for each in found.copies if each.copy == "primary")
    assert [(each.id, each.kind) for each in primary.backups] == [
        (base.manifest.id, BackupKind.FULL), (dump.manifest.id, BackupKind.DUMP),
    ]  # fmt: skip
    assert primary.reread is not None
    assert [key in each for each in primary.reread.damaged] == [True]


def test_a_proven_dump_covers_no_copy_and_no_base_backup(installation: MadeInstallation) -> None:
    installation.has_backup()
    dump = store_dump(installation.primary, CODEC)
    installation.has_proof(dump, Verdict.PROVEN, copy="primary")
    dump_alone = store_dump(installation.offsite, CODEC)
    installation.has_proof(dump_alone, Verdict.PROVEN)
    installation.made_clock.set(DUMPED + 2 * DAY)

    found = _report(installation)

    assert (found.coverage.backups, found.coverage.copies) == (0.0, 0.0)
    assert found.coverage.dumps == 1.0
    assert "offsite: no backup" in found.shortfalls
    assert any(each.startswith("primary: no backup was proven") for each in found.shortfalls)


def test_a_dump_that_failed_is_in_the_report(installation: MadeInstallation) -> None:
    installation.has_backup()
    dump = store_dump(installation.primary, CODEC)
    installation.has_proof(dump, Verdict.FAILED, copy="primary")

    assert any(dump.manifest.id in each for each in _report(installation).shortfalls)


def _report(installation: MadeInstallation) -> IntegrityReport:
    return installation.make_report(QUIET, every_byte=True)


def test_figures_of_dumps_are_no_figures_of_increments_nor_of_recovery(
    installation: MadeInstallation,
) -> None:
    base = installation.has_backup()
    dump = store_dump(installation.primary, CODEC)
    installation.has_proof(dump, Verdict.PROVEN, copy="primary")
    installation.made_clock.set(DUMPED + 2 * DAY)
    report = _report(installation)

    for reports in ((), (report,)):
        found = gather_trends([installation.primary], reports, installation.clock.now()).series

        assert [each.of for each in found[DUMP_BYTES]] == [dump.manifest.id]
        assert [each.of for each in found[FULL_BYTES]] == [base.manifest.id]
        assert found[INCR_BYTES] == ()
        assert found[RTO] == ()


def test_a_dump_that_is_not_offsite_is_missed_there(installation: MadeInstallation) -> None:
    primary, offsite = installation.primary, installation.offsite
    dump = store_dump(primary, CODEC)
    later = dump.manifest.finished + timedelta(hours=2)

    lag = measure_lag(
        primary, offsite, {each.name: list_names(each) for each in (primary, offsite)}, {},
        installation.let_go, KnownEntries(), later, service="kb", made_at=STARTED,
    )  # fmt: skip

    assert lag.backups == {dump.manifest.id: 7200.0}


def test_dumps_are_in_the_second_line_of_a_bucket_and_never_before_the_policy() -> None:
    policy = RetentionPolicy()
    rules = {each.prefix: each for each in lifecycle_rules(policy, [])}

    assert rules["dump/"].expire_days == rules["full/"].expire_days
    short = replace(rules["dump/"], expire_days=needed_days(policy) - 1)
    assert too_short([rules["dump/"]], policy) == ()
    (said,) = too_short([short], policy)
    assert "dump/" in said


def test_the_keys_of_a_dump_are_tried_and_those_of_its_globals() -> None:
    old, new = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    repository = MemoryRepository()
    dump = store_dump(repository, AgeCodec([str(old.to_public())], [str(old)]))
    codec = AgeCodec([str(new.to_public())], [str(new)])
    check = KeyCheck(codec.identities)

    check.add_all(check_keys(repository, codec))

    roles = dump.manifest.dump.globals if dump.manifest.dump else None
    assert roles is not None
    assert {each.key for each in check.bad} == {dump.manifest.chunks[0].key, roles.key}


def test_a_dump_is_encrypted_anew_with_its_globals() -> None:
    old, new = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    repository = MemoryRepository()
    dump = store_dump(repository, AgeCodec([str(old.to_public())], [str(old)]))
    codec = AgeCodec([str(new.to_public())], [str(old), str(new)])

    only_old = AgeCodec([str(new.to_public())], [str(old)])

    with pytest.raises(KeyMissing):
        reencrypt_backup(repository, only_old, dump.manifest.backup_id, RecordingProgress())
    done = reencrypt_backup(repository, codec, dump.manifest.backup_id, RecordingProgress())
    again = reencrypt_backup(repository, codec, dump.manifest.backup_id, RecordingProgress())

    made = done.stored.manifest
    assert (made.kind, made.replaces, done.wal.files) == (BackupKind.DUMP, dump.manifest.id, 0)
    assert made.plain_sha256 == dump.manifest.plain_sha256
    assert again.already
    opened = AgeCodec([str(new.to_public())], [str(new)])
    assert made.dump is not None
    assert made.dump.globals is not None
    assert opened.decode(repository.get(made.dump.globals)) == b"create role kb;\n"
    assert validate_backup(repository, opened, made.backup_id, RecordingProgress(), deep=True).sound
    assert _ids(repository) == [dump.manifest.id, made.id]


def _ids(repository: MemoryRepository) -> list[str]:
    return [each.manifest.id for each in readable(load_catalog(repository, kinds=ALL_KINDS))]
