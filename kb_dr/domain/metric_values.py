"""Collects metrics; what could not be told is left out."""

import math
from datetime import datetime

from kb_dr.domain.metric import METRICS, Metric


class MetricValues:
    """The metrics of one look at one service."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._found: list[Metric] = []

    def add(self, name: str, value: float | datetime | None, *labels: str) -> None:
        """One value, its labels in the order of METRICS. None, or a number that is none, is
        absent: a 0 in its place would be an answer.
        """
        if value is None:
            return
        number = value.timestamp() if isinstance(value, datetime) else float(value)
        if math.isfinite(number):
            names = ("service", *METRICS[name].labels)
            texts = (self._service, *(str(label) for label in labels))
            self._found.append(Metric(name, dict(zip(names, texts, strict=True)), number))

    def in_order(self) -> tuple[Metric, ...]:
        """All of them, those of one name together, in the order of METRICS."""
        places = {name: place for place, name in enumerate(METRICS)}
        return tuple(sorted(self._found, key=lambda each: places[each.name]))
