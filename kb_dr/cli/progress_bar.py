"""Progress on a terminal: one bar a phase, with bytes, rate and time left."""

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class BarProgress:
    """Implements `kb_dr.ports.Progress` with rich, on stderr."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def begin(self, phase: str, total_bytes: int | None = None) -> None:
        self.end()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._bar.start()
        self._task = self._bar.add_task(phase, total=total_bytes)

    def advance(self, count: int) -> None:
        bar, task = self._bar, self._task
        if bar is not None and task is not None:
            bar.advance(task, count)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._task = None, None
