"""The WAL one base backup cannot do without, found in one repository. A logical dump needs none."""

from dataclasses import dataclass

from kb_dr.domain import layout
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.stored import Listed
from kb_dr.domain.wal_names import Segment, history_name, is_history, is_segment, timeline_of
from kb_dr.errors import NoUsableBackup
from kb_dr.ports import Repository


@dataclass(frozen=True, slots=True)
class NeededWal:
    """What stands of the WAL a backup needs, and what is wrong with it."""

    objects: tuple[Listed, ...]
    """Segments from start to stop and restore point, backup labels between them, histories."""
    missing: tuple[str, ...]
    """Files it needs that are not there."""
    doubtful: tuple[str, ...]
    """Files stored with two digests, or with zero bytes."""


def needed_segments(manifest: Manifest) -> tuple[Segment, Segment]:
    """The first and the last segment a restore of this backup has to replay.

    Raises NoUsableBackup for a logical dump, from which nothing is recovered.
    """
    refuse_dump(manifest)
    wal, size = manifest.wal, manifest.source.segment_bytes
    first = Segment.holding(wal.timeline, wal.start, size)
    end = max(wal.stop, manifest.fingerprint.lsn)
    return first, Segment.ending_at_or_after(wal.timeline, end, size)


def refuse_dump(manifest: Manifest) -> None:
    """Raise NoUsableBackup for a logical dump: it is no base of a recovery."""
    if manifest.is_dump:
        raise NoUsableBackup(
            f"recover from {manifest.id}: a logical dump is no base of a recovery, expected a base "
            "backup",
            hint="A dump is loaded into a database, not put into a directory: "
            f"`kb-dr restore --backup {manifest.id} --into URL`.",
        )


def find_needed_wal(repository: Repository, manifest: Manifest) -> NeededWal:
    """Look for it by one listing; nothing is read. Of a logical dump it is nothing at all."""
    if manifest.is_dump:
        return NeededWal((), (), ())
    first, last = needed_segments(manifest)
    system = manifest.source.system_identifier
    timeline = manifest.wal.timeline
    prefix = layout.timeline_prefix(system, timeline)
    found: list[Listed] = []
    seen: dict[str, set[str]] = {}
    doubtful: list[str] = []
    for listed in repository.list(prefix, start_after=prefix + first.name):
        parts = layout.wal_file_of(listed.key)
        if parts is None or is_history(parts[1]):
            continue
        _, name, digest = parts
        if name[:24] > last.name:
            break
        _note(listed, name, digest, found, seen, doubtful)
    for ancestor in range(2, timeline + 1):
        histories = layout.wal_file_prefix(system, history_name(ancestor))
        for listed in repository.list(histories):
            parts = layout.wal_file_of(listed.key)
            if parts is not None:
                _note(listed, parts[1], parts[2], found, seen, doubtful)
    needed = [
        Segment(timeline, number, first.segment_bytes).name
        for number in range(first.number, last.number + 1)
    ]
    if timeline > 1:
        needed.append(history_name(timeline))
    return NeededWal(
        objects=tuple(found),
        missing=tuple(name for name in needed if name not in seen),
        doubtful=tuple(doubtful),
    )


def _note(
    listed: Listed,
    name: str,
    digest: str,
    found: list[Listed],
    seen: dict[str, set[str]],
    doubtful: list[str],
) -> None:
    found.append(listed)
    digests = seen.setdefault(name, set())
    # The same digest again is the same file, encrypted to other keys.
    if len(digests) == 1 and digest not in digests and (is_segment(name) or is_history(name)):
        doubtful.append(f"{name} of timeline {timeline_of(name)} is stored with two digests")
    digests.add(digest)
    if listed.size_bytes == 0:
        doubtful.append(f"{name} has zero bytes")
