"""What arrived at the sandbox's alert sinks: kept in memory and in a file, newest first."""

import json
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

MOST = 500
"""Older ones go from the page, and stay in the file."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One message at one sink."""

    sink: str
    """``slack``, ``mail``, ``pagerduty`` or ``webhook``."""
    at: str
    """ISO 8601, UTC."""
    content: Mapping[str, Any]
    refused: str = ""
    """What it was refused with; empty when it was taken."""


class Arrivals:
    """All of them; a line of JSON each in the file, which outlives the process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = Lock()
        self._known: deque[Arrival] = deque(maxlen=MOST)
        if file.is_file():
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    self._remember(line)

    def add(self, sink: str, content: Mapping[str, Any], *, refused: str = "") -> None:
        """Keep one that has just come."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        arrival = Arrival(sink, at, content, refused)
        line = json.dumps(asdict(arrival), ensure_ascii=False) + "\n"
        with self._lock:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as stream:
                stream.write(line)
            self._known.append(arrival)

    def newest_first(self) -> list[Arrival]:
        """Those on the page."""
        with self._lock:
            return list(reversed(self._known))

    def _remember(self, line: str) -> None:
        try:
            self._known.append(Arrival(**json.loads(line)))
        except (ValueError, TypeError):
            return  # the last line of a process that was killed
