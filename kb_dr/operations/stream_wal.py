"""Stream WAL: for hosts where nothing can be installed, and for an RPO of seconds.

pg_receivewal receives into a spool, through a slot that makes the server keep what has not been
received. Complete segments are pushed as the archive_command pushes them, so both may run side by
side; the one being written is shipped every few seconds.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.errors import (
    ConfigurationError,
    WalDamaged,
)
from kb_dr.operations.flush_stream import code_partial, flush_spool
from kb_dr.operations.shared_codec import SharedCodec
from kb_dr.operations.ship_wal import CodedPartial, Shipper
from kb_dr.operations.stream_spool import StreamSpool, open_spool
from kb_dr.operations.streamed_server import StreamedServer
from kb_dr.ports import Clock, Codec, Repository, SourceServer, WalReceiver

logger = logging.getLogger(__name__)

_LINE_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0
_END_SECONDS = 3.0
"""How long a call to a repository may take at the end, before it is left alone."""
_MOST_KEPT = 16
"""Complete segments kept for a copy that is down, once the primary has them: past that,
`kb-dr copy` brings it the rest."""

_IDLE_SHARE = 3
"""So many times as long as it took, the next look at the unfinished segment waits at least."""


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How one stream runs."""

    directory: Path
    """What is received stands here until it is archived; this stream's own."""
    slot: str
    every_seconds: float
    """How often the segment being written is looked at, and shipped if it has grown."""
    accept_gap: bool
    """Begin anew at the server's present position, although WAL before it is lost."""


def stream_wal(
    source: SourceServer,
    receiver: WalReceiver,
    copies: Sequence[Repository],
    codec: Codec,
    clock: Clock,
    settings: StreamSettings,
    *,
    check: Callable[[Repository], None],
) -> NoReturn:
    """Receive WAL and ship it until interrupted.

    ``copies``: the first is the primary, to which every complete segment must come before it is
    removed here; another one that is down is tried again and holds up nothing. ``check`` raises
    unless a repository is this service's. Killed at any point and started again, it goes on
    without a gap. A server that is down is waited for. Raises WrongCluster when it is another
    one, WalGap when it no longer has the WAL that comes next, PostgresError when the slot is
    dropped while it runs, and of the primary what no later try can mend.
    """
    facts = _facts(source)
    with open_spool(settings.directory, facts.system_identifier, facts.segment_bytes) as spool:
        stream = _Stream(source, receiver, copies, codec, clock, settings, spool, facts, check)
        try:
            stream.run()
        finally:
            stream.end()


def _facts(source: SourceServer) -> SourceFacts:
    facts = source.facts()
    if facts.is_standby:
        raise ConfigurationError(
            "stream WAL: the source is a standby", hint="Point KB_DB_HOST at the primary."
        )
    if not facts.may_replicate:
        raise ConfigurationError(
            "stream WAL: the role may not replicate",
            hint="alter role … replication; and allow `replication` for it in pg_hba.conf.",
        )
    return facts


class _Stream:
    """One run."""

    def __init__(
        self,
        source: SourceServer,
        receiver: WalReceiver,
        copies: Sequence[Repository],
        codec: Codec,
        clock: Clock,
        settings: StreamSettings,
        spool: StreamSpool,
        facts: SourceFacts,
        check: Callable[[Repository], None],
    ) -> None:
        self._receiver = receiver
        self._copies = copies
        self._primary = copies[0]
        self._codec = codec
        self._shared = SharedCodec(codec, settings.directory / "coded")
        self._clock = clock
        self._settings = settings
        self._spool = spool
        self._system_identifier = facts.system_identifier
        self._server = StreamedServer(source, receiver, settings.slot, spool, facts)
        self._check = check
        self._shippers: list[Shipper] = []
        for copy in copies:
            self._shippers.append(
                Shipper(
                    copy,
                    self._shared,
                    clock,
                    spool,
                    facts.system_identifier,
                    check=check,
                    primary=self._shippers[0] if self._shippers else None,
                )
            )
        self._received = ""
        self._said_at = clock.monotonic()
        self._damage = ""
        self._coded_again = clock.monotonic()

    def run(self) -> NoReturn:
        """Receive, again and again."""
        if self._settings.accept_gap:
            self._begin_anew()
        self._server.prepare()
        for shipper in self._shippers:
            shipper.start()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._spool.mend()
            began = self._clock.monotonic()
            before = self._spool.state()
            words = self._receive()
            lasted = self._clock.monotonic() - began > _LONGEST_PAUSE_SECONDS
            progress = lasted or bool(self._spool.state() - before)
            if lasted:
                pause = _FIRST_PAUSE_SECONDS
            logger.warning("stream: pg_receivewal ended, again in %.0f s: %s", pause, words)
            self._wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            while not self._server.is_back(self._shipped()):
                self._wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._server.received_in_vain(words, progress=progress)

    def end(self) -> None:
        """Let the threads end, and say what is left here."""
        for shipper in self._shippers:
            shipper.stop(_END_SECONDS)
        primary = self._shippers[0]
        left = sum(primary.pushed(path) is None for path in self._spool.complete())
        logger.info(
            "stream: ended; %s, %d complete segments wait in %s",
            self._positions(), left, self._spool.wal,
        )  # fmt: skip

    def _receive(self) -> str:
        """One pg_receivewal, to its end; its last words."""
        with self._receiver.receiving(self._spool.wal, self._settings.slot) as running:
            logger.info(
                "stream: receiving through slot %s into %s", self._settings.slot, self._spool.wal
            )
            while (words := running.ended()) is None:
                self._wait(self._settings.every_seconds)
        return words

    def _wait(self, seconds: float) -> None:
        """Ship what there is while time passes."""
        until = self._clock.monotonic() + seconds
        while True:
            self._ship()
            left = until - self._clock.monotonic()
            if left <= 0:
                return
            self._clock.sleep(min(left, self._settings.every_seconds))

    def _ship(self) -> None:
        partial = self._coded()
        for shipper in self._shippers:
            shipper.require_running()
            shipper.offer(partial)
        self._drop_shipped()
        now = self._clock.monotonic()
        if now - self._said_at >= _LINE_SECONDS:
            self._said_at = now
            logger.info("stream: %s", self._positions())

    def _coded(self) -> CodedPartial | None:
        began = self._clock.monotonic()
        if began < self._coded_again:
            return None
        try:
            written = self._spool.grown()
        except WalDamaged as error:
            # Looked at again: it may have been read just while it was written.
            if str(error) != self._damage:
                logger.warning("stream: not shipped: %s", error)
            self._damage = str(error)
            return None
        if written is None:
            return None
        self._damage = ""
        self._received = f"{written.upto} on timeline {written.segment.timeline}"
        coded = code_partial(written, self._codec, self._system_identifier)
        now = self._clock.monotonic()
        # Where segments are large, this must not be all that the machine does.
        self._coded_again = now + _IDLE_SHARE * (now - began)
        return coded

    def _drop_shipped(self) -> None:
        """Remove complete segments that every copy has, or the primary at least, in order."""
        complete = self._spool.complete()
        for number, path in enumerate(complete):
            too_many = len(complete) - number > _MOST_KEPT
            wanted = self._shippers[:1] if too_many else self._shippers
            done = [shipper.pushed(path) for shipper in wanted]
            if None in done or not self._spool.drop(path):
                break
            for pushed in done:
                if pushed is not None:
                    self._shared.forget(pushed.sha256)
            for shipper in self._shippers:
                shipper.forget(path)
        self._spool.drop_left()

    def _shipped(self) -> tuple[int, Lsn] | None:
        return max((each.reached for each in self._shippers if each.reached), default=None)

    def _positions(self) -> str:
        copies = ", ".join(
            f"{each.name} has {each.upto or 'nothing of it'}" for each in self._shippers
        )
        return f"received {self._received or 'nothing yet'}; {copies}"

    def _begin_anew(self) -> None:
        """Bring away what was received, and forget it and the slot; what is not in every copy
        is kept aside.
        """
        self._check(self._primary)
        flushed = flush_spool(
            self._copies, self._shared, self._clock, self._spool, check=self._check
        )
        logger.warning("stream: beginning anew; WAL between the last segment and now is not sought")
        self._server.forget_slot()
        if all(each.error is None for each in flushed):
            self._spool.forget()
        else:
            aside = self._spool.set_aside(f"{self._clock.now():%Y%m%dT%H%M%SZ}")
            logger.warning("stream: not every copy has what was received: it is kept in %s", aside)
        self._shared.forget_all()
