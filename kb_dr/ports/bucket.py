"""What a bucket does by itself with the objects in it: versions, locks, lifecycle rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kb_dr.domain.lifecycle import LifecycleRule
    from kb_dr.domain.object_lock import ObjectLock
    from kb_dr.domain.stored import HiddenObject


class Bucket(Protocol):
    """The bucket a repository lies in. Errors are those of Repository.

    A store is asked with GETs of the bucket alone, and never sent a call that changes anything
    unless its answers have shown that it knows of the matter: some overwrite an object when they
    are sent a call they do not know.
    """

    def keeps_versions(self) -> bool:
        """Whether a plain delete only hides an object, or did so once."""
        ...

    def can_lock(self) -> bool:
        """Whether objects of this bucket can be locked at all; decided when a bucket is made."""
        ...

    def object_lock(self) -> ObjectLock | None:
        """What is retained of everything written from now on; None when nothing is."""
        ...

    def set_object_lock(self, lock: ObjectLock) -> None:
        """Retain everything that is written from now on; what is there already stays as it is.

        Only where can_lock(). Whatever stood there is replaced: look first.
        """
        ...

    def hidden(self, prefix: str) -> Iterator[HiddenObject]:
        """Objects whose bytes are there, behind a delete marker; in order of key.

        Every other call takes those for missing. Nothing where no versions are kept.
        """
        ...

    def bring_back(self, key: str) -> None:
        """Remove the delete markers that hide this object; none is a success."""
        ...

    def lifecycle(self) -> tuple[LifecycleRule, ...] | None:
        """The rules in force that touch the repository, whoever made them.

        None where the store has no such thing.
        """
        ...

    def set_lifecycle(self, rules: Sequence[LifecycleRule]) -> None:
        """Put these in the place of the rules kb-dr made here; rules of others stay.

        What the store holds afterwards is read and compared: RepositoryError when it differs.
        """
        ...
