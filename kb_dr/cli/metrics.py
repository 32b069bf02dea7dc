"""`kb-dr metrics`: for Prometheus; once, as an exporter, as a file, or to a Pushgateway."""

import logging
import platform
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click

from kb_dr import __version__
from kb_dr.cli.output import say
from kb_dr.domain.metric import Metric
from kb_dr.errors import ConfigurationError
from kb_dr.installation import open_installation
from kb_dr.settings import Settings, load_settings

logger = logging.getLogger("kb_dr.cli.metrics")

_LAST_LOOK = "kb_dr_last_look_timestamp_seconds"


@click.group("metrics", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Print what Prometheus would be told now, made from the copies and the source.

    What cannot be told is absent, and turns no exit code red: alert rules fire on absence.
    docs/monitoring.md lists every metric.
    """
    if context.invoked_subcommand is None:
        from kb_dr.adapters.prometheus_text import as_text

        click.echo(as_text(_look(load_settings())), nl=False)


@command.command("serve")
@click.option(
    "--listen", default="127.0.0.1:9464", show_default=True, metavar="HOST:PORT",
    help="Where Prometheus asks; outside loopback anybody there may read the metrics.",
)  # fmt: skip
@click.option(
    "--every", type=click.FloatRange(min=0.1, max=3600), default=15.0, show_default=True,
    metavar="SECONDS", help="A look younger than this serves every scrape.",
)  # fmt: skip
@click.option(
    "--oldest", type=click.FloatRange(min=0.1, max=3600), default=120.0, show_default=True,
    metavar="SECONDS", help="Values of an older look are never served.",
)  # fmt: skip
def serve(listen: str, every: float, oldest: float) -> None:
    """Serve /metrics until Ctrl-C or SIGTERM. Exits 130 then.

    Nothing is looked at while nobody asks. A scrape is answered within its timeout: when no look
    comes to its end by then, without the values.
    """
    from kb_dr.adapters.metrics_server import Looks, MetricsServer

    settings = load_settings()
    host, port = _host_and_port(listen)
    looks = Looks(lambda: _look(settings), fresh_seconds=every, oldest_seconds=max(every, oldest))
    try:
        server = MetricsServer(host, port, looks, lambda last: _without_look(settings, last))
    except OSError as error:
        raise ConfigurationError(
            f"serve metrics on {listen}: {error.strerror or error}",
            hint="Give another address: kb-dr metrics serve --listen 127.0.0.1:PORT",
        ) from error
    with server:
        at = f"[{host}]" if ":" in host else host
        say(f"serving http://{at}:{server.server_port}/metrics")
        server.serve_forever()


@command.command("textfile")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False, exists=True))
def textfile(directory: Path) -> None:
    """Write kb_dr_{service}.prom into DIRECTORY, for node_exporter's textfile collector.

    It replaces the file in one step. Run it from cron, every minute or five.
    """
    from kb_dr.adapters.prometheus_text import write_textfile

    settings = load_settings()
    say(str(write_textfile(directory, settings.service, _look(settings))))


@command.command("push")
@click.argument("url", required=False)
def push(url: str | None) -> None:
    """Push to the Pushgateway at URL; default: KB_DR_PUSHGATEWAY_URL.

    Job kb_dr, instance the host's name. What was pushed before is replaced.
    """
    from kb_dr.adapters import prometheus_text

    settings = load_settings()
    target = _push_url(url or settings.pushgateway_url)
    metrics = _look(settings)
    prometheus_text.push(target, settings.service, metrics)
    say(f"pushed {len(metrics)} values to {target}")


def _look(settings: Settings) -> Sequence[Metric]:
    return open_installation(settings).measure()


def _without_look(settings: Settings, last: Sequence[Metric]) -> Sequence[Metric]:
    from datetime import UTC, datetime

    from kb_dr.domain.metrics import metrics_without_look

    known = next((each.value for each in last if each.name == _LAST_LOOK), None)
    at = None if known is None else datetime.fromtimestamp(known, UTC)
    return metrics_without_look(settings.service, __version__, platform.python_version(), at)


def _host_and_port(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise ConfigurationError(
            f"serve metrics on {listen!r}: expected HOST:PORT, such as 127.0.0.1:9464"
        )
    return host.removeprefix("[").removesuffix("]"), int(port)


def _push_url(url: str) -> str:
    if not url:
        raise ConfigurationError(
            "push metrics: no address",
            hint="kb-dr metrics push http://HOST:9091, or set KB_DR_PUSHGATEWAY_URL.",
        )
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        # It would stand in the process list, in logs and in errors.
        raise ConfigurationError(
            "push metrics: the address holds a user or a password, expected none",
            hint="Put the Pushgateway where only monitoring reaches it, or use the exporter.",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"push metrics to {url!r}: expected http://HOST:PORT")
    return url.rstrip("/")
