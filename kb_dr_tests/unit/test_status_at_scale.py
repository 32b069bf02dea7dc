"""What a status costs does not grow with how many backups there ever were; and it says so."""

from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.far_enough import LOOKED_AT
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Outcome, Verdict
from kb_dr.domain.status import Status
from kb_dr.operations.catalog import read_manifest, store_manifest
from kb_dr.operations.proofs import store_proof
from kb_dr.operations.status import take_status
from kb_dr.settings import Objectives
from kb_dr_tests.bench.made_history import CODEC, ORG, SERVICE, History, make_history
from kb_dr_tests.counting_repository import CountingRepository
from kb_dr_tests.fakes import FakeClock, MemoryRepository
from kb_dr_tests.made_installation import made_proof
from kb_dr_tests.stored_backups import STARTED

OBJECTIVES = Objectives(3600.0, 4 * 3600.0, 26 * 3600.0, 8 * 86400.0)
EACH = 4
"""Segments a backup."""


class Site:
    """One repository with a backup an hour and a proof a day."""

    def __init__(self, backups: int) -> None:
        self.memory = MemoryRepository()
        self.history = History(backups, EACH * backups, STARTED, self.memory.url)
        make_history(self.history, self.memory.bodies.__setitem__)
        self.clock = FakeClock(STARTED)
        self.counting = CountingRepository(self.memory)

    def status(self, limits: Objectives = OBJECTIVES, *, everything: bool = False) -> Status:
        return take_status(
            [self.counting],
            CODEC,
            self.clock,
            limits,
            service=SERVICE,
            org=ORG,
            everything=everything,
        )

    def backup(self, number: int) -> StoredManifest:
        """One of them; negative numbers count from the newest."""
        number %= self.history.backups
        started = self.history.started(number)
        return read_manifest(self.memory, BackupId.of(SERVICE, BackupKind.FULL, started))

    def add_increment(self, like: StoredManifest, parent: StoredManifest) -> StoredManifest:
        """An increment, made a minute after a backup that stands there."""
        started = like.manifest.started + timedelta(minutes=1)
        backup = BackupId.of(SERVICE, BackupKind.INCR, started)
        made = replace(
            like.manifest,
            id=str(backup),
            kind=BackupKind.INCR,
            parent=parent.manifest.id,
            parent_digest=parent.digest,
            started=started,
            finished=started + timedelta(minutes=1),
        )
        return store_manifest(self.memory, made)

    def forget_proofs(self) -> None:
        for key in [key for key in self.memory.bodies if key.startswith(layout.PROOFS)]:
            del self.memory.bodies[key]

    def prove(self, number: int, verdict: Verdict = Verdict.PROVEN) -> None:
        store_proof(self.memory, made_proof(self.backup(number), verdict, copy="primary"))


def broken(status: Status) -> dict[str, Outcome]:
    return {each.subject: each.outcome for each in status.objectives if not each.good}


def note(status: Status) -> str:
    return next((each for each in status.notes if "looked at" in each), "")


@pytest.mark.parametrize("backups", [400, 1600])
def test_calls_and_keys_do_not_grow_with_the_history(backups: int) -> None:
    site = Site(backups)

    status = site.status()

    assert broken(status) == {}
    calls = site.counting.calls
    manifests = [key for key in site.counting.read_keys if key.endswith("manifest.json")]
    assert len(manifests) == LOOKED_AT[0]
    assert calls["list"] <= 12
    assert calls["read"] <= LOOKED_AT[0] + 10
    # WAL of what was looked at, the backups of eight days, a few proofs.
    assert calls["keys"] <= EACH * LOOKED_AT[0] + 3 * 8 * 24 + 50
    whole = [prefix for prefix, after in site.counting.listed if not after]
    assert not [
        prefix for prefix in whole if prefix.startswith("wal/") and ".partial" not in prefix
    ]


def test_a_look_at_everything_costs_one_listing_and_one_read_of_each() -> None:
    site = Site(400)

    status = site.status(everything=True)

    assert broken(status) == {}
    calls = site.counting.calls
    assert calls["list"] <= 20
    assert calls["read"] <= 400 + 400 // 24 + 20
    assert note(status) == ""


def test_what_was_not_looked_at_is_not_claimed() -> None:
    site = Site(400)
    old = layout.manifest_key(site.backup(0).manifest.backup_id)
    site.memory.bodies[old] = b"damaged"

    status, full = site.status(), site.status(everything=True)

    (copy,) = status.copies
    begin = site.history.started(400 - LOOKED_AT[0])
    assert copy.looked_since == begin.replace(microsecond=0)
    assert copy.proven_share is None
    assert "32 backups since" in note(status)
    assert "nothing is said of older ones" in note(status)
    assert all(window.or_earlier for window in status.windows)
    assert full.copies[0].looked_since is None
    assert set(broken(full)) == {"primary can be read"}
    assert not any(window.or_earlier for window in full.windows)


def test_it_looks_back_until_it_finds_a_proven_backup_over_wal_without_a_gap() -> None:
    site = Site(400)
    site.forget_proofs()
    site.prove(-100)

    status = site.status()

    (copy,) = status.copies
    assert len(copy.backups) == LOOKED_AT[1]
    assert status.rpo[0].base is not None
    assert status.rpo[0].base.id == site.backup(-100).manifest.id
    assert broken(status).keys() <= {"RTO forecast from primary"}  # no phases in that proof


def test_a_red_one_does_not_end_the_search_for_a_proven_one() -> None:
    site = Site(400)
    site.forget_proofs()
    site.prove(-100)
    site.prove(-120, Verdict.FAILED)
    site.prove(-10, Verdict.FAILED)

    status = site.status()

    assert status.rpo[0].base is not None
    assert status.rpo[0].base.id == site.backup(-100).manifest.id
    assert "newest backup in primary" in broken(status)


def test_a_gap_between_the_proven_backup_and_now_is_found_however_old_it_is() -> None:
    site = Site(400)
    site.forget_proofs()
    site.prove(-100)
    first = site.backup(-60).manifest.wal.start
    name = f"{1:08X}{0:08X}{first // (1 << 20):08X}"
    (gone,) = [key for key in site.memory.bodies if f"/{name}-" in key]
    del site.memory.bodies[gone]

    status = site.status()

    assert "RPO of primary" in broken(status)
    assert len(status.windows) == 2


def test_where_nothing_was_proven_for_long_it_stops_and_says_so() -> None:
    site = Site(700)
    site.forget_proofs()
    site.prove(-600)

    status = site.status()

    (copy,) = status.copies
    assert len(copy.backups) == LOOKED_AT[-1]
    seen = broken(status)
    assert seen["RPO of primary"] is Outcome.COULD_NOT_RUN
    assert seen["newest backup in primary"] is Outcome.COULD_NOT_RUN
    assert "512 backups since" in note(status)
    assert "RPO of primary" not in broken(site.status(everything=True))


def test_it_looks_back_as_far_as_a_proof_may_be_old() -> None:
    """Proofs once a month, and a backup each hour; or one a week, and four an hour."""
    site = Site(700)
    site.forget_proofs()
    site.prove(-600)
    monthly = replace(OBJECTIVES, proof_age_seconds=32 * 86400.0)

    status, full = site.status(monthly), site.status(monthly, everything=True)

    assert broken(status).keys() == broken(full).keys() <= {"RTO forecast from primary"}
    assert status.copies[0].looked_since is None or status.rpo[0].base is not None


def test_an_old_red_behind_backups_nobody_tried_is_not_passed_over() -> None:
    site = Site(700)
    site.forget_proofs()
    site.prove(-600, Verdict.FAILED)

    assert "newest backup in primary" in broken(site.status())
    assert "newest backup in primary" in broken(site.status(everything=True))


def test_an_increment_is_followed_to_parents_older_than_what_is_looked_at() -> None:
    site = Site(400)
    newest, grand = site.backup(-1), site.backup(-200)
    middle = site.add_increment(site.backup(-50), grand)
    child = site.add_increment(newest, middle)

    seen = {each.id: each for each in site.status().copies[0].backups}

    assert seen[child.manifest.id].usable
    assert seen[child.manifest.id].broken == ""
    assert middle.manifest.id not in seen, "only what it is put together from"
    del site.memory.bodies[layout.manifest_key(grand.manifest.backup_id)]
    seen = {each.id: each for each in site.status().copies[0].backups}
    assert not seen[child.manifest.id].usable
    assert grand.manifest.id in seen[child.manifest.id].broken


def test_an_old_parent_that_failed_makes_its_increment_worth_nothing() -> None:
    site = Site(400)
    child = site.add_increment(site.backup(-1), site.backup(-200))
    site.prove(-200, Verdict.FAILED)

    seen = {each.id: each for each in site.status().copies[0].backups}

    assert not seen[child.manifest.id].usable


@pytest.mark.parametrize("off", [timedelta(days=-500), timedelta(hours=-2)])
def test_a_clock_set_back_hides_no_backup_and_is_told(off: timedelta) -> None:
    site = Site(400)
    site.clock.set(STARTED + off)

    status = site.status()

    newest = status.copies[0].newest_backup
    assert newest is not None
    assert newest.id == site.backup(-1).manifest.id
    assert broken(status)["clocks"] is Outcome.FAILED


def test_a_clock_set_forward_finds_the_newest_all_the_same() -> None:
    site = Site(400)
    site.clock.set(STARTED + timedelta(days=300))

    status = site.status()

    newest = status.copies[0].newest_backup
    assert newest is not None
    assert newest.id == site.backup(-1).manifest.id
    assert "age of the newest backup in primary" in broken(status)


def test_a_copy_that_holds_no_more_than_is_looked_at_was_looked_at_whole() -> None:
    status = Site(LOOKED_AT[0]).status()

    assert status.copies[0].looked_since is None
    assert status.copies[0].proven_share is not None
    assert note(status) == ""
