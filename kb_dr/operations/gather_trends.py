"""How RTO, RPO, sizes, durations and coverage went: from proofs, drills, manifests and reports."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

from kb_dr.domain import layout, trends
from kb_dr.domain.backup_families import DUMPS, family_of_id
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.drill import Drill
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Proof, Verdict
from kb_dr.domain.trends import Point, Trends
from kb_dr.errors import RepositoryError, UnreadableRecord
from kb_dr.operations.catalog import read_entries
from kb_dr.operations.kept_records import parse_kept, read_kept
from kb_dr.operations.listed_backups import ALL_KINDS, ListedBackup, list_backups
from kb_dr.operations.proofs import parse_proof
from kb_dr.ports import Repository

MOST = 500
"""Records of one kind that are read; of more, the newest."""

T = TypeVar("T")

_Points = dict[str, list[Point]]

_OF_KIND = {
    BackupKind.FULL: (trends.FULL_BYTES, trends.FULL_SECONDS),
    BackupKind.INCR: (trends.INCR_BYTES, trends.INCR_SECONDS),
    BackupKind.DUMP: (trends.DUMP_BYTES, trends.DUMP_SECONDS),
}


def gather_trends(
    places: Sequence[Repository],
    reports: Sequence[IntegrityReport],
    now: datetime,
    *,
    days: float = trends.DAYS,
) -> Trends:
    """The figures of so many days; raises nothing of ours.

    What ``reports`` have said of a backup is not read again. Records are kept in every place, so
    that one that answers is enough; what none can tell is named in ``unread``.
    """
    since = now - timedelta(days=days)
    found: _Points = {name: [] for name in trends.SERIES}
    unread: list[str] = []
    known = _from_reports(found, [each for each in reports if each.at >= since], since)
    for stored in _manifests(places, known, since, unread):
        manifest = stored.manifest
        seconds = (manifest.finished - manifest.started).total_seconds()
        _add_backup(
            found, manifest.kind, manifest.finished, seconds, manifest.stored_bytes, manifest.id
        )
    for proof in _records(places, layout.PROOFS, since, parse_proof, unread):
        # A dump that loads says nothing of how long a recovery takes.
        physical = family_of_id(proof.backup_id) is not DUMPS
        if physical and proof.verdict is Verdict.PROVEN and proof.to_the_end:
            found[trends.RTO].append(_of_proof(proof))
    for drill in _records(places, layout.DRILLS, since, _parse_drill, unread):
        if drill.verdict is Verdict.PROVEN:
            found[trends.RTO].append(Point(drill.finished, drill.rto_seconds, f"drill {drill.id}"))
        if drill.rpo_seconds is not None:
            found[trends.RPO].append(Point(drill.started, drill.rpo_seconds, f"drill {drill.id}"))
    series = {
        name: trends.in_order(each for each in points if since <= each.at <= now)
        for name, points in found.items()
    }
    return Trends(since, now, series, tuple(unread))


def _of_proof(proof: Proof) -> Point:
    return Point(proof.finished, proof.rto_seconds, f"proof {proof.id} of {proof.copy}")


def _from_reports(
    found: _Points, reports: Sequence[IntegrityReport], since: datetime
) -> set[tuple[BackupKind, str]]:
    """What reports say; and kind and stamp of the backups they have described."""
    seen: dict[str, tuple[BackupKind, str]] = {}
    for report in reports:
        of = f"report {report.id}"
        rpo, coverage = trends.rpo_of(report), report.coverage
        for name, value in (
            (trends.RPO, rpo),
            (trends.OF_BACKUPS, coverage.backups),
            (trends.OF_WINDOW, coverage.window),
            (trends.OF_COPIES, coverage.copies),
        ):
            if value is not None:
                found[name].append(Point(report.at, value, of))
        for line in (each for copy in report.copies for each in copy.backups):
            if line.id in seen or line.digest is None or line.finished is None:
                continue
            if line.finished < since:
                continue
            backup = BackupId.parse(line.id)
            seen[line.id] = (backup.kind, backup.stamp)
            seconds = (line.finished - backup.started).total_seconds()
            _add_backup(found, line.kind, line.finished, seconds, line.stored_bytes, line.id)
    return set(seen.values())


def _add_backup(
    found: _Points, kind: BackupKind, at: datetime, seconds: float, size: int, name: str
) -> None:
    if kind not in _OF_KIND:
        return  # of a newer kb_dr
    sizes, times = _OF_KIND[kind]
    found[sizes].append(Point(at, size, name))
    found[times].append(Point(at, seconds, name))


def _manifests(
    places: Sequence[Repository],
    known: set[tuple[BackupKind, str]],
    since: datetime,
    unread: list[str],
) -> Iterator[StoredManifest]:
    """The backups of late that are not known, from the first place that answers."""
    silent: list[str] = []
    for place in places:
        try:
            listed = [
                each
                for kind in ALL_KINDS
                for each in list_backups(place, kind, since=_stamp(since))
                if (each.kind, each.stamp) not in known
            ]
            entries = read_entries(place, _newest(listed, unread))
        except RepositoryError as error:
            silent.append(f"backups: {error}")
            continue
        for entry in entries:
            if isinstance(entry, StoredManifest):
                yield entry
            else:
                unread.append(entry.why)
        return
    unread += silent


def _newest(listed: Sequence[ListedBackup], unread: list[str]) -> Sequence[ListedBackup]:
    in_order = sorted(listed, key=lambda each: each.stamp)
    if len(in_order) > MOST:
        unread.append(f"of {len(in_order)} backups the newest {MOST} were looked at")
    return in_order[-MOST:]


def _records(
    places: Sequence[Repository],
    prefix: str,
    since: datetime,
    parse: Callable[[Repository, str, bytes], T],
    unread: list[str],
) -> Iterator[T]:
    """Records of late under a prefix: their names begin with the time, whatever stands before."""
    found: dict[str, T] = {}
    bad: dict[str, str] = {}
    silent: list[str] = []
    for place in places:
        try:
            names = sorted(
                (
                    listed.key
                    for listed in place.list(prefix)
                    if listed.key.endswith(".json") and _name(listed.key) >= _stamp(since)
                ),
                key=_name,
                reverse=True,
            )
            for key in islice((each for each in names if each not in found), MOST):
                body = read_kept(place, key)
                if body is None:
                    continue
                try:
                    found[key] = parse(place, key, body)
                except UnreadableRecord as error:
                    bad[key] = str(error)
        except RepositoryError as error:
            silent.append(f"{prefix} {error}")
    if len(silent) == len(places):
        unread += silent
    unread += [why for key, why in bad.items() if key not in found]
    yield from found.values()


def _parse_drill(place: Repository, key: str, body: bytes) -> Drill:
    return parse_kept(place, key, body, Drill, lambda drill: layout.drill_key(drill.id))


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%d-%H%M%S")
