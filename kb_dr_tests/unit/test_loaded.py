"""A process of Dagster's ends without a look through all that it had loaded."""

import subprocess
import sys

import pytest

_ENDING = """
import atexit, gc
# Registered first, so called last.
atexit.register(lambda: print(len(gc.get_objects()), gc.get_freeze_count()))
import {module}
made = [[] for _ in range({made})]
"""
_MADE = 50_000


@pytest.mark.parametrize("module", ["kb_dr.definitions", "kb_dr.defs.pooled_storage"])
def test_at_its_end_the_collector_has_nothing_to_look_at(module: str) -> None:
    """Neither what was loaded by then nor what was made since."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _ENDING.format(module=module, made=_MADE)],
        capture_output=True,
        text=True,
        check=True,
    )

    left, frozen = map(int, run.stdout.split())
    assert left < 1000
    assert frozen > _MADE


def test_garbage_made_after_loading_is_collected() -> None:
    code = """
import weakref, gc
import kb_dr.definitions
class Made: pass
made = Made()
made.itself = made
seen = weakref.ref(made)
del made
print(gc.isenabled(), seen() is not None, gc.collect() > 0, seen() is None)
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )

    assert run.stdout.split() == ["True"] * 4
