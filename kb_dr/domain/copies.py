"""The copies of a backup: which one counts, and whose turn it is to be proven."""

from collections.abc import Mapping, Sequence
from datetime import datetime

PRIMARY = "primary"
OFFSITE = "offsite"


def copy_that_counts(copies: Sequence[str]) -> str:
    """The copy a proof has to read to be believed: what is left after a disaster.

    The offsite one wherever there is one, else the last: a disk beside production shares its
    fate, however many of them there are.
    """
    return OFFSITE if OFFSITE in copies else copies[-1]


def further_copies(copies: Sequence[str]) -> tuple[str, ...]:
    """Those that backups and WAL are brought to."""
    return tuple(copy for copy in copies if copy != PRIMARY)


def copies_to_prove(copies: Sequence[str], tried: Mapping[str, datetime]) -> tuple[str, ...]:
    """The copies one round of proofs reads: the one that counts, and one of the others in turn.

    ``tried`` is when each copy was last tried, whatever came of it: a copy that cannot be proven
    does not keep the others waiting. Of the others it is the one never tried, the farthest
    first, or else the one whose last try is the oldest. So each copy is read at least once in as
    many rounds as there are other copies.
    """
    counting = copy_that_counts(copies)
    others = [copy for copy in copies if copy != counting]
    if not others:
        return (counting,)
    never = [copy for copy in reversed(others) if copy not in tried]
    turn = never[0] if never else min(others, key=lambda copy: tried[copy])
    return (counting, turn)
