"""The base backup a window stands on that somebody has restored; a usable one is only a hope."""

from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr.domain.status import CopyStatus, ProvenBase, Window


@dataclass(frozen=True, slots=True)
class ProvenWindow:
    """A window, and the newest proven base in it."""

    window: Window
    base: ProvenBase


def proven_base(
    window: Window, copy: CopyStatus, copies: Sequence[CopyStatus]
) -> ProvenBase | None:
    """The newest backup of a window of ``copy`` whose very manifest is proven.

    In this copy, or in another one while nothing speaks against this one: the digest covers
    every chunk, so both hold the same bytes unless this copy was damaged since.
    """
    places = (copy, *(each for each in copies if each.copy != copy.copy))
    inside = [each for each in copy.backups if each.usable and each.id in window.backups]
    for backup in sorted(inside, key=lambda each: each.finished, reverse=True):
        for place in places:
            for proven in place.proven:
                if (proven.id, proven.digest) == (backup.id, backup.digest):
                    return ProvenBase(backup.id, backup.digest, place.copy, proven.proof_id)
    return None


def newest_proven_window(copy: CopyStatus, copies: Sequence[CopyStatus]) -> ProvenWindow | None:
    """Where a recovery from a proven base comes farthest; None when no window has such a base.

    A window that is newer, behind a gap, with bases that nobody has restored does not count. The
    line of the newest backup goes before others: those may hold a future that was left.
    """
    found = [
        ProvenWindow(window, base)
        for window in copy.windows
        if (base := proven_base(window, copy, copies)) is not None
    ]
    tip = copy.tip_window
    found = [each for each in found if tip is not None and each.window.line == tip.line] or found
    known = [each for each in found if each.window.end is not None]
    return max(
        known or found,
        key=lambda each: each.window.end.at if each.window.end else each.window.begins_at,
        default=None,
    )
