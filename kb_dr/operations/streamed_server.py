"""The server a stream reads from: its slot, and whether it can go on from where the spool ends.

Nothing here rests on what the server says in words: they are in its own language.
"""

import logging

from kb_dr.domain.lsn import Lsn
from kb_dr.domain.source_facts import SourceFacts
from kb_dr.domain.wal_names import Segment
from kb_dr.errors import PostgresError, PostgresUnavailable, WalGap, WrongCluster
from kb_dr.operations.stream_spool import StreamSpool
from kb_dr.ports import SourceServer, WalReceiver

logger = logging.getLogger(__name__)

_MOST_VAIN_STARTS = 3
"""So many receivers may end one after the other without having brought anything, while the slot
no longer keeps what comes next: it may be about to lose it, or to be found elsewhere."""


class StreamedServer:
    """One server, asked again after each interruption."""

    def __init__(
        self,
        source: SourceServer,
        receiver: WalReceiver,
        slot: str,
        spool: StreamSpool,
        facts: SourceFacts,
    ) -> None:
        self._source = source
        self._receiver = receiver
        self._slot = slot
        self._spool = spool
        self._system_identifier = facts.system_identifier
        self._facts = facts
        self._vain_starts = 0
        self._lacking: Segment | None = None

    def prepare(self) -> None:
        """Make the slot if need be. Raises WalGap when the server cannot go on from the spool."""
        self._require_not_behind(self._facts, None)
        if self._facts.slot is None:
            if not self._spool.empty:
                logger.warning(
                    "stream: slot %s is gone: it is made anew, and the server is asked for what "
                    "follows; WAL it has removed since is lost to the stream", self._slot,
                )  # fmt: skip
            self._receiver.create_slot(self._slot)
            logger.info("stream: slot %s was made", self._slot)
            self._facts = self._source.facts()
        self._require_slot(self._facts)
        self._note_what_is_lacking()
        found = self._facts.slot
        if self._facts.major < 15 and self._spool.empty and found and found.restart_lsn:
            # Before 15 pg_receivewal does not ask the slot where it stands.
            size = self._facts.segment_bytes
            at = Segment.holding(self._facts.timeline, found.restart_lsn, size)
            self._spool.begin_at(at)

    def forget_slot(self) -> None:
        """Drop the slot, and ask the server anew where it stands."""
        self._receiver.drop_slot(self._slot)
        self._facts = self._source.facts()

    def is_back(self, shipped: tuple[int, Lsn] | None) -> bool:
        """Whether the server answers; raises when it is not what was streamed before.

        ``shipped``: the timeline and position that any copy was brought to in this run. The
        receiver must have ended.
        """
        try:
            facts = self._source.facts()
        except PostgresUnavailable as error:
            logger.warning("stream: %s", error)
            return False
        if facts.system_identifier != self._system_identifier:
            raise WrongCluster(
                f"stream WAL: the server is now cluster {facts.system_identifier}, expected "
                f"{self._system_identifier}",
                hint="Check KB_DB_HOST; a server that was replaced needs a full backup and a "
                "stream of its own.",
            )
        if facts.is_standby:
            # How far it has replayed says nothing of what it will have once it is promoted.
            logger.warning("stream: the server is a standby now; waiting until it is promoted")
            return False
        if facts.slot is None:
            raise PostgresError(
                f"stream WAL: the replication slot {self._slot} was dropped while it was in use",
                hint="Find out who dropped it. Start the stream again at once: it makes the slot "
                "anew and goes on where it stopped, if the server still has that WAL.",
            )
        self._require_slot(facts)
        self._require_not_behind(facts, shipped)
        self._facts = facts
        return True

    def received_in_vain(self, words: str, *, progress: bool) -> None:
        """A receiver ended, and the server answers again, as is_back() says.

        Raises WalGap when it brought nothing several times, and the slot no longer keeps what
        comes next: a server that refuses for another reason, as a full one, is tried for ever.
        """
        if progress:
            self._vain_starts, self._lacking = 0, None
            return
        self._note_what_is_lacking()
        if self._lacking is not None and self._lacking == self._spool.following():
            self._vain_starts += 1
        if self._vain_starts >= _MOST_VAIN_STARTS:
            raise _gap(f"pg_receivewal cannot go on from {self._next_name()}: {words}")

    def _note_what_is_lacking(self) -> None:
        """Remember it: a receiver's own report may set the slot back to where the spool ends,
        though the server has removed that WAL long since.
        """
        if self._may_lack_next():
            self._lacking = self._spool.following()

    def _may_lack_next(self) -> bool:
        following, slot = self._spool.following(), self._facts.slot
        if following is None or slot is None or slot.active:
            return False
        if following.timeline != self._facts.timeline or slot.restart_lsn is None:
            return True
        return slot.restart_lsn >= following.end

    def _next_name(self) -> str:
        following = self._spool.following()
        return following.name if following else "its beginning"

    def _require_slot(self, facts: SourceFacts) -> None:
        if facts.slot is None:
            raise PostgresError(
                f"stream WAL: {self._slot} is no physical replication slot",
                hint="Choose another name: --slot or KB_DR_STREAM_SLOT.",
            )
        if facts.slot.wal_status == "lost":
            raise _gap(f"the server has removed WAL that slot {facts.slot.name} was to keep")

    def _require_not_behind(self, facts: SourceFacts, shipped: tuple[int, Lsn] | None) -> None:
        """Only flushed WAL is sent, so a server that lacks what was received was set back.

        What it writes now bears the same names and positions as what we have, and is other WAL:
        a stream that passed over it until it is beyond them would look alive and ship nothing.
        """
        reached = max(filter(None, (self._spool.received(), shipped)), default=None)
        if reached is not None and (facts.timeline, facts.written_lsn) < reached:
            timeline, lsn = reached
            raise WalGap(
                f"stream WAL: the source stands behind what was received from it: at "
                f"{facts.written_lsn} on timeline {facts.timeline}, expected at least {lsn} on "
                f"timeline {timeline}",
                hint="It was set back, as by a reverted snapshot, or is an old copy: check "
                "KB_DB_HOST. What it writes now differs from what is stored under the same "
                "names. If it is to stay so: make it a standby (standby.signal) and promote it, "
                "which gives it a timeline of its own, run `kb-dr wal stream --accept-gap` once, "
                "and take a full backup at once.",
            )


def _gap(seen: str) -> WalGap:
    return WalGap(
        f"stream WAL: {seen}",
        hint="If archive_command has brought that WAL, nothing is lost. Else there is a gap: "
        "run `kb-dr wal stream --accept-gap` once to begin anew at the server's present "
        "position, and take a full backup.",
    )
