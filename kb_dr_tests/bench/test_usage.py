"""The ruler: it sees what works behind shells, in pipes, and what has left its parent."""

import shlex
import sys
import time

import psutil

from kb_dr_tests.bench.usage import clean_environment, run
from kb_dr_tests.bench.whole_tree import Stopwatch, orphans_adopted

_HELD_BYTES = 80 << 20
_BURNT_SECONDS = 0.3
_BURN = f"import time\nwhile time.process_time() < {_BURNT_SECONDS}: pass"


def test_memory_is_seen_behind_a_shell_in_the_middle_of_a_pipe() -> None:
    hold = f"import time; held = bytearray(b'1') * {_HELD_BYTES}; time.sleep(1.5)"
    script = f"true | {shlex.join([sys.executable, '-c', hold])} | cat"

    ran = run(["sh", "-c", f"{script}; true"], env=clean_environment(), watch_memory=True)

    assert ran.peak_bytes > _HELD_BYTES


def test_cpu_of_what_has_left_its_parent_is_counted() -> None:
    words = shlex.join(["setsid", sys.executable, "-c", _BURN])
    before = _children()  # servers of other tests may run beside

    with orphans_adopted():
        watch = Stopwatch()
        run(["sh", "-c", f"{words} >/dev/null 2>&1 &"], env=clean_environment())
        while any(each.status() != psutil.STATUS_ZOMBIE for each in _children() - before):
            time.sleep(0.02)
        found = watch.cpu_seconds()

    assert found > _BURNT_SECONDS * 0.9
    assert not _children() - before


def _children() -> set[psutil.Process]:
    return set(psutil.Process().children())
