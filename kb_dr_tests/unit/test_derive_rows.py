"""Rows are made of records alone; red outweighs green, and what was not read is never green."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr.domain.backup_failure import BackupFailure
from kb_dr.domain.catalog_rows import BackupRows, row_id
from kb_dr.domain.control import ALL
from kb_dr.domain.derive_rows import (
    BackupSeen,
    CopySeen,
    ManifestSeen,
    derive_rows,
    with_older,
)
from kb_dr.domain.hold import HoldAction, HoldEvent
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Proof, Verdict
from kb_dr.domain.tombstone import PurgeStep, Tombstone
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_installation import made_proof
from kb_dr_tests.stored_backups import STARTED, store_backup

STORED: StoredManifest = store_backup(MemoryRepository(), PlainCodec())
BACKUP = STORED.manifest.backup_id
SEEN = ManifestSeen(STORED.manifest, STORED.digest, "5" * 32)


def copy(
    name: str, seen: ManifestSeen | None = None, *, unreadable: str = "", silent: str = ""
) -> CopySeen:
    digest = seen.digest if seen else None
    return CopySeen(name, f"memory://{name}", seen, unreadable, digest, silent)


def proof(verdict: Verdict, copy: str = "primary", minutes: int = 10) -> Proof:
    return made_proof(STORED, verdict, copy=copy, minutes=minutes)


def step(kind: PurgeStep, copy: str = "primary", days: int = 1) -> Tombstone:
    at = STARTED + timedelta(days=days)
    return Tombstone(1, f"{at:%Y%m%d-%H%M%S}-t", str(BACKUP), copy, kind, at, "old", "h",
                     STORED.digest)  # fmt: skip


def hold(action: HoldAction, number: int, *releases: str) -> HoldEvent:
    at = STARTED + timedelta(hours=number)
    return HoldEvent(1, f"e{number}", str(BACKUP), action, at, "why", "h", releases)


FAILURE = BackupFailure(1, str(BACKUP), "a0", STARTED, "WalGap", 24, "wal is missing", "", "h")
HERE, THERE = copy("primary", SEEN), copy("offsite", SEEN)
GONE, NOT_THERE = copy("primary"), copy("offsite")
PROVEN, FAILED = Verdict.PROVEN, Verdict.FAILED
OTHER = replace(SEEN, digest="f" * 64)


@pytest.mark.parametrize(
    ("status", "tested", "seen"),
    [
        ("completed", False, BackupSeen(BACKUP, (HERE, NOT_THERE))),
        ("completed", False, BackupSeen(BACKUP, (HERE,), failures=(FAILURE,))),
        ("completed", False, BackupSeen(BACKUP, (HERE,), (proof(Verdict.NOT_PROVEN),))),
        ("completed", False, BackupSeen(BACKUP, (HERE,), (proof(PROVEN, "offsite"),))),
        ("verified", True, BackupSeen(BACKUP, (HERE, THERE), (proof(PROVEN, "offsite"),))),
        ("verified", True, BackupSeen(BACKUP, (HERE,), (proof(FAILED), proof(PROVEN, minutes=20)))),
        ("verified", True, BackupSeen(BACKUP, (HERE, copy("offsite", silent="down")),
                                      (proof(PROVEN),))),
        ("damaged", False, BackupSeen(BACKUP, (HERE,), (proof(PROVEN), proof(FAILED, minutes=20)))),
        ("damaged", True, BackupSeen(BACKUP, (HERE, THERE),
                                     (proof(PROVEN), proof(FAILED, "offsite")))),
        ("damaged", True, BackupSeen(BACKUP, (HERE, copy("offsite", unreadable="no JSON")),
                                     (proof(PROVEN),))),
        ("damaged", True, BackupSeen(BACKUP, (HERE, copy("offsite", OTHER)), (proof(PROVEN),))),
        ("damaged", False, BackupSeen(BACKUP, (copy("primary", unreadable="no JSON"),),
                                      (proof(PROVEN),))),
        ("failed", False, BackupSeen(BACKUP, (GONE, NOT_THERE), failures=(FAILURE,))),
        ("expired", False, BackupSeen(BACKUP, (GONE,), tombstones=(step(PurgeStep.EXPIRED),))),
        ("expired", False, BackupSeen(BACKUP, (GONE, NOT_THERE), tombstones=(
            step(PurgeStep.EXPIRED), step(PurgeStep.PURGED, days=8),
            step(PurgeStep.EXPIRED, "offsite")))),
        ("purged", True, BackupSeen(BACKUP, (GONE,), (proof(PROVEN),), tombstones=(
            step(PurgeStep.EXPIRED), step(PurgeStep.PURGED, days=8)))),
        ("completed", False, BackupSeen(BACKUP, (GONE, THERE), (proof(PROVEN),),
                                        tombstones=(step(PurgeStep.EXPIRED),))),
        ("lost", False, BackupSeen(BACKUP, (GONE,), tombstones=(
            step(PurgeStep.EXPIRED), step(PurgeStep.UNDELETED, days=2)))),
        ("lost", False, BackupSeen(BACKUP, (GONE,), (proof(PROVEN),))),
        ("lost", False, BackupSeen(BACKUP, (GONE,), (proof(PROVEN),), failures=(FAILURE,))),
        ("unknown", False, BackupSeen(BACKUP, (GONE, copy("offsite", silent="down")),
                                      (proof(PROVEN),))),
        ("unknown", False, BackupSeen(BACKUP, (GONE, copy("offsite", silent="down")),
                                      tombstones=(step(PurgeStep.EXPIRED),))),
    ],
)  # fmt: skip
def test_one_word_for_all_copies(status: str, tested: bool, seen: BackupSeen) -> None:
    log = derive_rows(seen, None).log

    assert (log.status, log.recovery_tested) == (status, tested)
    assert (log.verified_at is not None) is tested
    assert bool(log.error_message) is (status in ("damaged", "failed", "lost", "unknown"))


def test_a_void_green_is_no_test() -> None:
    rows = derive_rows(BackupSeen(BACKUP, (HERE,), (proof(PROVEN),)), ALL)

    assert (rows.log.status, rows.log.recovery_tested) == ("completed", False)
    assert rows.log.recovery_time_seconds is None
    assert rows.proofs[0].void
    assert rows.copies[0].standing == "void"


@pytest.mark.parametrize(("verdict", "standing"), [(PROVEN, "unknown"), (FAILED, "failed")])
def test_with_a_proof_that_cannot_be_read_only_red_is_believed(
    verdict: Verdict, standing: str
) -> None:
    seen = BackupSeen(BACKUP, (HERE,), (proof(verdict),), unread=("proofs/x.json: no JSON",))

    rows = derive_rows(seen, None)

    assert rows.copies[0].standing == standing
    assert rows.log.status != "verified"


def test_a_manifest_that_cannot_be_read_is_not_proven_even_with_the_very_bytes_that_were() -> None:
    there = replace(copy("primary", unreadable="of a newer version"), digest=STORED.digest)

    rows = derive_rows(BackupSeen(BACKUP, (there,), (proof(PROVEN),)), None)

    assert (rows.copies[0].state, rows.copies[0].standing) == ("unreadable", "unknown")
    assert not rows.log.recovery_tested


def test_the_newest_green_of_a_proven_copy_is_the_test_that_counts() -> None:
    older, newer = proof(PROVEN, minutes=10), proof(PROVEN, "offsite", minutes=50)
    seen = BackupSeen(BACKUP, (HERE, THERE), (older, newer, proof(Verdict.NOT_PROVEN, minutes=90)))

    log = derive_rows(seen, None).log

    assert (log.test_timestamp, log.verified_at) == (newer.started, newer.finished)
    assert log.recovery_time_seconds == 90


def test_seconds_are_rounded_up() -> None:
    timed = replace(proof(PROVEN), started=proof(PROVEN).finished - timedelta(seconds=3.01))

    log = derive_rows(BackupSeen(BACKUP, (HERE,), (timed,)), None).log

    assert log.recovery_time_seconds == 4


def test_the_order_in_which_records_are_read_plays_no_part() -> None:
    proofs = (proof(PROVEN), proof(FAILED, "offsite", 20), proof(PROVEN, minutes=30))
    holds = (hold(HoldAction.HOLD, 1), hold(HoldAction.RELEASE, 2, "e1"), hold(HoldAction.HOLD, 3))
    steps = (step(PurgeStep.EXPIRED), step(PurgeStep.PURGED, days=8))
    failures = (FAILURE, replace(FAILURE, attempt="a1", failed_at=STARTED + timedelta(hours=1)))

    one = BackupSeen(BACKUP, (HERE, THERE), proofs, holds, steps, failures)
    other = BackupSeen(
        BACKUP, (HERE, THERE), proofs[::-1], holds[::-1], steps[::-1], failures[::-1]
    )

    assert derive_rows(one, None) == derive_rows(other, None)
    assert [each.in_force for each in derive_rows(one, None).holds] == [False, False, True]


def test_an_expired_backup_keeps_what_its_tombstone_tells() -> None:
    seen = BackupSeen(BACKUP, (GONE,), tombstones=(step(PurgeStep.EXPIRED),), buried=SEEN)

    log = derive_rows(seen, None).log

    assert log.checksum_sha256 == STORED.digest
    assert log.backup_size_bytes == STORED.manifest.stored_bytes
    assert (log.location_local, log.location_s3, log.purged_at) == (None, None, None)


def test_ids_are_the_same_everywhere_and_for_ever() -> None:
    assert str(row_id("kb-full-20261120-020000")) == "c5c9c78b-61c7-559e-94da-5a650964161e"


def test_each_medium_has_its_place() -> None:
    bucket = CopySeen("primary", "s3://bucket/org", SEEN, digest=SEEN.digest)
    disk = CopySeen("local", "/mnt/" + "d" * 600, SEEN, digest=SEEN.digest)

    rows = derive_rows(BackupSeen(BACKUP, (bucket, disk)), None)

    assert rows.log.location_s3 == "s3://bucket/org/full/20261120-020000/"
    assert rows.log.location_local is not None
    assert len(rows.log.location_local) == 512
    assert rows.copies[1].location.endswith("/full/20261120-020000/")


# a note looks at some copies only


def _noted(seen: BackupSeen, older: BackupRows) -> BackupRows:
    return with_older(derive_rows(seen, None), older)


def test_what_was_not_looked_at_stays_as_it_was() -> None:
    older = derive_rows(
        BackupSeen(BACKUP, (HERE, THERE), (proof(PROVEN, "offsite"),), (hold(HoldAction.HOLD, 1),)),
        None,
    )
    there = CopySeen("offsite", "memory://offsite", untouched=True, carried=older.copies[1])
    seen = BackupSeen(BACKUP, (HERE, there), holds=(hold(HoldAction.RELEASE, 2, "e1"),))

    noted = _noted(seen, older)

    assert noted.log.status == "verified"
    assert [each.id for each in noted.proofs] == [each.id for each in older.proofs]
    assert [each.in_force for each in noted.holds] == [False, False]


def test_a_red_proof_noted_takes_the_green_away() -> None:
    older = derive_rows(BackupSeen(BACKUP, (HERE, THERE), (proof(PROVEN),)), None)
    there = CopySeen("offsite", "memory://offsite", untouched=True, carried=older.copies[1])
    seen = BackupSeen(BACKUP, (HERE, there), (proof(PROVEN), proof(FAILED, minutes=30)))

    assert _noted(seen, older).log.status == "damaged"
