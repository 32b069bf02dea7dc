"""Dumps and base backups under one policy: neither is ever worth one of the other."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from kb_dr.domain.backup_families import DUMPS, PHYSICAL
from kb_dr.domain.plan_wal_retention import wal_boundaries
from kb_dr.domain.proof import Standing
from kb_dr.domain.retention import Candidate, ExpiredBackup, RetentionPlan
from kb_dr.domain.retention_families import plan_families
from kb_dr_tests.made_candidates import DAYS, NOW, at, dump, full, kept, why

PROVEN = Standing.PROVEN


def plan(*backups: Candidate, **more: Any) -> RetentionPlan:
    return plan_families(backups, DAYS, NOW, copy="primary", url="file:///b", **more)


def gone(made: RetentionPlan) -> Sequence[str]:
    return [each.id for each in made.expire]


def test_a_proven_dump_lets_no_base_backup_go_nor_the_reverse() -> None:
    old_full, old_dump = full("2026-11-01 02:00"), dump("2026-11-01 03:00")
    new_full, new_dump = full("2026-11-27 02:00"), dump("2026-11-27 03:00")

    by_dump = plan(old_full, old_dump, new_full, dump("2026-11-26 03:00", PROVEN), new_dump)
    by_full = plan(old_full, old_dump, full("2026-11-26 02:00", PROVEN), new_full, new_dump)

    assert gone(by_dump) == [old_dump.id]
    assert gone(by_full) == [old_full.id]


def test_each_family_keeps_its_own_newest_and_newest_proven() -> None:
    base, fresh = full("2026-11-01 02:00", PROVEN), full("2026-11-02 02:00")
    dumped = dump("2026-11-05 03:00", PROVEN)

    made = plan(base, fresh, dumped)

    assert kept(made) == {base.id, fresh.id, dumped.id}
    assert why(made, base).endswith("the newest proven")
    assert "the newest proven" in why(made, dumped)


def test_a_day_has_a_base_backup_and_a_dump_of_its_own() -> None:
    base, dumped = full("2026-11-24 02:00"), dump("2026-11-24 03:00")

    made = plan(base, dumped, full("2026-11-27 02:00", PROVEN), dump("2026-11-27 03:00", PROVEN))

    assert {base.id, dumped.id} <= kept(made)
    assert "daily" in why(made, base)
    assert "daily" in why(made, dumped)


def test_dumps_of_two_clusters_whose_base_backups_take_turns_are_planned_apart() -> None:
    bases = [
        full(f"2026-11-{day} 02:{system}0", system=system) for day in (24, 25) for system in (3, 4)
    ]
    ours = replace(dump("2026-11-01 03:00"), system_identifier=3)
    theirs = replace(dump("2026-11-26 03:00", PROVEN), system_identifier=4)

    made = plan(*bases, ours, theirs)

    assert {ours.id, theirs.id} <= kept(made)
    assert "planned by itself" in made.notes[0]


def test_a_failed_proof_stops_its_own_family_alone() -> None:
    backups = [
        full("2026-11-01 02:00"), full("2026-11-27 02:00", PROVEN),
        dump("2026-11-01 03:00"), dump("2026-11-27 03:00", PROVEN),
    ]  # fmt: skip

    of_dumps = plan(*backups, stops_of={DUMPS: ["the newest proof of a dump FAILED"]})
    of_bases = plan(*backups, stops_of={PHYSICAL: ["the newest proof FAILED"]})

    assert gone(of_dumps) == [backups[0].id]
    assert "no dump goes: the newest proof of a dump FAILED" in of_dumps.notes
    assert not of_dumps.stopped
    assert gone(of_bases) == [backups[2].id]
    assert "no base backup and no WAL goes: the newest proof FAILED" in of_bases.notes
    assert of_bases.stopped, "and so no WAL goes"
    assert wal_boundaries(of_bases, backups, DAYS).young_since is None


def test_what_cannot_be_read_stops_both() -> None:
    backups = [
        full("2026-11-01 02:00"), full("2026-11-27 02:00", PROVEN),
        dump("2026-11-01 03:00"), dump("2026-11-27 03:00", PROVEN),
    ]  # fmt: skip

    for more in ({"stops": ["a hold cannot be read"]}, {"unreadable": {"kb-dump-x": "torn"}}):
        made = plan(*backups, **more)

        assert gone(made) == []
        assert sum("nothing goes: " in note for note in made.notes) == 1, made.notes
        assert made.stopped


def test_a_proof_that_would_let_older_ones_go_is_asked_of_each_family() -> None:
    base, dumped = full("2026-11-27 02:00"), dump("2026-11-27 03:00")

    made = plan(full("2026-11-01 02:00"), dump("2026-11-01 03:00"), base, dumped)

    assert set(made.prove_next) == {base.id, dumped.id}


def test_a_dump_that_expired_is_purged_in_its_time_and_undone_by_no_base_backup() -> None:
    over = ExpiredBackup(dump("2026-11-01 03:00"), at("2026-11-10"))

    by_full = plan(full("2026-11-26 02:00", PROVEN), expired=[over])
    by_dump = plan(dump("2026-11-26 03:00", PROVEN), expired=[over])

    assert by_full.purge_now == ()
    assert by_dump.purge_now == (over.backup.id,)


def test_a_dump_keeps_no_wal_and_lets_none_go() -> None:
    bases = [full("2026-11-22 02:00"), full("2026-11-26 02:00", PROVEN)]
    dumps = [dump("2026-10-01 03:00", PROVEN, held="case 7"), dump("2026-11-27 03:00", PROVEN)]
    over = [ExpiredBackup(dump("2026-11-01 03:00"), NOW - timedelta(days=1))]

    alone = wal_boundaries(plan(*bases), bases, DAYS)
    beside = wal_boundaries(plan(*bases, *dumps, expired=over), [*bases, *dumps], DAYS, over)

    assert beside == alone
    assert alone.young_since is not None


def test_where_there_are_dumps_alone_all_wal_stays() -> None:
    dumps = [dump("2026-10-01 03:00"), dump("2026-11-27 03:00", PROVEN)]

    assert wal_boundaries(plan(*dumps), dumps, DAYS).young_since is None


def test_a_plan_is_called_by_another_name_when_a_dump_goes() -> None:
    bases = [full("2026-11-01 02:00"), full("2026-11-27 02:00", PROVEN)]
    dumps = [dump("2026-11-01 03:00"), dump("2026-11-27 03:00", PROVEN)]

    assert plan(*bases).fingerprint != plan(*bases, *dumps).fingerprint
    assert plan(*bases).fingerprint == plan(*bases, dumps[1]).fingerprint
