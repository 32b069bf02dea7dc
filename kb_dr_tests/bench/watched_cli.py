"""`kb-dr`, as it is, with a stopwatch on its phases: watched_cli FILE WORDS...

The seconds of each phase are written to FILE. All else is the real command.
"""

import json
import sys
import time
from pathlib import Path

from kb_dr.adapters.log_progress import LogProgress
from kb_dr.cli import opened
from kb_dr.cli.__main__ import main as kb_dr_main


class StopwatchProgress(LogProgress):
    """Says what LogProgress says; keeps the seconds of each phase."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = {}
        self._open: tuple[str, float] | None = None

    def begin(self, phase: str, total_bytes: int | None = None) -> None:
        super().begin(phase, total_bytes)
        self._open = (phase, time.perf_counter())

    def end(self) -> None:
        if self._open is not None:
            (phase, began), self._open = self._open, None
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - began
        super().end()


def main(file: Path, words: list[str]) -> int:
    """Run one command; return its exit code."""
    watch = StopwatchProgress()
    # Each command takes it from there when it is imported, which is later.
    vars(opened)["progress"] = lambda: watch
    try:
        return kb_dr_main(words)
    finally:
        file.write_text(json.dumps({"seconds": watch.seconds}))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
