"""Beat: write the time into the source every few seconds, for as long as this runs."""

import logging
from typing import NoReturn

from kb_dr.errors import PostgresError
from kb_dr.ports import Clock, HeartbeatTable

logger = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 60.0


def beat(table: HeartbeatTable, clock: Clock, *, every_seconds: float) -> NoReturn:
    """Beat until interrupted, through restarts and failovers of the server.

    Pauses longer from try to try while the server does not take a beat. Raises ConfigurationError
    when the table is not there or may not be written: no waiting mends that.
    """
    pause = 1.0
    beating = False
    while True:
        try:
            with table.writing(every_seconds) as heart:
                while True:
                    began = clock.monotonic()
                    at = heart.beat()
                    if not beating:
                        logger.info("beating every %g s, first at %s", every_seconds, at)
                    beating, pause = True, 1.0
                    clock.sleep(max(0.0, every_seconds - (clock.monotonic() - began)))
        except PostgresError as error:
            logger.warning("missed a beat: %s; trying again in %g s", error, pause)
        beating = False
        clock.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
