"""Push one WAL file into the repository: the archive_command.

PostgreSQL removes a segment once this succeeds, so success means: stored, and looked at.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from kb_dr.domain.layout import timeline_prefix, wal_key
from kb_dr.domain.wal_names import (
    history_name,
    is_partial,
    is_segment,
    is_wal_file,
    timeline_of,
)
from kb_dr.domain.wal_page import check_segment
from kb_dr.errors import (
    ChecksumMismatch,
    ConfigurationError,
    KbDrError,
    ObjectConflict,
    WalDamaged,
)
from kb_dr.operations.listed_wal import StoredWal, find_wal, stored_wal
from kb_dr.operations.push_notes import FileState, PushNotes
from kb_dr.operations.spread_out import may_spread, spread_out
from kb_dr.ports import Codec, Repository

logger = logging.getLogger(__name__)

MOST_AHEAD = 255
"""Further ready segments one call takes along, and"""
MOST_SECONDS_AHEAD = 10.0
"""for how long it begins with further ones: the server waits for the call when it shuts down."""
MOST_BYTES_AT_ONCE = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Pushed:
    """One WAL file that is in the repository."""

    name: str
    key: str
    sha256: str
    """Of the plain bytes."""
    already_there: bool


def archive_wal(
    path: Path,
    *,
    repository: Repository,
    codec: Codec,
    system_identifier: int | None,
    notes: PushNotes | None = None,
    transfers: int = 4,
    processes: int = 1,
) -> Pushed:
    """Push ``path``, and ahead of their turn the other segments that are ready.

    ``notes`` is where those are remembered; without it only ``path`` is pushed. Raises as
    push_file() does, about ``path`` alone: another segment's trouble is told at its own turn.
    ``processes`` are used at once where this one may be doubled and the repository is the same
    for all; else as many threads as ``transfers``.
    """
    if notes is not None and (noted := pushed_ahead(path, notes)) is not None:
        return noted
    _push_history_of(path, repository, codec, system_identifier)
    pushed = push_file(
        path, repository=repository, codec=codec, system_identifier=system_identifier
    )
    if notes is not None and system_identifier is not None:
        ahead = [other for other in ready_beside(path) if not notes.exists(other.name)]
        # Without notes all that is pushed ahead would be read and looked at again, call by call.
        if ahead and notes.can_be_written():
            notes.forget_taken()
            at_once = (transfers, processes)
            _push_ahead(ahead[:MOST_AHEAD], repository, codec, system_identifier, notes, at_once)
    return pushed


def push_file(
    path: Path,
    *,
    repository: Repository,
    codec: Codec,
    system_identifier: int | None,
    looked: Mapping[str, StoredWal] | None = None,
) -> Pushed:
    """Push one file; ``looked`` is what stood a moment ago, else the store is asked.

    Stored already with the same plain bytes is a success; with others it is ObjectConflict.
    Raises WalDamaged or WrongCluster when a segment's header does not fit its name or cluster,
    and whatever the repository raises. ``system_identifier`` None: the segment's own header says.
    """
    name = path.name
    if not is_wal_file(name):
        raise ConfigurationError(f"push {name!r}: not the name of a WAL file")
    try:
        plain = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"push {name}: cannot read {path}: {error.strerror}") from error
    if is_segment(name) or is_partial(name):
        header = check_segment(name, plain[:40], len(plain), system_identifier=system_identifier)
        system_identifier = header.system_identifier
    elif not plain:
        raise WalDamaged(f"push {name}: it has zero bytes")
    if system_identifier is None:
        raise ConfigurationError(
            f"push {name}: cannot tell which cluster it is of",
            hint="Run it in the data directory, or give --system-identifier.",
        )
    sha256 = hashlib.sha256(plain).hexdigest()
    if looked is None:
        # A place that is missing is told by put().
        stored = find_wal(repository, system_identifier, name, certainly=False)
    else:
        stored = looked.get(name)
    if stored is not None:
        if stored.sha256 != sha256:
            raise ObjectConflict(
                f"push {name} to {repository.url}: other bytes are stored under this name "
                f"(sha256 {stored.sha256[:12]}…, this file's is {sha256[:12]}…)",
                hint="Another server with the same system identifier archives here: one of them "
                "must stop, or get a repository (KB_DR_ORG) of its own.",
            )
        return Pushed(name, stored.key, sha256, already_there=True)
    coded = codec.encode(plain)
    if not coded:
        raise ChecksumMismatch(f"push {name}: nothing was left of it after encoding")
    try:
        put = repository.put(wal_key(system_identifier, name, sha256), coded, digest=False)
    except ObjectConflict:
        # Someone stored it since we looked: encrypted bytes differ each time, plain ones may not.
        stored = find_wal(repository, system_identifier, name)
        if stored is None or stored.sha256 != sha256:
            raise
        return Pushed(name, stored.key, sha256, already_there=True)
    if put.size_bytes != len(coded):
        raise ChecksumMismatch(
            f"push {name} to {repository.url}: {put.size_bytes} bytes stored, expected {len(coded)}"
        )
    return Pushed(name, put.key, sha256, already_there=False)


def _push_history_of(
    path: Path, repository: Repository, codec: Codec, system_identifier: int | None
) -> None:
    """Push the history of a segment's timeline before the segment.

    A cluster that was restored opened its timeline while it did not archive, and PostgreSQL
    offers a history file only once, when the timeline begins. Without it no recovery finds its
    way onto that timeline.
    """
    if system_identifier is None or not is_segment(path.name) or timeline_of(path.name) == 1:
        return
    history = path.with_name(history_name(timeline_of(path.name)))
    if history.exists() and find_wal(repository, system_identifier, history.name) is None:
        push_file(history, repository=repository, codec=codec, system_identifier=system_identifier)


def ready_beside(path: Path) -> list[Path]:
    """The other segments the server has marked ready, oldest first; empty outside of pg_wal."""
    status = path.parent / "archive_status"
    try:
        marks = os.listdir(status)
    except OSError:
        return []
    names = (mark.removesuffix(".ready") for mark in marks if mark.endswith(".ready"))
    return [path.parent / name for name in sorted(names) if is_segment(name) and name != path.name]


def pushed_ahead(path: Path, notes: PushNotes) -> Pushed | None:
    """A push that was done ahead, when the file still is what was pushed then."""
    note = notes.take(path.name)
    if note is None:
        return None
    try:
        if str(FileState.of(path)) != note.state:
            return None
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None  # push_file() will say what is wrong with it
    if sha256 != note.sha256:
        return None
    return Pushed(path.name, note.key, sha256, already_there=True)


def _push_ahead(
    paths: Sequence[Path],
    repository: Repository,
    codec: Codec,
    system_identifier: int,
    notes: PushNotes,
    at_once: tuple[int, int],
) -> None:
    ends = time.monotonic() + MOST_SECONDS_AHEAD

    def push(path: Path) -> tuple[Pushed, FileState] | None:
        stood = before[path.name]
        if time.monotonic() > ends or not _beyond_doubt(stood):
            return None  # its own turn will tell what is wrong
        try:
            state = FileState.of(path)
            settled = state.settled()
            pushed = push_file(
                path,
                repository=repository,
                codec=codec,
                system_identifier=system_identifier,
                looked={each.name: each for each in stood},
            )
            if settled and FileState.of(path) == state:
                return pushed, state
        except (KbDrError, OSError) as error:
            # It stays ready, so the server asks for it again, and is told then.
            logger.info("push %s ahead: %s", path.name, error)
        return None

    try:
        before = _standing(repository, system_identifier, paths)
        done = _all_pushed(paths, push, at_once)
        # Looked at together, and again: another server may have written meanwhile.
        after = _standing(repository, system_identifier, [Path(each.name) for each, _ in done])
        for pushed, state in done:
            stands = after[pushed.name]
            if _beyond_doubt(stands) and any(each.sha256 == pushed.sha256 for each in stands):
                notes.write(pushed.name, pushed.key, pushed.sha256, state)
    except (KbDrError, OSError, RuntimeError, MemoryError) as error:
        # A thread or memory that is not to be had, too: what was asked for is stored by now.
        logger.warning("push ahead: %s", error or type(error).__name__)


def _all_pushed(
    paths: Sequence[Path],
    push: Callable[[Path], tuple[Pushed, FileState] | None],
    at_once: tuple[int, int],
) -> list[tuple[Pushed, FileState]]:
    """What came of all of them, a few at once."""
    transfers, processes = at_once
    size = max(paths[0].stat().st_size, 1) if paths[0].exists() else 1
    most = max(1, MOST_BYTES_AT_ONCE // size)
    # A process holds five times its segment, what it shares with nobody: 82 MiB of 16.
    processes = min(processes, most // 2, len(paths))
    if processes > 1 and may_spread():

        def push_number(number: int) -> str:
            done = push(paths[number])
            return "" if done is None else json.dumps([asdict(each) for each in done])

        said = spread_out(len(paths), push_number, processes=processes)
        return [(Pushed(**pushed), FileState(**state)) for pushed, state in map(json.loads, said)]
    from concurrent.futures import ThreadPoolExecutor  # only where there is more than one file

    with ThreadPoolExecutor(min(transfers, most)) as pool:
        return [done for done in pool.map(push, paths) if done is not None]


def _beyond_doubt(stored: Sequence[StoredWal]) -> bool:
    """Whether this is one file, whole, or none: one may stand twice, encrypted to other keys."""
    return len({each.sha256 for each in stored}) <= 1 and all(
        each.listed.size_bytes for each in stored
    )


def _standing(
    repository: Repository, system_identifier: int, paths: Iterable[Path]
) -> dict[str, list[StoredWal]]:
    """What stands of some segments, by name, from one listing for each timeline."""
    found: dict[str, list[StoredWal]] = {path.name: [] for path in sorted(paths)}
    for timeline in {timeline_of(name) for name in found}:
        names = [name for name in found if timeline_of(name) == timeline]
        prefix = timeline_prefix(system_identifier, timeline)
        for listed in repository.list(prefix, start_after=prefix + names[0]):
            stored = stored_wal(listed)
            if stored is None or not is_segment(stored.name):
                continue
            if stored.name > names[-1]:
                break
            if stored.name in found:
                found[stored.name].append(stored)
    return found
