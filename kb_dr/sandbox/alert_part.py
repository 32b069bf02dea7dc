"""The alert sinks as a part of the sandbox: started, and written into its settings."""

import os
import sys
from collections.abc import Collection, Mapping
from functools import partial

from kb_dr.sandbox.places import Places, State, free_port, is_free, with_port, write_state
from kb_dr.sandbox.processes import EndedEarly, listens, running, start_detached

ALERTS = "alerts"
"""The part; its port is that of the page and of all that is not mail."""
MAIL = "alerts-mail"

ATTEMPTS = 5
_LOOPBACK = ("", "127.0.0.1", "http://127.0.0.1:")


def start_alerts(places: Places, state: State) -> State:
    """Start the sinks unless they run; the state with their ports."""
    if running(places.pid_file(ALERTS)) is not None:
        return state
    ports = {name: state.ports.get(name) or free_port() for name in (ALERTS, MAIL)}
    for attempt in range(1, ATTEMPTS + 1):
        # Somebody else may have taken one since.
        ports = {name: port if is_free(port) else free_port() for name, port in ports.items()}
        try:
            start_detached(
                ALERTS,
                [
                    sys.executable, "-m", "kb_dr.sandbox.alert_sink",
                    "--web-port", str(ports[ALERTS]), "--mail-port", str(ports[MAIL]),
                    "--file", str(places.arrivals),
                ],
                log=places.log(ALERTS),
                pid_file=places.pid_file(ALERTS),
                environment=os.environ,
                ready=partial(_listens_on_all, ports=tuple(ports.values())),
            )  # fmt: skip
        except EndedEarly:
            if attempt == ATTEMPTS or all(is_free(port) for port in ports.values()):
                raise
            continue
        for name, port in ports.items():
            state = with_port(state, name, port)
        write_state(places, state)
        return state
    raise AssertionError("unreachable: the last attempt returns or raises")


def alerts_url(state: State) -> str:
    """The page on which they are shown."""
    return f"http://127.0.0.1:{state.ports[ALERTS]}"


def alert_settings(state: State, written: Mapping[str, str]) -> dict[str, str]:
    """The channels that lead to the sinks.

    ``written`` is what the settings say so far: a channel somebody has led elsewhere stays there.
    """
    if ALERTS not in state.ports:
        return {}
    url = alerts_url(state)
    channels: dict[str, dict[str, str]] = {
        "KB_DR_SLACK_WEBHOOK_URL": {"KB_DR_SLACK_WEBHOOK_URL": f"{url}/slack"},
        "KB_DR_SMTP_HOST": {
            "KB_DR_SMTP_HOST": "127.0.0.1",
            "KB_DR_SMTP_PORT": str(state.ports[MAIL]),
            "KB_DR_SMTP_TLS": "off",
            "KB_DR_EMAIL_FROM": "kb-dr@sandbox.invalid",
            "KB_DR_EMAIL_TO": "operator@sandbox.invalid",
        },
        "KB_DR_PAGERDUTY_URL": {
            "KB_DR_PAGERDUTY_URL": url,
            "KB_DR_PAGERDUTY_ROUTING_KEY": "sandbox" * 4 + "keys",  # as long as a real one
        },
        "KB_DR_WEBHOOK_URL": {"KB_DR_WEBHOOK_URL": f"{url}/webhook"},
    }
    return {
        name: value
        for told_by, lines in channels.items()
        if _is_ours(written.get(told_by, ""))
        for name, value in lines.items()
    }


def _is_ours(value: str) -> bool:
    return value in _LOOPBACK or value.startswith(_LOOPBACK[-1])


def _listens_on_all(pid: int, ports: Collection[int]) -> bool:
    return all(listens(pid, port) for port in ports)
