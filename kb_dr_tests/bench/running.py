"""Run parts one after the other; each is kept as soon as it has ended."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from kb_dr_tests.bench.kept import Part, Run
from kb_dr_tests.bench.machine_facts import bench_digest, busy_cores, code_digest
from kb_dr_tests.bench.parts import Planned, Workbench, arguments


def run_parts(
    run: Run, parts: Sequence[Planned], bench: Workbench, keep: Callable[[Run], None]
) -> Run:
    """Measure ``parts``; ``keep`` is called with all there is after each of them.

    A part is marked with each state the code was in since the first of them began: this process
    goes on with what it has loaded, while the commands it starts read what is there by then.
    """
    codes, benches = [code_digest()], [bench_digest()]
    words = arguments(run.asked, run.only)
    began = time.monotonic()
    say = bench.say
    for number, planned in enumerate(parts, start=1):
        minutes = (time.monotonic() - began) / 60
        say(f"part {number} of {len(parts)}, after {minutes:.0f} min: {planned.name}")
        others = busy_cores()
        codes, benches = _and(codes, code_digest()), _and(benches, bench_digest())
        started = time.monotonic()
        findings = planned.measure(bench)
        seconds = time.monotonic() - started
        codes, benches = _and(codes, code_digest()), _and(benches, bench_digest())
        if len(codes) + len(benches) > 2:
            say("the code of kb_dr or of the bench has changed since this command began")
        part = Part(datetime.now(UTC).replace(microsecond=0), seconds, others, tuple(codes),
                    tuple(benches), words, findings)  # fmt: skip
        run = run.with_part(planned.name, part)
        keep(run)
        say(f"part {number} of {len(parts)}: {planned.name} took {seconds:.0f} s")
    return run


def _and(states: list[str], now: str) -> list[str]:
    return states if states[-1] == now else [*states, now]
