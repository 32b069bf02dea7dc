"""PostgreSQL checks: each is a sentence that is true when it is green."""

import json
from collections.abc import Iterator

import dagster as dg

from kb_dr.adapters.log_progress import LogProgress
from kb_dr.defs import ledger
from kb_dr.defs.check_results import SUBJECTS
from kb_dr.defs.failures import reported_failures
from kb_dr.defs.heartbeat import signs_of_life
from kb_dr.defs.metadata import table
from kb_dr.defs.partitions import postgres_backups
from kb_dr.defs.postgres import keys
from kb_dr.defs.postgres.judgement import judge_now
from kb_dr.defs.postgres.report import judgement_metadata
from kb_dr.defs.resources import InstallationDoor
from kb_dr.domain.backup_id import BackupId


@dg.multi_asset_check(
    name="restore_proven",
    can_subset=True,
    specs=[
        dg.AssetCheckSpec(
            "restore_proven",
            asset=keys.BACKUP,
            partitions_def=postgres_backups,
            additional_deps=[keys.RESTORE_PROOF],
            description="The newest conclusive proof of this very manifest, read from the copy "
            "that counts, is PROVEN, and no copy is known to be bad. Not evaluated: nobody tried.",
        )
    ],
)
def restore_proven(
    context: dg.AssetCheckExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> Iterator[dg.AssetCheckResult]:
    """Read from the repositories: what Dagster remembers of earlier runs is no evidence."""
    backup = context.partition_key
    with reported_failures():
        judgement = judge_now(door.open(), backup)
    at = ledger.newest(context.instance, keys.BACKUP, backup)
    if judgement.passed is None:
        context.log.info(f"not evaluated: {judgement.reason}")
        return
    if judgement.passed and (at is None or at.data_version != judgement.digest):
        context.log.warning("not evaluated: this page shows another manifest than was proven")
        return
    yield dg.AssetCheckResult(
        asset_key=keys.BACKUP,
        check_name="restore_proven",
        passed=judgement.passed,
        description=judgement.reason,
        metadata=judgement_metadata(judgement),
    )


@dg.asset_check(
    asset=keys.BACKUP,
    name="every_chunk_is_stored",
    partitions_def=postgres_backups,
)
def every_chunk_is_stored(
    context: dg.AssetCheckExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.AssetCheckResult:
    """Each object the manifest names, and all WAL it needs, stands with the size recorded.

    Bytes are not read here (`kb-dr validate --deep` reads them); a proof reads them all.
    """
    backup = BackupId.parse(context.partition_key)
    with reported_failures(), signs_of_life(context.log.info):
        found = door.open().validate(
            backup, "primary", deep=False, progress=LogProgress(context.log.info)
        )
    bad = [finding for finding in found.findings if not finding.good]
    return dg.AssetCheckResult(
        passed=found.sound,
        description=f"{found.objects} objects looked at, {len(bad)} findings"
        + (f": {bad[0].subject}: {bad[0].seen}" if bad else ""),
        metadata={
            "manifest_digest": dg.MetadataValue.text(found.digest),
            "copy": dg.MetadataValue.text(found.copy),
            "objects": dg.MetadataValue.int(found.objects),
            "size_bytes": dg.MetadataValue.int(found.size_bytes),
            "findings": table(
                ("subject", "outcome", "seen", "hint"),
                ((f.subject, f.outcome, f.seen, f.hint) for f in bad),
            ),
        },
    )


@dg.asset_check(asset=keys.WAL_ARCHIVE, name="wal_archive_has_no_gap")
def wal_archive_has_no_gap(
    context: dg.AssetCheckExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.AssetCheckResult:
    """In each copy each timeline is whole: no gap, no foreign, empty or doubled segment.

    A primary archive with nothing in it is red, and so is a copy that holds backups of a cluster
    and none of its WAL: there is nothing to recover with.
    """
    with reported_failures(), signs_of_life(context.log.info):
        installation = door.open()
        # Before the WAL: a backup that comes in meanwhile has brought its own.
        clusters = {copy: installation.clusters_backed_up(copy) for copy in installation.copies}
        by_copy = {copy: installation.audit_wal(copy) for copy in installation.copies}
    audits = [audit for each in by_copy.values() for audit in each]
    bare = [
        f"{copy} holds backups of cluster {system}, and none of its WAL"
        for copy, found in by_copy.items()
        for system in sorted(clusters[copy] - {audit.system_identifier for audit in found})
    ]
    problems = [problem for audit in audits for problem in audit.archive.problems]
    more = sum(audit.archive.more_problems for audit in audits)
    # Named, so that a further gap behind one that is known is told as well.
    named = {
        f"{problem.kind} {problem.name} in {copy}": problem.detail
        for copy, found in by_copy.items()
        for audit in found
        for problem in audit.archive.problems
    }
    said = [*bare, *(f"{what}: {detail}" for what, detail in named.items())]
    if not by_copy["primary"]:
        said.append("there is no WAL in primary")
    rest = len(bare) + len(problems) + more - 1
    return dg.AssetCheckResult(
        passed=bool(by_copy["primary"]) and not bare and all(audit.passed for audit in audits),
        description=(
            said[0] + (f"; and {rest} more" if rest > 0 else "")
            if said
            else f"no gap in {len(audits)} archives"
        ),
        metadata={
            SUBJECTS: dg.MetadataValue.text(json.dumps([*bare, *named])),
            "segments": dg.MetadataValue.int(sum(a.archive.segments for a in audits)),
            "problems": dg.MetadataValue.int(len(problems) + more),
            "named": table(
                ("kind", "timeline", "name", "detail"),
                ((p.kind, f"{p.timeline:08X}", p.name, p.detail) for p in problems),
            ),
        },
    )


@dg.asset_check(asset=keys.WAL_ARCHIVE, name="copies_have_room")
def copies_have_room(
    context: dg.AssetCheckExecutionContext, door: dg.ResourceParam[InstallationDoor]
) -> dg.AssetCheckResult:
    """In each copy that lies on a file system the next backup fits, and it does not fill up.

    A warning from `KB_DR_SPACE_WARNING_PERCENT` on, an error when the next backup does not fit.
    """
    with reported_failures():
        rooms = door.open().rooms()
    bounded = [each for each in rooms if each.space is not None]
    tight = [each for each in bounded if not each.enough]
    filling = [each for each in bounded if each.filling_up]
    worst = [*tight, *(each for each in filling if each.enough)]
    said = [f"{each.copy}: {each.finding.seen}" for each in worst]
    if not bounded:
        context.log.info("no copy lies on a file system: nothing can fill up")
    return dg.AssetCheckResult(
        passed=not tight and not filling,
        severity=dg.AssetCheckSeverity.ERROR if tight else dg.AssetCheckSeverity.WARN,
        description="; ".join(said) or f"{len(bounded)} of {len(rooms)} copies have a bound",
        metadata={
            SUBJECTS: dg.MetadataValue.text(json.dumps([each.copy for each in worst])),
            "most_used_percent": dg.MetadataValue.float(
                max((e.space.used_percent for e in bounded if e.space is not None), default=0.0)
            ),
            "rooms": table(
                ("copy", "seen", "hint"),
                ((each.copy, each.finding.seen, each.finding.hint) for each in rooms),
            ),
        },
    )
