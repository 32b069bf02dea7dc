"""Bring what a stream shipped of the open segment to another repository."""

import logging

from kb_dr.errors import ChecksumMismatch, KeyMissing, ObjectConflict, WalDamaged, WrongCluster
from kb_dr.operations.partial_wal import open_partials, read_partial
from kb_dr.ports import Codec, Repository

logger = logging.getLogger(__name__)

_BAD = (ChecksumMismatch, WalDamaged, WrongCluster)


def copy_partials(
    source: Repository,
    target: Repository,
    codec: Codec,
    system_identifier: int,
    *,
    since: str = "",
) -> tuple[str, ...]:
    """Bring over the newest state of each timeline's last, unfinished segment; return the keys.

    ``since`` is a key to begin after, as for copy_wal(). What stands there already is left alone.
    One that is damaged is not passed on, and said in the log: the next state takes its place.
    """
    copied = []
    for partial in open_partials(source, system_identifier, since=since):
        if target.find(partial.key) is not None:
            continue
        try:
            read_partial(source, codec, partial)
        except KeyMissing:
            pass  # without an identity the bytes are passed on as they are
        except _BAD as error:
            logger.warning("copy %s to %s: %s", partial.key, target.name, error)
            continue
        try:
            target.put(partial.key, source.read(partial.key))
        except ObjectConflict:
            continue  # the stream itself was there first: encrypted bytes differ each time
        copied.append(partial.key)
    return tuple(copied)
