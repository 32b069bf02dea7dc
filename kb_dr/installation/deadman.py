"""That the watch is alive: noted where others miss it when it no longer is."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.domain.finding import Finding
from kb_dr.errors import KbDrError
from kb_dr.installation.places import Places

if TYPE_CHECKING:
    from kb_dr.adapters.state_file import StateFile

logger = logging.getLogger(__name__)


class Deadman(Places):
    """Marks that a pass of the watch came to its end, whatever it saw."""

    def pings_configured(self) -> Finding:
        """Which works a dead man's switch is told of; none of them is tried, it would count."""
        from kb_dr.domain.ping import WORKS
        from kb_dr.domain.proof import Outcome

        told = [work for work in WORKS if work in self.settings.pings]
        silent = [work for work in WORKS if work not in self.settings.pings]
        seen = f"told of {', '.join(told)}" if told else "none is configured"
        hint = ""
        if silent:
            names = ", ".join(f"KB_DR_PING_{work.upper()}_URL" for work in silent[-1:])
            hint = f"Nobody misses {', '.join(silent)} when they stop: {names} and its siblings."
        return Finding("dead man's switch", Outcome.NOT_APPLICABLE, seen, hint)

    def note_watch(self, at: datetime) -> None:
        """Note that a watch was complete at ``at``: here, beside the catalog, and as a ping.

        Each of them by itself, and none of them fails the watch: what is not noted grows old,
        which is what others look at.
        """
        from kb_dr.domain.ping import Signal

        try:
            self._watched().write({"at": at.isoformat()})
        except OSError as error:
            logger.warning("the watch is not noted here: %s", error.strerror or error)
        mark = wiring.watch_mark(self.settings)
        if mark is not None:
            try:
                mark.write(at, believed_until=self._believed_until())
            except KbDrError as error:
                logger.warning("the watch is not noted beside the catalog: %s", error)
        pinger = wiring.pinger(self.settings, "watch")
        if pinger is not None:
            pinger.send(Signal.SUCCESS, str(uuid.uuid4()), f"watch: complete at {at.isoformat()}")
            pinger.end()

    def last_watch(self) -> datetime | None:
        """When the newest complete watch was, of those noted here and beside the catalog.

        None when none is known. A catalog that does not answer hides what only it knows. A mark
        that lies ahead of the clock is none: it would look young for as long as it does.
        """
        known = [self._watched_here()]
        mark = wiring.watch_mark(self.settings)
        if mark is not None:
            try:
                known.append(mark.read())
            except KbDrError as error:
                logger.warning("the mark of the watch beside the catalog: %s", error)
        until = self._believed_until()
        return max((at for at in known if at is not None and at <= until), default=None)

    def _believed_until(self) -> datetime:
        from kb_dr.domain.objective import CLOCK_SLACK_SECONDS

        return self.clock.now() + timedelta(seconds=CLOCK_SLACK_SECONDS)

    def _watched(self) -> StateFile:
        from kb_dr.adapters.state_file import StateFile

        return StateFile(self.settings.state_dir / "watch.json")

    def _watched_here(self) -> datetime | None:
        try:
            at = datetime.fromisoformat(str(self._watched().read().get("at")))
        except (OSError, ValueError):
            return None
        return at if at.tzinfo is not None else None
