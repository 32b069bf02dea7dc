"""A dump beside every full backup of a world, and retention let loose upon both."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from kb_dr.domain.backup_families import DUMPS, PHYSICAL
from kb_dr.domain.backup_id import BackupKind
from kb_dr.domain.clusters_apart import clusters_apart, plan_each_apart
from kb_dr.domain.plan_wal_retention import ListedWal, plan_wal, wal_boundaries
from kb_dr.domain.retention import Candidate, ExpiredBackup, RetentionPlan, WalRange
from kb_dr.domain.retention_families import plan_families
from kb_dr_tests.retention_world import World


def as_dump(backup: Candidate) -> Candidate:
    """A dump of the same moment, with the same proofs, holds and locks."""
    return replace(
        backup, id=backup.id.replace("-full-", "-dump-"), kind=BackupKind.DUMP, wal=None,
        replaces=backup.replaces and backup.replaces.replace("-full-", "-dump-"),
    )  # fmt: skip


def families_are_apart(world: World, listed: Sequence[ListedWal]) -> Counter[str]:
    """Dumps change nothing for base backups and WAL, nor these anything for dumps: each goes
    as it would go alone, though proofs of the one family fail and of the other do not. Only that
    clusters take turns is learnt from base backups: dumps have no increments to show it by.
    Returns what it came by.
    """
    candidates, expired = [world.candidate(each) for each in world.present], world.expired()
    dumps = [as_dump(each) for each in candidates if each.parent is None]
    gone = [
        replace(each, backup=as_dump(each.backup)) for each in expired if each.backup.parent is None
    ]
    failing = ("the newest proof FAILED",) if world.failing else ()

    def planned(
        some: list[Candidate], over: list[ExpiredBackup]
    ) -> tuple[RetentionPlan, tuple[WalRange, ...]]:
        made = plan_families(
            some,
            world.policy,
            world.ours,
            copy="primary",
            url="memory",
            newest_stored=world.newest_stored,
            expired=over,
            stops_of={PHYSICAL: failing},
        )
        boundaries = wal_boundaries(made, some, world.policy, over)
        return made, plan_wal(listed, boundaries)[0]

    both, wal = planned([*candidates, *dumps], [*expired, *gone])
    base, wal_alone = planned(candidates, expired)
    alone = plan_each_apart(
        dumps,
        world.policy,
        world.ours,
        copy="primary",
        url="memory",
        newest_stored=world.newest_stored,
        expired=gone,
        kinds=DUMPS,
        known_apart=clusters_apart(candidates),
    )

    assert wal == wal_alone
    of_dumps = {each.id for each in (*dumps, *(one.backup for one in gone))}
    for ours, ids in ((base, False), (alone, True)):
        assert ours.decisions == tuple(
            each for each in both.decisions if (each.id in of_dumps) is ids
        )
        assert ours.purge_now == tuple(each for each in both.purge_now if (each in of_dumps) is ids)
        assert ours.prove_next == tuple(
            each for each in both.prove_next if (each in of_dumps) is ids
        )
    return Counter(
        {
            "dumps alone went": bool(alone.expire) and not base.expire,
            "dumps went beside base backups": bool(alone.expire and base.expire),
        }
    )
