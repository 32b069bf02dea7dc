"""Bring WAL to another repository as it arrives in the first.

Only ever adds. What a listing of the first merely fails to show is left alone in the second, and
what retention has let go of in the second is not brought again.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kb_dr.domain import layout
from kb_dr.domain.stored import Listed
from kb_dr.domain.wal_names import is_segment
from kb_dr.errors import CopyIncomplete
from kb_dr.operations.catalog import Unreadable, walk_back
from kb_dr.operations.copy_object import BAD_FILE, check_wal_object, copy_wal_object
from kb_dr.operations.needed_wal import needed_segments
from kb_dr.operations.purged_wal import inherit_purged_wal, let_go_of_wal
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Codec, Progress, Repository

logger = logging.getLogger(__name__)

_BATCH = 64
"""Files between two looks at the listings: bounds what is held in memory."""

_MOST_PROBLEMS = 1000
"""So many bad files are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class WalCopy:
    """What one copy_wal() did."""

    system_identifier: int
    copy: str
    copied: int
    copied_bytes: int
    already: int
    """Files that stood there already, with the same size."""
    unchecked: int
    """Copied files whose plain digest could not be checked for want of an identity."""
    newest: str | None
    """The last segment, by key, that now stands in both."""
    left_out: int
    """Files retention has let go of there: not brought again."""
    problems: tuple[str, ...]
    """Files that could not be copied, each with the reason."""


def copy_wal(
    source: Repository,
    target: Repository,
    codec: Codec,
    system_identifier: int,
    progress: Progress,
    *,
    since: str = "",
    others: Sequence[Repository] = (),
    parallel: int = 4,
) -> WalCopy:
    """Bring over every WAL file of one cluster that ``target`` lacks.

    ``since`` is a key to begin after (recent_wal() gives one for a job that runs every minute);
    without it both archives are compared from end to end. What ``target`` lacks because retention
    let go of it there is left out. A file that is bad in ``source`` is taken from the first of
    ``others`` that has it right. A bad file does not hold up the rest: CopyIncomplete names all
    of them at the end. A repository that does not answer ends it at once. Memory is bounded,
    whatever the archive's length.
    """
    report = follow_wal(
        source,
        target,
        codec,
        system_identifier,
        progress,
        since=since,
        others=others,
        parallel=parallel,
    )
    if report.problems:
        raise CopyIncomplete(
            f"copy WAL of {system_identifier} to {target.name}: {report.copied} copied, "
            f"{len(report.problems)} could not be: " + "; ".join(report.problems[:20])
        )
    return report


def follow_wal(
    source: Repository,
    target: Repository,
    codec: Codec,
    system_identifier: int,
    progress: Progress,
    *,
    since: str = "",
    others: Sequence[Repository] = (),
    parallel: int = 4,
) -> WalCopy:
    """As copy_wal(), with the files that could not be copied in ``problems``: look at them."""
    copied = copied_bytes = already = unchecked = unnamed = left_out = 0
    newest: str | None = None
    problems: list[str] = []

    def bring(listed: Listed) -> bool | str:
        try:
            checked = copy_wal_object(source, target, codec, listed, others=others)
        except BAD_FILE as error:
            return str(error)
        progress.advance(listed.size_bytes)
        return checked

    let_go_of = let_go_of_wal(target, system_identifier)

    def is_over(listed: Listed) -> bool:
        parts = layout.wal_file_of(listed.key)
        return parts is not None and let_go_of(parts[1])

    progress.begin(f"copy WAL to {target.name}")
    try:
        for batch in _batches(compared(source, target, system_identifier, since)):
            lacking = [each for each, there in batch if there is None and not is_over(each)]
            results = dict(
                zip(
                    (listed.key for listed in lacking),
                    run_parallel(lacking, bring, at_once=parallel),
                    strict=True,
                )
            )
            for listed, there in batch:
                if there is None:
                    result = results.get(listed.key)
                    if result is None:
                        left_out += 1
                        continue
                    if isinstance(result, str):
                        problems.append(result)
                        continue
                    copied += 1
                    copied_bytes += listed.size_bytes
                    unchecked += not result
                elif there != listed.size_bytes and not _hold_the_same(
                    source, target, codec, listed.key
                ):
                    problems.append(
                        f"{listed.key}: {there} bytes in {target.name}, "
                        f"{listed.size_bytes} in {source.name}"
                    )
                    continue
                else:
                    already += 1
                parts = layout.wal_file_of(listed.key)
                if parts is not None and is_segment(parts[1]):
                    newest = parts[1]
            unnamed += max(len(problems) - _MOST_PROBLEMS, 0)
            del problems[_MOST_PROBLEMS:]
    finally:
        progress.end()
    if unnamed:
        problems.append(f"{unnamed} more are not named")
    if not since:
        inherit_purged_wal(source, target, system_identifier)
    logger.info("copy WAL: %d new, %d there, %d bad", copied, already, len(problems))
    return WalCopy(
        system_identifier=system_identifier,
        copy=target.name,
        copied=copied,
        copied_bytes=copied_bytes,
        already=already,
        unchecked=unchecked,
        newest=newest,
        problems=tuple(problems),
        left_out=left_out,
    )


def _hold_the_same(source: Repository, target: Repository, codec: Codec, key: str) -> bool:
    """Whether both hold what the key says, encrypted at two times: age's output differs then.

    So it is where a stream brought a segment there before archive_command brought it to the
    primary. False without an identity: then nobody can tell.
    """
    try:
        return all(check_wal_object(each, codec, key, each.read(key)) for each in (source, target))
    except BAD_FILE:
        return False


def recent_wal(target: Repository, system_identifier: int) -> str:
    """A key to begin after: all WAL the newest backup there needs comes later.

    What is older has been brought before that backup's manifest was: copy_backup() sees to it.
    Empty, for a whole comparison, when there is no backup of that cluster yet.
    """
    for entry in walk_back(target):
        if isinstance(entry, Unreadable):
            continue
        manifest = entry.manifest
        if manifest.source.system_identifier == system_identifier:
            first, _ = needed_segments(manifest)
            return layout.timeline_prefix(system_identifier, first.timeline) + first.name
    return ""


def compared(
    source: Repository, target: Repository, system_identifier: int, since: str
) -> Iterator[tuple[Listed, int | None]]:
    """Each WAL file of the first, with its size in the second; both listings walked at once."""
    prefix = layout.wal_prefix(system_identifier)
    theirs = target.list(prefix, start_after=since)
    their = next(theirs, None)
    for ours in source.list(prefix, start_after=since):
        while their is not None and their.key < ours.key:
            their = next(theirs, None)
        if layout.wal_file_of(ours.key) is None:
            continue
        same = their is not None and their.key == ours.key
        yield ours, their.size_bytes if same and their is not None else None


def _batches(
    pairs: Iterator[tuple[Listed, int | None]],
) -> Iterator[list[tuple[Listed, int | None]]]:
    batch: list[tuple[Listed, int | None]] = []
    lacking = 0
    for pair in pairs:
        batch.append(pair)
        lacking += pair[1] is None
        if lacking >= _BATCH or len(batch) >= 10 * _BATCH:
            yield batch
            batch, lacking = [], 0
    if batch:
        yield batch
