"""Bring what a stream has received to every copy, without the server it came from."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kb_dr.domain.layout import partial_key
from kb_dr.domain.lsn import Lsn
from kb_dr.errors import KbDrError, RepositoryUnavailable, WalDamaged, WrongCluster
from kb_dr.operations.shared_codec import SharedCodec
from kb_dr.operations.ship_wal import CodedPartial, Shipper
from kb_dr.operations.stream_spool import StreamSpool, Written, bound_spool
from kb_dr.ports import Clock, Codec, Repository

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flushed:
    """What came of it in one copy."""

    copy: str
    upto: Lsn | None
    """How far it reaches there now; None: there was nothing, or nothing came there."""
    error: KbDrError | None
    """Why not all of it came there; None: all did."""


def flush_stream(
    copies: Sequence[Repository],
    codec: Codec,
    clock: Clock,
    directory: Path,
    *,
    check: Callable[[Repository], None],
) -> tuple[Flushed, ...]:
    """Bring what a stream that does not run has left in ``directory`` to every copy.

    Nothing is removed here: a stream that is started again goes on behind it. Raises
    ConfigurationError when nothing was ever streamed there, or a stream still runs.
    """
    with bound_spool(directory) as spool:
        return flush_spool(copies, codec, clock, spool, check=check)


def flush_spool(
    copies: Sequence[Repository],
    codec: Codec,
    clock: Clock,
    spool: StreamSpool,
    *,
    check: Callable[[Repository], None],
) -> tuple[Flushed, ...]:
    """Bring complete segments, histories and what is unfinished to each copy, the primary first.

    A copy that fails holds up no other one. Nothing may be received meanwhile.
    """
    shared = SharedCodec(codec, spool.wal.parent / "coded")
    partials: list[CodedPartial] = []
    damage: KbDrError | None = None
    for path in spool.partials():
        try:
            written = spool.written(path)
        except (WalDamaged, WrongCluster) as error:
            logger.warning("stream: not shipped: %s", error)
            damage = error
            continue
        if written is not None:
            partials.append(code_partial(written, codec, spool.system_identifier))
    flushed: list[Flushed] = []
    primary: Shipper | None = None
    for copy in copies:
        shipper = Shipper(
            copy, shared, clock, spool, spool.system_identifier, check=check, primary=primary
        )
        primary = primary or shipper
        failure: KbDrError | None = None
        try:
            shipper.ship_once(partials)
        except KbDrError as error:
            failure = error
        flushed.append(Flushed(copy.name, shipper.upto, failure or damage))
    return tuple(flushed)


def require_flushed(flushed: Sequence[Flushed]) -> None:
    """Raise unless a copy has everything, and each other one has it as well or is down."""
    errors = [each.error for each in flushed if each.error is not None]
    grave = [error for error in errors if not isinstance(error, RepositoryUnavailable)]
    if grave or len(errors) == len(flushed):
        raise (grave or errors)[0]


def code_partial(written: Written, codec: Codec, system_identifier: int) -> CodedPartial:
    """An unfinished segment as it is stored."""
    key = partial_key(system_identifier, written.segment.name, written.upto)
    return CodedPartial(written.segment, written.upto, key, codec.encode(written.content))
