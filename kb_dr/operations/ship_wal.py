"""Ship what a stream receives to one repository, at that repository's own pace."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kb_dr.domain import layout
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.wal_names import Segment, is_segment
from kb_dr.errors import (
    ChecksumMismatch,
    KbDrError,
    ObjectConflict,
    RepositoryError,
    WalDamaged,
    WrongCluster,
    WrongRepository,
)
from kb_dr.operations.archive_wal import Pushed, push_file
from kb_dr.operations.copy_object import copy_wal_object
from kb_dr.operations.listed_wal import find_wal
from kb_dr.operations.stream_spool import StreamSpool
from kb_dr.operations.sweep_partials import sweep_partials
from kb_dr.ports import Clock, Codec, Repository

logger = logging.getLogger(__name__)

FINAL = (ObjectConflict, WrongCluster, WalDamaged, WrongRepository)
"""What no later try can mend."""

_AGAIN_SECONDS = 60.0
"""How often the same trouble is said again."""
_LONGEST_PAUSE_SECONDS = 30.0
_SWEEP_SECONDS = 600.0
_SLOW_SECONDS = 5.0
"""The other copies wait no longer for the primary to have a segment first."""


@dataclass(frozen=True, slots=True)
class CodedPartial:
    """A segment that is still being written, ready to be stored."""

    segment: Segment
    upto: Lsn
    key: str
    body: bytes


class Shipper:
    """Brings complete segments, then the one being written, to one repository.

    Runs in a thread of its own, so that a repository that does not answer holds up no other one.
    A segment's successor is never shipped before it, so what stands in a repository has no hole.
    """

    def __init__(
        self,
        repository: Repository,
        codec: Codec,
        clock: Clock,
        spool: StreamSpool,
        system_identifier: int,
        *,
        check: Callable[[Repository], None],
        primary: "Shipper | None" = None,
    ) -> None:
        self.name = repository.name
        self.required = primary is None
        """Whether what no later try can mend ends the stream, and a segment is kept until it
        stands here."""
        self.failure: KbDrError | OSError | None = None
        """Why it gave up, if it did."""
        self._repository = repository
        self._codec = codec
        self._clock = clock
        self._spool = spool
        self._system_identifier = system_identifier
        self._check = check
        self._primary = primary
        self._done: dict[str, Pushed] = {}
        self._partial: CodedPartial | None = None
        self._at: tuple[int, Lsn] | None = None
        self._checked = False
        self._gap_said = False
        self._trouble = ("", 0.0)
        self._busy_since: float | None = None
        self._swept_at: float | None = None
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"ship-{self.name}", daemon=True)

    @property
    def reached(self) -> tuple[int, Lsn] | None:
        """All WAL that was received up to here, on this timeline, stands in the repository; None:
        none yet."""
        return self._at

    @property
    def upto(self) -> Lsn | None:
        """The position of it."""
        return self._at[1] if self._at else None

    def ship_once(self, partials: Sequence[CodedPartial]) -> None:
        """Bring everything, without a thread; ``partials`` is all that is unfinished.

        Raises what the repository, or a file, made of it.
        """
        try:
            self._require_checked()
            self._push_all()
            for partial in partials:
                self._put(partial)
        except KbDrError as error:
            self._say(error)
            raise

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def offer(self, partial: CodedPartial | None) -> None:
        """There may be more to ship; ``partial`` is the newest state of the unfinished segment."""
        if partial is not None:
            self._partial = partial
        self._wake.set()

    @property
    def in_trouble(self) -> bool:
        """Whether the repository did not take what it was given last, or takes long over it."""
        since = self._busy_since
        slow = since is not None and time.monotonic() - since > _SLOW_SECONDS
        return slow or bool(self._trouble[0])

    def pushed(self, path: Path) -> Pushed | None:
        """How this complete segment came into the repository; None while it is not there."""
        return self._done.get(path.name)

    def forget(self, path: Path) -> None:
        """A segment was removed from the spool."""
        self._done.pop(path.name, None)

    def require_running(self) -> None:
        """Raise why it gave up, if it did: a stream that ships nothing must not look alive."""
        if self.failure is not None:
            raise self.failure
        if not self._thread.is_alive():
            raise KbDrError(
                f"ship WAL to {self.name}: its thread ended",
                hint="What it said is above. Start the stream again; nothing received is lost.",
            )

    def stop(self, seconds: float) -> None:
        """End, and wait so long for a call that is under way."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)

    def _run(self) -> None:
        pause = 0.0
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            self._busy_since = time.monotonic()
            try:
                self._round()
                pause = 0.0
            except KbDrError as error:
                if self.required and isinstance(error, FINAL):
                    self.failure = error
                    return
                self._say(error)
                self._busy_since = None
                pause = min(max(1.0, 2 * pause), _LONGEST_PAUSE_SECONDS)
                self._stop.wait(pause)
                self._wake.set()
            except OSError as error:
                # Of the spool: without it nothing can go on.
                self.failure = error
                return
            self._busy_since = None

    def _round(self) -> None:
        self._require_checked()
        # Taken first: what is listed after it holds every segment before it.
        partial = self._partial
        if not self._push_all():
            return
        self._ship(partial)
        self._sweep()
        if self._trouble[0]:
            logger.info("stream: %s is up to date again", self.name)
            self._trouble = ("", 0.0)

    def _require_checked(self) -> None:
        if not self._checked:
            self._check(self._repository)
            self._checked = True

    def _push_all(self) -> bool:
        """Bring what is complete there; False when it was not all."""
        for path in (*self._spool.histories(), *self._spool.complete()):
            if self._stop.is_set():
                return False
            if path.name not in self._done and path.exists() and not self._push(path):
                return False
        return True

    def _push(self, path: Path) -> bool:
        """Bring one file there; False while it has to wait for the primary."""
        first = self._primary.pushed(path) if self._primary is not None else None
        if self._primary is not None and first is None and not self._primary.in_trouble:
            # Whether archive_command was there before us is known when the primary has it.
            return False
        if is_segment(path.name) and not self._gap_said:
            self._say_gap(path)
            self._gap_said = True
        pushed = None
        if self._primary is not None and first is not None and first.already_there:
            pushed = self._bring(self._primary, first)
        if pushed is None:
            pushed = push_file(
                path,
                repository=self._repository,
                codec=self._codec,
                system_identifier=self._system_identifier,
            )
        self._done[path.name] = pushed
        if is_segment(path.name):
            segment = self._spool.segment(path.name)
            self._reached(segment.timeline, segment.end)
        there = "stood there" if pushed.already_there else "stored"
        logger.debug("stream: %s %s in %s", path.name, there, self.name)
        return True

    def _bring(self, primary: "Shipper", first: Pushed) -> Pushed | None:
        """The primary's own bytes, where somebody else, as archive_command, had stored them there;
        None when they are not what they should be.
        """
        if self._repository.find(first.key) is not None:
            return first
        listed = primary._repository.find(first.key)
        if listed is None:
            return None
        try:
            copy_wal_object(primary._repository, self._repository, self._codec, listed)
        except (ChecksumMismatch, WalDamaged, WrongCluster) as error:
            logger.warning("stream: %s of %s is bad: %s", first.key, primary.name, error)
            return None
        return first

    def _say_gap(self, path: Path) -> None:
        """Before the first segment of this run: is WAL missing that only the slot could keep?"""
        segment = self._spool.segment(path.name)
        if segment.number == 0:
            return
        before = Segment(segment.timeline, segment.number - 1, segment.segment_bytes)
        prefix = layout.timeline_prefix(self._system_identifier, segment.timeline)
        folder = f"{prefix}{segment.timeline:08X}0"  # past the history
        older = next((each.key for each in self._repository.list(prefix, start_after=folder)), "")
        if not older or older >= prefix + segment.name:
            return  # the archive of this timeline begins here
        if find_wal(self._repository, self._system_identifier, before.name) is None:
            logger.warning(
                "stream: %s begins at %s, and %s before it is missing: unless archive_command "
                "still brings it, the archive has a gap there; take a full backup now",
                self.name, segment.name, before.name,
            )  # fmt: skip

    def _ship(self, partial: CodedPartial | None) -> None:
        if partial is None or (
            self._at is not None and (partial.segment.timeline, partial.upto) <= self._at
        ):
            return
        self._put(partial)

    def _put(self, partial: CodedPartial) -> None:
        try:
            self._repository.put(partial.key, partial.body)
        except ObjectConflict:
            # Shipped before we were started anew, or copied there: encrypted bytes differ.
            logger.debug("stream: %s stands in %s already", partial.key, self.name)
        self._reached(partial.segment.timeline, partial.upto)

    def _reached(self, timeline: int, lsn: Lsn) -> None:
        self._at = max(self._at or (timeline, lsn), (timeline, lsn))

    def _sweep(self) -> None:
        now = self._clock.monotonic()
        if self._swept_at is not None and now - self._swept_at < _SWEEP_SECONDS:
            return
        self._swept_at = now
        complete = self._spool.complete()
        if not complete:
            return
        # The rest is seen to after each backup.
        newest = self._spool.segment(complete[-1].name)
        since = Segment(newest.timeline, max(newest.number - 600, 0), newest.segment_bytes)
        prefix = layout.timeline_prefix(self._system_identifier, newest.timeline)
        try:
            sweep_partials(
                self._repository,
                self._clock,
                self._system_identifier,
                dry_run=False,
                since=prefix + since.name,
            )
        except RepositoryError as error:
            # A stream may have no right to delete, and needs none.
            logger.info("stream: sweep partial segments of %s: %s", self.name, error)

    def _say(self, error: KbDrError) -> None:
        """At once, and the same again only every minute."""
        said, at = self._trouble
        if str(error) != said or time.monotonic() - at >= _AGAIN_SECONDS:
            self._trouble = (str(error), time.monotonic())
            logger.warning("stream: %s does not take WAL, trying again: %s", self.name, error)
