"""Mend WAL files of a copy that are not what their keys say, from copies that have them right."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice

from kb_dr.domain import layout
from kb_dr.domain.stored import Listed
from kb_dr.errors import ObjectMissing
from kb_dr.operations.copy_object import BAD_FILE, check_wal_object, put_wal
from kb_dr.operations.find_holders import Held
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.operations.offered_wal import find_offered_wal, name_of, with_two_digests
from kb_dr.operations.purged_wal import let_go_of_wal
from kb_dr.operations.replace_object import Mended, replace_object
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Codec, Progress, Repository

logger = logging.getLogger(__name__)

_END: tuple[str, dict[str, Listed]] = ("~", {})
"""Sorts behind every file's name."""

_BATCH = 64
"""Files looked at between two looks at the listing: bounds what is held in memory."""

_MOST_NAMED = 1000
"""So many files are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class WalRepair:
    """What one repair_wal() did."""

    system_identifier: int
    copy: str
    looked_at: int
    unchecked: int
    """Files that no identity at hand opens: nobody can tell whether they are right."""
    mended: tuple[str, ...]
    left: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeededFiles:
    """The WAL files of one backup that a copy has, or should have."""

    listed: tuple[Listed, ...]
    left: tuple[str, ...]
    """What cannot be mended, whatever stands elsewhere."""


def repair_wal(
    sources: Sequence[Repository],
    target: Repository,
    codec: Codec,
    system_identifier: int,
    progress: Progress,
    *,
    parallel: int = 4,
) -> WalRepair:
    """Read every WAL file of one cluster in ``target``, and mend those that are wrong.

    What it lacks and retention has not let go of there is brought as well: a repair that was cut
    off leaves a file missing. Memory is bounded, whatever the archive's length. Raises what the
    repositories raise that do not answer.
    """
    mender = WalMender(sources, target, codec)
    looked_at = unchecked = 0
    mended: list[str] = []
    left: list[str] = []
    files = chain(
        (
            listed
            for listed in target.list(layout.wal_prefix(system_identifier))
            if layout.wal_file_of(listed.key) is not None
        ),
        _lacking(sources, target, system_identifier) if codec.identities else (),
    )
    progress.begin(f"repair WAL in {target.name}")
    try:
        while batch := list(islice(files, _BATCH)):
            for done in run_parallel(batch, mender.mend, at_once=parallel):
                looked_at += 1
                unchecked += done.unchecked
                mended += [done.mended] if done.mended else []
                left += [done.left] if done.left else []
            progress.advance(sum(each.size_bytes for each in batch))
    finally:
        progress.end()
    for each in mended:
        logger.warning("repaired in %s: %s", target.name, each)
    return WalRepair(
        system_identifier, target.name, looked_at, unchecked, _bounded(mended), _bounded(left)
    )


def _lacking(
    sources: Sequence[Repository], target: Repository, system_identifier: int
) -> Iterator[Listed]:
    """Files of which nothing stands in ``target``, that were not let go of there, as the first
    source that has them lists them. One that stands with two digests is nobody's to choose.
    """
    is_over = let_go_of_wal(target, system_identifier)
    prefix = layout.wal_prefix(system_identifier)
    for source in sources:
        theirs = _by_name(target.list(prefix))
        name = ""
        for ours, versions in _by_name(source.list(prefix)):
            while name < ours:
                name, _ = next(theirs, _END)
            if name != ours and not is_over(ours) and not with_two_digests(versions):
                yield versions[max(versions)]


def _by_name(listing: Iterator[Listed]) -> Iterator[tuple[str, dict[str, Listed]]]:
    """Each file with every key it stands under, in order of name."""
    named = ((parts[1], listed) for listed in listing if (parts := layout.wal_file_of(listed.key)))
    for name, group in groupby(named, key=lambda each: each[0]):
        yield name, {listed.key: listed for _, listed in group}


def needed_files(held: Held, target: Repository) -> NeededFiles:
    """Every WAL file the backup needs, as ``target`` lists it or, where it lacks it, a holder.

    A segment that stands with two digests, in one copy or in two, is left as it is: one of them
    is another server's, and nobody can tell which.
    """
    offers = find_offered_wal(held.holders, held.manifest)
    theirs = find_needed_wal(target, held.manifest)
    known = {each.key: each for each in theirs.objects}
    for offered in offers.files:
        known.setdefault(offered.listed.key, offered.listed)
    doubled = with_two_digests(known)
    left = [f"{name}: it stands with two digests" for name in doubled]
    left += [
        f"{name}: missing, and no other copy has it"
        for name in theirs.missing
        if name in offers.missing
    ]
    listed = tuple(each for key, each in known.items() if name_of(key) not in doubled)
    return NeededFiles(listed, tuple(left))


class WalMender:
    """Looks at WAL files of one copy, and takes right ones from the first source that has them."""

    def __init__(self, sources: Sequence[Repository], target: Repository, codec: Codec) -> None:
        self._sources = sources
        self._target = target
        self._codec = codec

    def mend(self, listed: Listed) -> Mended:
        """Look at one file, and mend it if need be. Called from several threads."""
        key, there = listed.key, True
        try:
            body = self._target.read(key)
            if body and check_wal_object(self._target, self._codec, key, body):
                return Mended()
            if body:
                return Mended(unchecked=True)
            wrong = "it has zero bytes"
        except ObjectMissing:
            wrong, there = "missing", False
        except BAD_FILE as error:
            wrong = str(error)
        found = self._right(key)
        if found is None:
            return Mended(left=f"{key}: {wrong}; no other copy has it right")
        good, source = found
        return replace_object(
            self._target,
            key,
            wrong,
            source,
            lambda: put_wal(self._target, key, good),
            there=there,
        )

    def _right(self, key: str) -> tuple[bytes, str] | None:
        """Its stored bytes and where they are from; never any that nobody could check."""
        for source in self._sources:
            try:
                if source.find(key) is None:
                    continue
                body = source.read(key)
                if check_wal_object(source, self._codec, key, body):
                    return body, source.name
            except BAD_FILE as error:
                logger.warning("%s of %s is not taken: %s", key, source.name, error)
        return None


def _bounded(said: list[str]) -> tuple[str, ...]:
    more = len(said) - _MOST_NAMED
    return (*said[:_MOST_NAMED], *([f"{more} more are not named"] if more > 0 else []))
