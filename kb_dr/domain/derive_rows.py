"""From what the copies hold of one backup to its rows in the catalog. Pure, and the only way.

Red outweighs green, and what could not be read is never green.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from kb_dr.domain.backup_failure import BackupFailure
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.catalog_rows import (
    UNKNOWN,
    BackupRows,
    BackupState,
    CopyRow,
    CopyState,
    FailureRow,
    HoldRow,
    LogRow,
    ProblemRow,
    ProofRow,
    PurgeRow,
    row_id,
)
from kb_dr.domain.hold import HoldAction, HoldEvent, holds_in_force
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.proof import Proof, Standing, Void, standing, why_parent_failed
from kb_dr.domain.record_rows import (
    failure_row,
    hold_row,
    manifest_row,
    proof_row,
    purge_row,
)
from kb_dr.domain.tombstone import PurgeStep, Tombstone, latest_step

T = TypeVar("T")

_LOCATION_CHARACTERS = 512
"""What `backup_logs` has room for; `backup_copies` has the whole."""


@dataclass(frozen=True, slots=True)
class ManifestSeen:
    """A manifest that was read."""

    manifest: Manifest
    digest: str
    md5: str


@dataclass(frozen=True, slots=True)
class CopySeen:
    """What one copy holds of one backup."""

    copy: str
    url: str
    seen: ManifestSeen | None = None
    unreadable: str = ""
    """Why the manifest that stands there cannot be read."""
    digest: str | None = None
    """Of the bytes that stand there, readable or not."""
    silent: str = ""
    """Why the copy could not be asked."""
    broken: str = ""
    """Why its chain is not whole there: then nothing can be restored from it, whatever was proven
    of it before."""
    parents: tuple[tuple[str, str], ...] = ()
    """What it was made against there, the full first: ids and digests."""
    untouched: bool = False
    """It was not asked on purpose: ``carried`` stays as it is, also when that is nothing."""
    carried: CopyRow | None = None


@dataclass(frozen=True, slots=True)
class BackupSeen:
    """Everything the copies hold of one backup."""

    id: BackupId
    copies: tuple[CopySeen, ...]
    """Every copy that is configured, whether it holds anything or not."""
    proofs: tuple[Proof, ...] = ()
    holds: tuple[HoldEvent, ...] = ()
    tombstones: tuple[Tombstone, ...] = ()
    failures: tuple[BackupFailure, ...] = ()
    buried: ManifestSeen | None = None
    """From a tombstone; looked at where no copy holds a manifest that can be read."""
    unread: tuple[str, ...] = ()
    """Records that stand somewhere and can be read nowhere: any may be the one that is red."""
    parent_proofs: tuple[Proof, ...] = ()
    """Of all it was made against: a red one speaks against it, too."""


def derive_rows(seen: BackupSeen, void: Void | None, *, token: str = "") -> BackupRows:
    """The rows of one backup."""
    backup = str(seen.id)
    first = next((each.seen for each in seen.copies if each.seen), None) or seen.buried
    in_force = {each.id for each in holds_in_force(seen.holds)}
    rows = BackupRows(
        log=_nothing_known(seen.id),
        manifests=(manifest_row(first.manifest, first.digest),) if first else (),
        copies=_copy_rows(seen, first, void),
        proofs=tuple(proof_row(each, void) for each in _by_time(seen.proofs)),
        holds=tuple(hold_row(each, in_force) for each in sorted(seen.holds, key=_when)),
        purges=tuple(purge_row(each) for each in sorted(seen.tombstones, key=_when)),
        failures=tuple(failure_row(each) for each in sorted(seen.failures, key=_failed)),
        problems=tuple(ProblemRow(backup, each) for each in sorted(seen.unread)),
        token=token,
    )
    return with_log(rows, md5=first.md5 if first else None)


def with_older(rows: BackupRows, older: BackupRows) -> BackupRows:
    """The same with what only ``older`` knows: from copies that were not looked at this time."""

    def both(new: Sequence[T], old: Sequence[T], key: Callable[[T], tuple[object, ...]]) -> list[T]:
        known = {key(each) for each in new}
        return [*new, *(each for each in old if key(each) not in known)]

    holds = sorted(both(rows.holds, older.holds, lambda each: (each.id,)), key=_when)
    released = {name for each in holds for name in each.releases}
    merged = replace(
        rows,
        manifests=rows.manifests or older.manifests,
        proofs=tuple(
            sorted(
                both(rows.proofs, older.proofs, lambda each: (each.copy, each.id)),
                key=lambda each: (each.finished, each.id, each.copy),
            )
        ),
        holds=tuple(
            replace(each, in_force=each.action == HoldAction.HOLD and each.id not in released)
            for each in holds
        ),
        purges=tuple(
            sorted(both(rows.purges, older.purges, lambda each: (each.copy, each.id)), key=_when)
        ),
        failures=tuple(
            sorted(both(rows.failures, older.failures, lambda each: (each.attempt,)), key=_failed)
        ),
    )
    return with_log(merged, md5=rows.log.checksum_md5 or older.log.checksum_md5)


def with_log(rows: BackupRows, *, md5: str | None) -> BackupRows:
    """The same rows with `backup_logs` made of the others."""
    backup = BackupId.parse(rows.backup_id)
    manifest = rows.manifests[0] if rows.manifests else None
    state, why = _state(rows)
    tested = _newest_test(rows)
    known = manifest is not None
    log = LogRow(
        id=row_id(rows.backup_id),
        backup_id=rows.backup_id,
        backup_type=str(backup.kind),
        backup_timestamp=manifest.started if manifest else backup.started,
        backup_size_bytes=manifest.stored_bytes if manifest else None,
        checksum_md5=md5 if known else None,
        checksum_sha256=manifest.digest if manifest else None,
        location_local=_location(rows.copies, s3=False),
        location_s3=_location(rows.copies, s3=True),
        status=str(state),
        recovery_tested=tested is not None,
        test_timestamp=tested.started if tested else None,
        recovery_time_seconds=math.ceil(tested.rto_seconds) if tested else None,
        created_at=_created(rows, backup.started),
        verified_at=tested.finished if tested else None,
        purged_at=_purged_at(rows) if state is BackupState.PURGED else None,
        error_message="; ".join(why) or None,
    )
    return replace(rows, log=log)


def _nothing_known(backup: BackupId) -> LogRow:
    """A place for the name, until the other rows are there."""
    return LogRow(
        id=row_id(str(backup)),
        backup_id=str(backup),
        backup_type=str(backup.kind),
        backup_timestamp=backup.started,
        backup_size_bytes=None,
        checksum_md5=None,
        checksum_sha256=None,
        location_local=None,
        location_s3=None,
        status=str(BackupState.LOST),
        recovery_tested=False,
        test_timestamp=None,
        recovery_time_seconds=None,
        created_at=backup.started,
        verified_at=None,
        purged_at=None,
        error_message=None,
    )


def _state(rows: BackupRows) -> tuple[BackupState, list[str]]:
    """One word for all copies together, the worst first, and why."""
    here = [each for each in rows.copies if each.state == CopyState.STORED]
    bad = [
        each
        for each in rows.copies
        if each.state == CopyState.UNREADABLE
        or (each.state == CopyState.STORED and (each.standing == Standing.FAILED or each.problem))
    ]
    gone = [each for each in rows.copies if each.state in (CopyState.EXPIRED, CopyState.PURGED)]
    if bad:
        return BackupState.DAMAGED, [f"{each.copy}: {_why_bad(each, rows.proofs)}" for each in bad]
    unread = [each.problem for each in rows.problems]
    if any(each.standing == Standing.PROVEN for each in here):
        return BackupState.VERIFIED, unread
    if here:
        return BackupState.COMPLETED, unread
    silent = [each for each in rows.copies if each.state == CopyState.UNKNOWN]
    if silent:
        return BackupState.UNKNOWN, [f"{each.copy}: {each.problem}" for each in silent]
    if any(each.state == CopyState.LOST for each in rows.copies):
        return BackupState.LOST, ["it was put back, and stands in no copy"]
    if gone:
        whole = all(each.state == CopyState.PURGED for each in gone)
        return (BackupState.PURGED if whole else BackupState.EXPIRED), unread
    if rows.failures and not rows.proofs:
        return BackupState.FAILED, [rows.failures[-1].message]
    return BackupState.LOST, ["it stands in no copy, and no tombstone speaks of it"]


def _why_bad(row: CopyRow, proofs: Iterable[ProofRow]) -> str:
    if row.problem:
        return row.problem
    reason = next((each.reason for each in proofs if each.id == row.proof_id), "")
    return f"proof {row.proof_id}: {reason}"


def _newest_test(rows: BackupRows) -> ProofRow | None:
    """The newest of the proofs that make a copy proven; of a copy that stands, if any does."""
    here = [each for each in rows.copies if each.state == CopyState.STORED]
    gone = [each for each in rows.copies if each.state in (CopyState.EXPIRED, CopyState.PURGED)]
    named = {each.proof_id for each in here or gone if each.standing == Standing.PROVEN}
    found = [each for each in rows.proofs if each.id in named]
    return max(found, key=lambda each: (each.finished, each.id), default=None)


def _created(rows: BackupRows, started: datetime) -> datetime:
    if rows.manifests:
        return rows.manifests[0].finished
    return rows.failures[0].failed_at if rows.failures else started


def _purged_at(rows: BackupRows) -> datetime | None:
    steps = [each.at for each in rows.purges if each.step == PurgeStep.PURGED]
    return max(steps, default=None)


def _location(copies: Sequence[CopyRow], *, s3: bool) -> str | None:
    """Where it stands, in the first copy of that medium."""
    for each in copies:
        stands = each.state in (CopyState.STORED, CopyState.UNREADABLE)
        if stands and each.url.startswith("s3://") is s3:
            return each.location[:_LOCATION_CHARACTERS]
    return None


def _copy_rows(
    seen: BackupSeen, first: ManifestSeen | None, void: Void | None
) -> tuple[CopyRow, ...]:
    rows = []
    for position, each in enumerate(seen.copies):
        steps = [step for step in seen.tombstones if step.copy == each.copy]
        row = _copy_row(seen, position, each, latest_step(steps), first, void)
        if row is not None:
            rows.append(row)
    return tuple(rows)


def _copy_row(
    seen: BackupSeen,
    position: int,
    there: CopySeen,
    step: Tombstone | None,
    first: ManifestSeen | None,
    void: Void | None,
) -> CopyRow | None:
    """What one copy holds; None when it holds nothing and never let go of anything."""
    row = CopyRow(
        backup_id=str(seen.id),
        copy=there.copy,
        position=position,
        url=there.url,
        location=f"{there.url.rstrip('/')}/{seen.id.kind}/{seen.id.stamp}/",
        state=str(CopyState.UNKNOWN),
        digest=there.digest,
        standing=UNKNOWN,
        proof_id=None,
        problem=there.silent or None,
    )
    if there.untouched:
        return there.carried
    if there.silent:
        return row
    if there.seen is not None:
        other = first is not None and first.digest != there.seen.digest
        broken = there.broken or _why_parent_failed(seen, there, there.seen.digest, void)
        problem = "its manifest is another one than the first copy's" if other else broken
        judged = _with_standing(row, seen, there.seen.digest, void)
        if problem and judged.standing == Standing.PROVEN:
            judged = row
        return replace(judged, state=str(CopyState.STORED), problem=problem or None)
    if there.unreadable:
        judged = _with_standing(row, seen, there.digest or "", void)
        green = judged.standing == Standing.PROVEN
        return replace(
            row if green else judged,
            state=str(CopyState.UNREADABLE),
            problem=there.unreadable,
        )
    if step is None:
        return None
    states = {
        PurgeStep.EXPIRED: CopyState.EXPIRED,
        PurgeStep.PURGED: CopyState.PURGED,
        PurgeStep.UNDELETED: CopyState.LOST,
    }
    judged = _with_standing(row, seen, step.digest, void)
    return replace(judged, state=str(states[step.step]), digest=step.digest)


def _why_parent_failed(seen: BackupSeen, there: CopySeen, digest: str, void: Void | None) -> str:
    def stands(proofs: Iterable[Proof], digest: str) -> tuple[Standing, Proof | None]:
        return standing(proofs, digest=digest, copy=there.copy, url=there.url, void_through=void)

    parents = (
        stands([proof for proof in seen.parent_proofs if proof.backup_id == name], parent)
        for name, parent in there.parents
    )
    return why_parent_failed(stands(seen.proofs, digest), parents)


def _with_standing(row: CopyRow, seen: BackupSeen, digest: str, void: Void | None) -> CopyRow:
    stands, proof = standing(
        seen.proofs, digest=digest, copy=row.copy, url=row.url, void_through=void
    )
    if stands is not Standing.FAILED and _proofs_may_be_missing(seen):
        return row
    return replace(row, standing=str(stands), proof_id=proof.id if proof else None)


def _proofs_may_be_missing(seen: BackupSeen) -> bool:
    return any(each.startswith("proofs/") for each in seen.unread)


def _by_time(proofs: Iterable[Proof]) -> list[Proof]:
    return sorted(proofs, key=lambda each: (each.finished, each.id, each.copy))


def _when(event: HoldEvent | Tombstone | HoldRow | PurgeRow) -> tuple[datetime, str]:
    return event.at, event.id


def _failed(failure: BackupFailure | FailureRow) -> tuple[datetime, str]:
    return failure.failed_at, failure.attempt
