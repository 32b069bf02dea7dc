"""Choose what an hourly backup becomes: a native increment, a recovery point, or a full."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.control import void_through
from kb_dr.domain.increment import (
    NATIVE,
    RECOVERY_POINT,
    SourceState,
    why_no_parent,
    why_not_native,
)
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Standing, Verdict, standing
from kb_dr.domain.stored import Listed
from kb_dr.domain.wal_names import is_segment
from kb_dr.errors import BrokenChain, ChecksumMismatch, ObjectMissing, UnreadableRecord
from kb_dr.operations.backup_chain import load_chain
from kb_dr.operations.controls import gather_control_runs
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.newest_first import newest_first
from kb_dr.operations.proofs import load_proofs
from kb_dr.ports import Clock, Repository

_LOOKS = 5
_LOOK_SECONDS = 2.0
"""Segments are archived a few at once, and need not arrive in order."""


@dataclass(frozen=True, slots=True)
class Increment:
    """What the backup is built on."""

    parent: StoredManifest
    postgres_manifest_zst: bytes | None
    """The parent's, for a native increment; None for a recovery point."""
    why: str
    """Why it is no more than a recovery point; empty for a native increment."""


@dataclass(frozen=True, slots=True)
class NoParent:
    """There is nothing to build on: a full is due."""

    why: str


def choose_increment(
    repository: Repository,
    state: SourceState,
    backup: BackupId,
    clock: Clock,
    *,
    copies: Mapping[str, str],
    longest_chain: int,
) -> Increment | NoParent:
    """Find the newest backup that ``backup`` can be built on, and how.

    ``copies`` are names and addresses: what FAILED in any of them is no parent, since the child
    would be as bad there. Looks no further back than the newest full. Raises what ``repository``
    does when it cannot be asked.
    """
    passed_over: list[str] = []
    points: list[str] = []
    for found_id, found in newest_first(repository, backup):
        if isinstance(found, UnreadableRecord):
            passed_over.append(str(found))
        elif found.manifest.engine == RECOVERY_POINT:
            points.append(found.manifest.parent or "")
        else:
            candidate = _Candidate(repository, found, state, backup, copies, points, longest_chain)
            try:
                return _increment(candidate, clock)
            except _Unusable as unusable:
                passed_over.append(str(unusable))
                if unusable.full_is_due:
                    break
        if found_id.kind is BackupKind.FULL:
            break
    return NoParent("; ".join(passed_over) or "there is no full backup before it")


class _Unusable(Exception):
    """A backup nothing may be built on, and why."""

    def __init__(self, why: str, *, full_is_due: bool = False) -> None:
        super().__init__(why)
        self.full_is_due = full_is_due
        """Whether the same holds for whatever is older."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    repository: Repository
    stored: StoredManifest
    state: SourceState
    backup: BackupId
    """What is to be built on it."""
    copies: Mapping[str, str]
    points: Sequence[str]
    """The parents of the recovery points that are newer than it."""
    longest_chain: int


def _increment(candidate: _Candidate, clock: Clock) -> Increment:
    """How to build on one candidate; _Unusable when one must not."""
    manifest = candidate.stored.manifest
    _refuse_other_line(candidate)
    full = _require_good(candidate)
    why = why_not_native(candidate.state, manifest)
    if why is not None:
        _refuse_old(candidate, full)
        _refuse_holes(candidate, clock)
        return Increment(candidate.stored, None, why)
    if manifest.postgres_manifest is None:
        raise _Unusable(f"{manifest.id}: it names no manifest of PostgreSQL's")
    try:
        body = candidate.repository.get(manifest.postgres_manifest)
    except (ChecksumMismatch, ObjectMissing) as error:
        raise _Unusable(f"{manifest.id}: {error}") from error
    return Increment(candidate.stored, body, "")


def _refuse_other_line(candidate: _Candidate) -> None:
    manifest = candidate.stored.manifest
    if manifest.engine != NATIVE:
        raise _Unusable(f"{manifest.id} was taken by the engine {manifest.engine}")
    why = why_no_parent(candidate.state, manifest)
    if why is not None:
        raise _Unusable(why)


def _require_good(candidate: _Candidate) -> BackupId:
    """The full it stands on; _Unusable when what it takes to restore it is not there, known to be
    bad, or long enough.
    """
    stored, repository = candidate.stored, candidate.repository
    try:
        chain = load_chain(repository, stored)
    except BrokenChain as error:
        raise _Unusable(str(error)) from error
    names = [link.manifest.id for link in chain]
    increments = len(chain) - 1 + sum(candidate.points.count(name) for name in names)
    if increments >= candidate.longest_chain:
        raise _Unusable(
            f"{increments} incremental backups stand on {names[0]} already", full_is_due=True
        )
    for link in chain:
        proofs = load_proofs(repository, link.manifest.backup_id)
        if not any(proof.verdict is Verdict.FAILED for proof in proofs):
            continue
        # A green of a verifier that was blind refutes no red.
        void = void_through(gather_control_runs([repository]).runs)
        for copy, url in candidate.copies.items():
            known, proof = standing(
                proofs, digest=link.digest, copy=copy, url=url, void_through=void
            )
            if known is Standing.FAILED and proof is not None:
                raise _Unusable(f"{link.manifest.id} FAILED in the {copy} copy: {proof.reason}")
    wal = find_needed_wal(repository, stored.manifest)
    if wal.missing or wal.doubtful:
        seen = ", ".join((*wal.doubtful, *(f"{name} is missing" for name in wal.missing)))
        raise _Unusable(f"the WAL of {names[-1]}: {seen}")
    return chain[0].manifest.backup_id


def _refuse_old(candidate: _Candidate, full: BackupId) -> None:
    """Recovery points are expired and so cannot be counted, and each keeps the age of the newest
    backup low: without this nobody would miss the full ones that fail.
    """
    age = candidate.backup.started - full.started
    if age > timedelta(hours=candidate.longest_chain):
        hours = age.total_seconds() / 3600
        raise _Unusable(
            f"{full} is {hours:.0f} hours old, too old for a recovery point after "
            f"{candidate.longest_chain}",
            full_is_due=True,
        )


def _refuse_holes(candidate: _Candidate, clock: Clock) -> None:
    """A recovery point needs all WAL since its parent began; what is to come may come yet."""
    manifest = candidate.stored.manifest
    reach = replace(manifest.wal, stop=candidate.state.facts.written_lsn)
    holes: list[str] = []
    for look in range(_LOOKS):
        if look:
            clock.sleep(_LOOK_SECONDS)
        found = find_needed_wal(candidate.repository, replace(manifest, wal=reach))
        if found.doubtful:
            seen = ", ".join(found.doubtful)
            raise _Unusable(f"the WAL since {manifest.id}: {seen}", full_is_due=True)
        newest = max(_segments(found.objects), default="")
        holes = [name for name in found.missing if name < newest]
        if not holes:
            return
    seen = ", ".join(holes[:5])
    raise _Unusable(f"the WAL since {manifest.id}: {seen} missing", full_is_due=True)


def _segments(objects: Sequence[Listed]) -> Iterator[str]:
    for each in objects:
        parts = layout.wal_file_of(each.key)
        if parts is not None and is_segment(parts[1]):
            yield parts[1]
