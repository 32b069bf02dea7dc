"""Look at one copy: what it holds, what is proven, and how far its WAL reaches.

Whatever cannot be looked at is said, and never taken for good.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from kb_dr.domain.forecast import RestoreWork
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.proof import Proof, Standing, Void, standing, why_parent_failed
from kb_dr.domain.replay_line import choose_lineage
from kb_dr.domain.status import BackupStatus, CopyStatus, Evidence, ProvenBackup, Window
from kb_dr.domain.timelines import Lineage
from kb_dr.domain.wal_archive import WalArchive
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import KbDrError, WalDamaged
from kb_dr.operations.archived_end import find_archived_end
from kb_dr.operations.backup_chain import Chains, chains_in
from kb_dr.operations.backup_proofs import Proofs
from kb_dr.operations.catalog import lean_entry, readable, unreadable
from kb_dr.operations.catalog_part import CatalogPart
from kb_dr.operations.copy_look import CopyLook
from kb_dr.operations.needed_wal import needed_segments
from kb_dr.operations.recent_wal import RecentWal, read_recent_wal
from kb_dr.ports import Codec, Repository


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the backups of one copy."""

    proofs: Proofs
    url: str
    void_through: Void | None
    chains: Chains
    _broken: dict[str, str] = field(default_factory=dict)
    """What broken() has worked out, by id: it is asked for every link of every chain."""

    def chain(self, stored: StoredManifest) -> tuple[StoredManifest, ...]:
        """The full first; the backup alone when its chain is broken."""
        return self.chains.whole.get(stored.manifest.id, (stored,))

    def broken(self, stored: StoredManifest) -> str:
        """Why an increment is worth nothing, whatever was proven of it; empty when it is."""
        name = stored.manifest.id
        if name not in self._broken:
            self._broken[name] = self.chains.broken.get(name) or self._failed_parent(stored)
        return self._broken[name]

    def _failed_parent(self, stored: StoredManifest) -> str:
        *parents, own = (self._own(each) for each in self.chain(stored))
        return why_parent_failed(own, parents)

    def standing(self, stored: StoredManifest) -> tuple[Standing, Proof | None]:
        """Of the backup, with all it is put together from."""
        return (Standing.FAILED, None) if self.broken(stored) else self._own(stored)

    def _own(self, stored: StoredManifest) -> tuple[Standing, Proof | None]:
        return standing(
            self.proofs.get(stored.manifest.id, ()),
            digest=stored.digest,
            copy=stored.copy,
            url=self.url,
            void_through=self.void_through,
        )


def survey(
    repository: Repository,
    codec: Codec,
    proofs: Proofs,
    *,
    service: str,
    org: str,
    void_through: Void | None,
    look: CopyLook | None = None,
) -> CopyStatus:
    """What this copy allows, all of it. Raises nothing of ours: what is wrong with it is in the
    answer. ``look`` keeps the manifests that are read.
    """
    part = CatalogPart(
        repository,
        service=service,
        org=org,
        known=look.known if look else None,
        shape=look.shape if look else lean_entry,
    )
    part.reach(None)
    return survey_part(part, codec, proofs, void_through=void_through)


def survey_part(
    part: CatalogPart, codec: Codec, proofs: Proofs, *, void_through: Void | None
) -> CopyStatus:
    """The same of the backups looked at, and of the WAL from the oldest of them on."""
    repository = part.repository
    if part.error is not None:
        return _unknown(repository, part.error)
    catalog = part.entries
    found = readable(catalog)
    known = _Known(proofs, repository.url, void_through, chains_in(part.with_parents))
    problem, hint = "", ""
    backups: list[BackupStatus] = []
    windows: tuple[Window, ...] = ()
    try:
        backups, windows = _backups_and_windows(repository, codec, found, known)
    except KbDrError as error:
        problem, hint = str(error), error.hint
        backups = [_backup(each, known, wal_complete=False) for each in found]
    return CopyStatus(
        copy=repository.name,
        url=repository.url,
        problem=problem,
        hint=hint,
        backups=tuple(backups),
        unreadable=tuple(each.why for each in unreadable(catalog)),
        proven=_proven(found, known),
        windows=windows,
        looked_since=part.looked_since,
    )


def _unknown(repository: Repository, error: KbDrError) -> CopyStatus:
    return CopyStatus(
        copy=repository.name,
        url=repository.url,
        problem=str(error),
        hint=error.hint,
        backups=(),
        unreadable=(),
        proven=(),
        windows=(),
    )


def _backups_and_windows(
    repository: Repository, codec: Codec, found: Sequence[StoredManifest], known: _Known
) -> tuple[list[BackupStatus], tuple[Window, ...]]:
    firsts: dict[int, Segment] = {}
    for each in found:
        system, (first, _) = each.manifest.source.system_identifier, needed_segments(each.manifest)
        firsts[system] = min(firsts.get(system, first), first, key=lambda one: one.number)
    lines = {
        system: _Line(read_recent_wal(repository, codec, system, first))
        for system, first in firsts.items()
    }
    backups: list[BackupStatus] = []
    groups: dict[tuple[int, Segment], list[Manifest]] = {}
    for each in found:
        manifest = each.manifest
        system = manifest.source.system_identifier
        last = lines[system].last_segment(manifest)
        work = _work(known.chain(each), last) if last is not None else None
        status = _backup(each, known, wal_complete=last is not None, work=work)
        backups.append(status)
        if last is not None and status.usable:
            groups.setdefault((system, last), []).append(manifest)
    windows = [
        _window(repository, codec, system, last, manifests, lines[system])
        for (system, last), manifests in groups.items()
    ]
    windows.sort(key=lambda each: each.begins_at)
    return backups, tuple(windows)


@dataclass(frozen=True, slots=True)
class _Line:
    """The archive of one cluster, and its histories, from the oldest backup looked at on."""

    wal: RecentWal

    @property
    def archive(self) -> WalArchive:
        return self.wal.archive

    def lineage(self, manifest: Manifest) -> Lineage | None:
        """The line a recovery to the latest follows; None when it cannot be told."""
        with_wal = {timeline for timeline, stands in self.archive.timelines.items() if stands.runs}
        with_wal |= self.wal.shipped
        wal = manifest.wal
        return choose_lineage(self.wal.lineages.values(), with_wal, wal.timeline, wal.stop)

    def last_segment(self, manifest: Manifest) -> Segment | None:
        """The end of the contiguous archive behind this backup; None when it lacks WAL itself."""
        lineage = self.lineage(manifest)
        if lineage is None:
            return None
        first, needed = needed_segments(manifest)
        last = self.archive.contiguous_end(first, lineage)
        return last if last is not None and last.number >= needed.number else None

    def spoilt(self, manifest: Manifest) -> Segment | None:
        """A segment that keeps a restore of this backup to the newest from beginning.

        Such a restore refuses any that cannot be replayed from its begin on, of every timeline
        it knows: it may be the sign of a second server.
        """
        first, _ = needed_segments(manifest)
        bad = (
            stands.newest_unusable
            for timeline, stands in self.archive.timelines.items()
            if timeline in self.wal.lineages
        )
        return next((each for each in bad if each and each.number >= first.number), None)


def _window(
    repository: Repository,
    codec: Codec,
    system: int,
    last: Segment,
    manifests: Sequence[Manifest],
    line: _Line,
) -> Window:
    by_age = sorted(manifests, key=lambda each: each.finished)
    oldest, newest = by_age[0], by_age[-1]
    end: Evidence | None = None
    problem = ""
    spoilt = line.spoilt(newest)
    if spoilt is not None:
        problem = (
            f"{spoilt.name} has zero bytes or two digests: a restore of {newest.id} to the newest "
            "would be refused"
        )
    else:
        try:
            end = _evidence(repository, codec, system, newest, line)
        except KbDrError as error:
            problem = str(error)
    return Window(
        system_identifier=system,
        timeline=last.timeline,
        begins_at=oldest.finished,
        begins_lsn=oldest.wal.stop,
        end=end,
        last_segment=last.name,
        backups=tuple(each.id for each in by_age),
        problem=problem,
    )


def _evidence(
    repository: Repository, codec: Codec, system: int, manifest: Manifest, line: _Line
) -> Evidence:
    """The newest moment the archive behind a backup provably covers.

    A commit's and a restore point's record bear the time they were made: whatever was committed
    before stands before them. The backup covers at least what was committed when it began.
    """
    first, _ = needed_segments(manifest)
    lineage = line.lineage(manifest)
    found = find_archived_end(
        repository,
        codec,
        system_identifier=system,
        archive=line.archive,
        start=first,
        lineage=lineage,
        known=line.wal.newest,
    )
    tip = found.tip
    needed = max(manifest.wal.stop, manifest.fingerprint.lsn)
    if tip.end < needed:
        raise WalDamaged(
            f"read WAL of {repository.name}: it ends at {tip.end}, before {needed}, which "
            f"{manifest.id} needs"
        )
    moments = [(manifest.started, "start of a backup")]
    if tip.last_commit is not None:
        moments.append((tip.last_commit.at, "commit"))
    if tip.restore_points:
        moments.append((tip.restore_points[-1].at, "restore point"))
    at, what = max(moments)
    timeline = lineage.timeline_at(tip.end) if lineage else tip.timeline
    return Evidence(at, tip.end, timeline, what)


def _work(chain: Sequence[StoredManifest], last: Segment) -> RestoreWork:
    manifests = [each.manifest for each in chain]
    first, _ = needed_segments(manifests[-1])
    return RestoreWork.of(manifests[-1], last.number - first.number + 1, manifests)


def _backup(
    stored: StoredManifest,
    known: _Known,
    *,
    wal_complete: bool,
    work: RestoreWork | None = None,
) -> BackupStatus:
    manifest = stored.manifest
    return BackupStatus(
        id=manifest.id,
        digest=stored.digest,
        finished=manifest.finished,
        standing=known.standing(stored)[0],
        wal_complete=wal_complete,
        work=work,
        broken=known.broken(stored),
    )


def _proven(found: Sequence[StoredManifest], known: _Known) -> tuple[ProvenBackup, ...]:
    proven = []
    for each in found:
        manifest = each.manifest
        state, proof = known.standing(each)
        if state is Standing.PROVEN and proof is not None:
            proven.append(
                ProvenBackup(
                    id=manifest.id,
                    digest=each.digest,
                    finished=manifest.finished,
                    proof_id=proof.id,
                    proven_at=proof.finished,
                    rto_seconds=proof.rto_seconds,
                    phases=proof.phases,
                )
            )
    return tuple(proven)
