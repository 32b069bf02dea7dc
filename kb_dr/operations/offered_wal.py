"""The WAL one backup needs, as several repositories together can give it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from kb_dr.domain import layout
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.stored import Listed
from kb_dr.domain.wal_names import is_history, is_segment, timeline_of
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.ports import Repository


@dataclass(slots=True)
class OfferedWal:
    """One WAL file, and who has it."""

    listed: Listed
    """As the first of ``holders`` lists it."""
    holders: list[Repository] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WalOffers:
    """What a backup needs of WAL, from wherever it can be had."""

    files: tuple[OfferedWal, ...]
    missing: tuple[str, ...]
    """Files it needs that nobody has."""
    doubtful: tuple[str, ...]
    """Files stored with two digests, or with zero bytes wherever they stand."""


def find_offered_wal(repositories: Sequence[Repository], manifest: Manifest) -> WalOffers:
    """Look for it in each, nearest first, by their listings; nothing is read.

    An empty file is none where another repository has more of it.
    """
    offers: dict[str, OfferedWal] = {}
    empty: set[str] = set()
    missing: list[str] | None = None
    for repository in repositories:
        needed = find_needed_wal(repository, manifest)
        missing = [each for each in needed.missing if missing is None or each in missing]
        for listed in needed.objects:
            if listed.size_bytes == 0:
                empty.add(name_of(listed.key))
                continue
            offers.setdefault(listed.key, OfferedWal(listed)).holders.append(repository)
    known = {name_of(key) for key in offers}
    doubtful = [
        f"{name} of timeline {timeline_of(name)} is stored with two digests"
        for name in with_two_digests(offers)
    ]
    doubtful += [f"{name} has zero bytes" for name in sorted(empty) if name not in known]
    return WalOffers(tuple(offers.values()), tuple(missing or ()), tuple(doubtful))


def with_two_digests(keys: Iterable[str]) -> tuple[str, ...]:
    """The segments and histories among these keys that two servers wrote, in order.

    The same digest again is the same file, encrypted to other keys.
    """
    digests: dict[str, set[str]] = {}
    for key in keys:
        parts = layout.wal_file_of(key)
        if parts is not None and (is_segment(parts[1]) or is_history(parts[1])):
            digests.setdefault(parts[1], set()).add(parts[2])
    return tuple(sorted(name for name, each in digests.items() if len(each) > 1))


def name_of(key: str) -> str:
    """The WAL file's own name."""
    parts = layout.wal_file_of(key)
    return parts[1] if parts is not None else key
