"""What a process of Dagster's has loaded stays until it ends; the collector may forget it."""

import atexit
import gc
from functools import cache


def let_loaded_be() -> None:
    """Take what is loaded by now out of the collector's rounds, and at the end all there is.

    Each run is a process that loads a quarter of a million objects, and looks through all of them
    several times while it ends: that took a quarter of what a short run takes in all. Nothing is
    closed later by it: what is counted out goes at once, as ever, and so does garbage made after.
    """
    gc.freeze()
    _at_the_end()


@cache
def _at_the_end() -> None:
    """Once in a process; what is registered first is called last."""
    atexit.register(gc.freeze)
