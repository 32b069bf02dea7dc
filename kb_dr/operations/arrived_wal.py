"""Look whether the WAL a server calls archived stands in a repository."""

from kb_dr.domain import layout
from kb_dr.domain.base_backup import ArchiverStatus
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.wal_names import Segment, is_segment, is_wal_file
from kb_dr.domain.watch.arrived import ArrivedWal
from kb_dr.errors import KbDrError
from kb_dr.operations.listed_wal import stored_wal
from kb_dr.operations.recent_wal import read_recent_wal
from kb_dr.ports import Codec, Repository


def find_arrived(
    repository: Repository,
    codec: Codec,
    facts: SourceFacts,
    archiver: ArchiverStatus,
    since: Segment | None,
) -> ArrivedWal:
    """What stands of it. Call it after the server was asked.

    ``since`` is the start of the newest full backup of this cluster. Where the server has changed
    its timeline since, the histories are read, which takes an identity. Raises what the repository
    raises when it cannot be listed.
    """
    name = archiver.last_archived_wal
    last_stands = None if name is None else _stands(repository, facts.system_identifier, name)
    if since is None:
        return ArrivedWal(last_stands, None, None)
    if since.timeline == facts.timeline:
        hole = _first_missing(repository, facts.system_identifier, since)
        return ArrivedWal(last_stands, since, hole)
    try:
        missing = _first_missing_along(repository, codec, facts, since)
    except KbDrError as error:
        return ArrivedWal(last_stands, since, None, str(error))
    if missing is None:
        why = (
            f"the server is on timeline {facts.timeline}, the newest full backup on "
            f"{since.timeline}, and no history there leads from one to the other"
        )
        return ArrivedWal(last_stands, since, None, why)
    return ArrivedWal(last_stands, since, missing)


def _stands(repository: Repository, system_identifier: int, name: str) -> bool:
    if not is_wal_file(name):
        return False
    prefix = layout.wal_file_prefix(system_identifier, name)
    return any(listed.size_bytes > 0 for listed in repository.list(prefix))


def _first_missing(repository: Repository, system_identifier: int, since: Segment) -> Segment:
    """Looks no farther than the first hole."""
    prefix = layout.timeline_prefix(system_identifier, since.timeline)
    number = since.number
    for listed in repository.list(prefix, start_after=prefix + since.name):
        stored = stored_wal(listed)
        if stored is None or not is_segment(stored.name) or listed.size_bytes == 0:
            continue
        try:
            found = Segment.parse(stored.name, since.segment_bytes).number
        except ValueError:
            continue  # a stray: an audit names it
        if found > number:
            break
        if found == number:
            number += 1
    return since.at(number)


def _first_missing_along(
    repository: Repository, codec: Codec, facts: SourceFacts, since: Segment
) -> Segment | None:
    recent = read_recent_wal(repository, codec, facts.system_identifier, since)
    lineage = recent.lineages.get(facts.timeline)
    if lineage is None or since.timeline not in lineage.timelines:
        return None
    last = recent.archive.contiguous_end(since, lineage)
    return since if last is None else last.next()
