"""Look at everything that is kept, read a part of it again, and leave a report."""

import logging
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.coverage import Span, Stretch, stretches
from kb_dr.domain.hold import holds_in_force
from kb_dr.domain.integrity_report import (
    BackupLine,
    CopyReport,
    IntegrityReport,
    Reread,
)
from kb_dr.domain.judge_integrity import coverage, shortfalls
from kb_dr.domain.proof import Proof, Standing, Void, standing
from kb_dr.domain.reread import SLICES, due_slices, unread_since
from kb_dr.domain.retention import Candidate, Decision
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.status import BackupStatus, CopyStatus
from kb_dr.errors import KbDrError
from kb_dr.operations.audit_wal import clusters_present
from kb_dr.operations.catalog import walk_catalog
from kb_dr.operations.copy_look import CopyLook, objects_in
from kb_dr.operations.listed_backups import ALL_KINDS
from kb_dr.operations.plan_copy_retention import CopyRetention, plan_copy_retention
from kb_dr.operations.proofs import gather_proofs
from kb_dr.operations.report_records import gather_reports, store_report
from kb_dr.operations.reread_copy import reread_copy
from kb_dr.operations.survey import survey
from kb_dr.ports import Clock, Codec, Progress, Repository

logger = logging.getLogger(__name__)

_VANISHED = (
    "it was proven here and stands here no more, and no tombstone says that it was let go of"
)

LOOK_BACK = timedelta(days=2 * SLICES)
"""Older reports say nothing of what was read again lately."""


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What a report is held against."""

    service: str
    org: str
    policies: Mapping[str, RetentionPolicy]
    proof_age_seconds: float
    transfers: int = 4


@dataclass(frozen=True, slots=True)
class CopyBands:
    """One copy's recoverable window, and what it was read from."""

    status: CopyStatus
    proofs: Mapping[str, Sequence[Proof]]
    stretches: tuple[Stretch, ...]
    problem: str
    """Why it could not be looked at, or not to the end; empty when it could."""


def make_report(
    places: Sequence[Repository],
    codec: Codec,
    clock: Clock,
    progress: Progress,
    settings: ReportSettings,
    *,
    void_through: Void | None,
    every_byte: bool = False,
    kept_in: Sequence[Repository] | None = None,
) -> IntegrityReport:
    """Look at every copy and keep what was seen in each that answers, or in those of ``kept_in``.

    ``every_byte`` reads all of it again, and not only the part whose turn it is.
    A copy that cannot be looked at is in the report, as a shortfall. Raises only when the report
    can be kept nowhere.
    """
    at = clock.now()
    keepers = places if kept_in is None else kept_in
    # One of a clock that was wrong would be the newest for as long, and nothing would be read.
    known = gather_reports(keepers, at - LOOK_BACK).reports
    earlier = [each for each in known if each.at <= at]
    copies = tuple(
        _copy_report(
            each,
            places,
            codec,
            clock,
            progress,
            settings,
            void_through,
            None if every_byte else earlier,
        )
        for each in places
    )
    report = IntegrityReport(
        schema_version=records.SCHEMA_VERSION,
        id=f"{at.astimezone(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
        service=settings.service,
        at=at,
        finished=max(at, clock.now()),
        host=socket.gethostname(),
        proof_age_seconds=settings.proof_age_seconds,
        copies=copies,
        coverage=coverage(copies, at, settings.proof_age_seconds),
        shortfalls=tuple(shortfalls(copies, at, settings.proof_age_seconds)),
    )
    store_report(keepers, report)
    return report


def copy_bands(
    repository: Repository,
    places: Sequence[Repository],
    codec: Codec,
    now: datetime,
    settings: ReportSettings,
    *,
    void_through: Void | None,
    look: CopyLook | None = None,
) -> CopyBands:
    """What can be said of the time until now, of one copy. Raises nothing of ours.

    ``look`` holds its proofs, and keeps the manifests that are read.

    Of the days for which the policy keeps daily backups and all WAL: what is older are single
    backups, without the time between them.
    """
    gathered = look.proofs if look else gather_proofs(places, repository.name)
    status = survey(
        repository,
        codec,
        gathered.proofs,
        service=settings.service,
        org=settings.org,
        void_through=void_through,
        look=look,
    )
    problems = [status.problem, *(str(each) for each in gathered.problems)]
    # Where a proof may be missing it may be the one that says FAILED: nothing is shown as proven.
    proven = () if gathered.problems else _proven_spans(status, gathered.proofs)
    can = [
        Span(window.begins_at, window.end.at)
        for window in status.windows
        if window.end is not None and not window.problem
    ]
    problem = "; ".join(each for each in problems if each)
    policy = settings.policies[repository.name]
    since = now - timedelta(days=policy.daily_days + policy.wal_days)
    return CopyBands(status, gathered.proofs, stretches(can, proven, now, since=since), problem)


def _proven_spans(status: CopyStatus, proofs: Mapping[str, Sequence[Proof]]) -> list[Span]:
    """From the end of each proven backup to the last commit its proof replayed."""
    found = []
    for each in status.proven:
        proof = next(p for p in proofs[each.id] if p.id == each.proof_id)
        reach = proof.reach
        ends = (reach.newest_commit or reach.expected_commit) if reach else None
        found.append(Span(each.finished, max(each.finished, ends or each.finished)))
    return found


def _copy_report(
    repository: Repository,
    places: Sequence[Repository],
    codec: Codec,
    clock: Clock,
    progress: Progress,
    settings: ReportSettings,
    void_through: Void | None,
    earlier: Sequence[IntegrityReport] | None,
) -> CopyReport:
    name, url, now = repository.name, repository.url, clock.now()
    last_read = _last_read(earlier or (), name, url)
    due = range(SLICES) if earlier is None else due_slices(last_read, now)
    again = _damaged_slices(earlier or (), name, url)
    wanted = {*due, *again}
    # The objects of all of them may be too many to hold: then manifests are read once more.
    few = len(wanted) <= SLICES // 4
    look = CopyLook(gather_proofs(places, name), wanted if few else ())
    bands = copy_bands(
        repository, places, codec, now, settings, void_through=void_through, look=look
    )
    problems = [bands.problem] if bands.problem else []
    backups: tuple[BackupLine, ...] = ()
    files = size = 0
    reread: Reread | None = None
    try:
        planned = plan_copy_retention(
            repository, places, clock, settings.policies[name], service=settings.service, look=look
        )
        backups = _lines(planned, bands, void_through)
        files, size = _wal_size(repository)
        every = walk_catalog(repository, kinds=ALL_KINDS)
        reread = reread_copy(
            repository,
            codec,
            look.objects() if few else objects_in(every, wanted),
            due,
            progress,
            again=again,
            parallel=settings.transfers,
        )
        last_read |= dict.fromkeys(due, now)
    except KbDrError as error:
        problems.append(str(error))
    return CopyReport(
        copy=name,
        url=url,
        problem="; ".join(dict.fromkeys(problems)),
        backups=backups,
        wal_files=files,
        wal_bytes=size,
        stretches=bands.stretches,
        reread=reread,
        read_since=unread_since(last_read),
    )


def _lines(
    planned: CopyRetention, bands: CopyBands, void_through: Void | None
) -> tuple[BackupLine, ...]:
    known = {each.id: each for each in planned.gathered.candidates}
    wrong = {each.id: _wrong(each) for each in bands.status.backups}
    return tuple(
        _line(each, known.get(each.id), planned, bands, wrong, void_through)
        for each in planned.plan.decisions
    ) + tuple(_nothing_of(each, _VANISHED) for each in planned.gathered.vanished)


def _nothing_of(backup_id: str, problem: str) -> BackupLine:
    """Of a backup that cannot be looked at."""
    return BackupLine(
        id=backup_id,
        kind=_kind_of(backup_id),
        digest=None,
        finished=None,
        stored_bytes=0,
        tiers=(),
        keep=True,
        standing=Standing.UNPROVEN,
        proof_id=None,
        proven_at=None,
        holds=(),
        problem=problem,
    )


def _kind_of(backup_id: str) -> BackupKind:
    try:
        return BackupId.parse(backup_id).kind
    except ValueError:
        return BackupKind.FULL


def _line(
    decision: Decision,
    found: Candidate | None,
    planned: CopyRetention,
    bands: CopyBands,
    wrong: Mapping[str, str],
    void_through: Void | None,
) -> BackupLine:
    if found is None:
        return _nothing_of(decision.id, "; ".join(decision.reasons))
    state, proof = standing(
        bands.proofs.get(found.id, ()),
        digest=found.digest,
        copy=planned.gathered.copy,
        url=planned.gathered.url,
        void_through=void_through,
    )
    if wrong.get(found.id) and state is Standing.PROVEN:
        # Proven once; since then a parent failed, or what it is restored from went.
        state, proof = Standing.FAILED, None
    return BackupLine(
        id=found.id,
        kind=found.kind,
        digest=found.digest,
        finished=found.finished,
        stored_bytes=planned.gathered.stored_bytes.get(found.id, 0),
        tiers=decision.tiers,
        keep=decision.keep,
        standing=state,
        proof_id=proof.id if proof else None,
        proven_at=proof.finished if proof and state is Standing.PROVEN else None,
        holds=tuple(each.reason for each in holds_in_force(found.holds)),
        problem=wrong.get(found.id, ""),
    )


def _wrong(status: BackupStatus) -> str:
    """What speaks against a backup besides its proofs."""
    if status.broken:
        return status.broken
    return "" if status.wal_complete else "WAL it needs is not all there"


def _wal_size(repository: Repository) -> tuple[int, int]:
    files = size = 0
    for cluster in clusters_present(repository):
        for listed in repository.list(layout.wal_prefix(cluster)):
            files += 1
            size += listed.size_bytes
    return files, size


def _last_read(earlier: Sequence[IntegrityReport], name: str, url: str) -> dict[int, datetime]:
    """Slice to when it was last read in this very place."""
    found: dict[int, datetime] = {}
    for report in earlier:
        for copy in report.copies:
            if (copy.copy, copy.url) == (name, url) and copy.reread is not None:
                found |= dict.fromkeys(copy.reread.slices, report.at)
    return found


def _damaged_slices(earlier: Sequence[IntegrityReport], name: str, url: str) -> tuple[int, ...]:
    """Where the last look found damage: it stays in each report until it is gone."""
    for report in reversed(earlier):
        for copy in report.copies:
            if (copy.copy, copy.url) == (name, url) and copy.reread is not None:
                done = copy.reread
                # Older reports name the damage, and not where it lies.
                return done.damaged_slices or (done.slices if done.damaged else ())
    return ()
