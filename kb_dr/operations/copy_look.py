"""What several questions about one copy are answered from, so that each thing is read once.

Only for what is shown and kept as a report: whoever deletes reads again.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from math import inf

from kb_dr.domain.reread import slice_of
from kb_dr.domain.stored import StoredObject
from kb_dr.operations.catalog import CatalogEntry, Unreadable, lean_entry
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.proofs import GatheredProofs


def _for_one_look() -> KnownEntries[CatalogEntry]:
    """2 KiB of each, for as long as the look takes."""
    return KnownEntries(believed_seconds=inf, most_bytes=1 << 40)


@dataclass(frozen=True, slots=True)
class CopyLook:
    """One look at a copy; manifests are remembered as they are read, in their lean form."""

    proofs: GatheredProofs
    slices: Collection[int] = ()
    """Which objects of whole manifests are remembered besides: see objects()."""
    known: KnownEntries[CatalogEntry] = field(init=False, default_factory=_for_one_look)
    _objects: dict[str, tuple[StoredObject, ...]] = field(init=False, default_factory=dict)

    def shape(self, entry: CatalogEntry) -> CatalogEntry:
        """What is kept of an entry for judging; its objects of these slices stand beside that."""
        if self.slices and not isinstance(entry, Unreadable):
            self._objects[entry.manifest.id] = tuple(objects_in((entry,), self.slices))
        return lean_entry(entry)

    def objects(self) -> Iterator[StoredObject]:
        """The objects of these slices, of every manifest that was read, oldest id first."""
        for _, objects in sorted(self._objects.items()):
            yield from objects


def objects_in(catalog: Iterable[CatalogEntry], slices: Collection[int]) -> Iterator[StoredObject]:
    """The objects of these slices that whole manifests name."""
    for entry in catalog:
        if isinstance(entry, Unreadable):
            continue  # the report says it of the backup
        for stored in entry.manifest.objects:
            if slice_of(stored.key) in slices:
                yield stored
