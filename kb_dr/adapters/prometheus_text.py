"""Metrics as Prometheus reads them: the text format, a file for node_exporter, a Pushgateway."""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from kb_dr.domain.metric import METRICS, Metric, MetricKind
from kb_dr.errors import ChannelRefused, ChannelUnavailable

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

JOB = "kb_dr"
"""What alert rules and the Pushgateway know us by."""

_PUSH_SECONDS = 10.0


class MetricCollector(Collector):
    """Hands metrics to prometheus_client, whatever it was registered for."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        """One family for each name, in the order given."""
        families: dict[str, Family] = {}
        for each in self._metrics:
            if each.name not in families:
                families[each.name] = _family(each)
            families[each.name].add_sample(each.name, dict(each.labels), each.value)
        yield from families.values()


def _family(metric: Metric) -> Family:
    described = METRICS[metric.name]
    if described.kind is MetricKind.COUNTER:
        return CounterMetricFamily(metric.name.removesuffix("_total"), described.help)
    return GaugeMetricFamily(metric.name, described.help)


def as_text(metrics: Sequence[Metric]) -> bytes:
    """The text format 0.0.4."""
    return generate_latest(_registry(metrics))


def write_textfile(directory: Path, service: str, metrics: Sequence[Metric]) -> Path:
    """Put them where node_exporter's textfile collector reads, whole or not at all.

    The file before it is replaced: what could not be told this time does not stay. Raises OSError.
    """
    path = directory / f"kb_dr_{service}.prom"
    # The collector reads *.prom alone.
    unfinished = directory / f".{path.name}.{os.getpid()}"
    try:
        with unfinished.open("wb") as file:
            file.write(as_text(metrics))
            file.flush()
            os.fsync(file.fileno())
        unfinished.chmod(0o644)  # node_exporter runs as another user
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def push(url: str, service: str, metrics: Sequence[Metric]) -> None:
    """Replace what a Pushgateway shows of this service on this host.

    All of its group goes: what could not be told this time does not stay. Raises
    ChannelUnavailable and ChannelRefused.
    """
    what = f"push metrics to {url}"
    group = {"instance": socket.gethostname(), "service": service}
    try:
        push_to_gateway(url, JOB, _registry(metrics), grouping_key=group, timeout=_PUSH_SECONDS)
    except HTTPError as error:
        kind = ChannelUnavailable if error.code >= 500 else ChannelRefused
        raise kind(f"{what}: HTTP {error.code}", hint=_HINT) from error
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, OSError) and reason.strerror:
            reason = reason.strerror.lower()
        raise ChannelUnavailable(f"{what}: {reason}", hint=_HINT) from error


_HINT = (
    "Is that a Pushgateway? It shows what was pushed last until the next push; the rule "
    "KbDrLookStale fires meanwhile."
)


def _registry(metrics: Iterable[Metric]) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MetricCollector(tuple(metrics)))
    return registry
