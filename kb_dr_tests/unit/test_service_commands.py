"""Commands and addresses around a service: what they are given, and what is believed."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from kb_dr.adapters import http_health
from kb_dr.adapters.http_health import ask_health
from kb_dr.adapters.service_commands import ShellServiceControl, passed_on
from kb_dr.domain.service_commands import Command, ServiceCommands
from kb_dr.errors import ConfigurationError, ServiceCommandFailed, ServiceUnhealthy
from kb_dr.settings import load_settings


@contextmanager
def _answering(*statuses: int) -> Iterator[str]:
    """An address that gives these answers in turn, the last one for ever."""
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(left.pop(0) if len(left) > 1 else left[0])
            self.send_header("Location", "/well")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/health?token=hush"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("status", "well"), [(200, True), (204, True), (302, False), (503, False)])
def test_only_a_status_of_200_to_299_is_well(status: int, well: bool) -> None:
    with _answering(status) as url:
        failure = ask_health(url)

    assert (failure == "") is well
    assert "hush" not in failure
    assert well or f"status {status}" in failure


def test_an_address_nobody_listens_at_is_not_well() -> None:
    with _answering(200) as url:
        pass

    assert "does not answer" in ask_health(url)


def test_a_service_is_given_time_to_become_well_only_when_that_is_wanted() -> None:
    with _answering(503, 503, 200) as url:
        control = ShellServiceControl(ServiceCommands(health_url=url, seconds=60))
        with pytest.raises(ServiceUnhealthy, match="status 503"):
            control.check_health(patient=False)
        assert control.check_health(patient=True)


def test_a_service_that_is_slow_to_say_so_is_well() -> None:
    control = ShellServiceControl(ServiceCommands(health="sleep 1.2", seconds=60))

    assert control.check_health(patient=False)


def test_an_address_that_answers_byte_by_byte_has_one_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_health, "_SECONDS", 0.5)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            taken, _ = listening.accept()
            with taken, suppress(OSError):
                while not ended.wait(0.05):
                    taken.sendall(b"H")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            failure = ask_health(f"http://127.0.0.1:{listening.getsockname()[1]}/?token=hush")
        finally:
            ended.set()
            dripping.join()

    assert "does not answer within 0.5 s" in failure


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1/?token=hüsh", "http://localhost:1/a b?token=hush",
        f"http://{'h' * 64}:1/?token=hush", "http://localhost:99999/?token=hush",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_asked_is_told_without_its_query(url: str) -> None:
    failure = ask_health(url)

    assert failure
    assert "token" not in failure


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("docker compose stop api", "KB_DR_APP_STOP_COMMAND: docker …"),
        ("/srv/kb/stop", "KB_DR_APP_STOP_COMMAND: /srv/kb/stop"),
        ("curl -u user:hush x", "KB_DR_APP_STOP_COMMAND: curl …"),
        ("PGPASSWORD='hush hush' psql", "KB_DR_APP_STOP_COMMAND"),
        ("http://u:hush@h/ x", "KB_DR_APP_STOP_COMMAND"),
    ],
)
def test_people_are_told_the_setting_and_its_first_word(line: str, expected: str) -> None:
    assert ServiceCommands(app_stop=line).told(Command.APP_STOP) == expected


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ShellServiceControl(ServiceCommands()).uninterrupted():
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_a_check_nothing_is_claimed() -> None:
    assert not ShellServiceControl(ServiceCommands()).check_health(patient=True)
    assert not ShellServiceControl(ServiceCommands()).run(Command.APP_STOP)


def test_a_command_is_given_no_secret_of_ours() -> None:
    secrets = {
        "KB_DB_PASSWORD", "KB_DR_DB_PASSWORD_FILE", "KB_DR_AGE_IDENTITY_FILE", "AWS_SESSION_TOKEN",
        "PGPASSWORD", "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "KB_DR_REPOSITORY_SECRET_ACCESS_KEY",
        "KB_DR_REPOSITORY_ACCESS_KEY_ID", "KB_DR_OFFSITE_SECRET_ACCESS_KEY",
    }  # fmt: skip

    kept = passed_on(dict.fromkeys(secrets, "hush") | {"PATH": "/bin", "KUBECONFIG": "/k"})

    assert kept == {"PATH": "/bin", "KUBECONFIG": "/k"}


def test_a_line_is_a_shells_and_its_last_words_are_told_without_passwords() -> None:
    commands = ServiceCommands(app_stop="true && echo postgres://u:hush@h/db >&2 && exit 3")

    with pytest.raises(ServiceCommandFailed) as failed:
        ShellServiceControl(commands).run(Command.APP_STOP)

    assert str(failed.value).startswith("run KB_DR_APP_STOP_COMMAND: ended with status 3: ")
    assert "hush" not in str(failed.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"KB_DR_APP_STOP_COMMAND": "true"},
        {"KB_DR_POSTGRES_STOP_COMMAND": "true"},
        {"KB_DR_HEALTH_URL": "file:///etc/passwd"},
        {"KB_DR_HEALTH_URL": "http://user:hush@localhost/"},
        {"KB_DR_HEALTH_URL": "http://localhost/?token=hüsh"},
        {"KB_DR_HEALTH_URL": "http://localhost/a b?token=hush"},
        {"KB_DR_HEALTH_URL": f"http://{'h' * 64}/?token=hush"},
        {"KB_DR_HEALTH_URL": "http://localhost:99999/?token=hush"},
        {"KB_DR_HEALTH_URL": "http://[::1/?token=hush"},
        {"KB_DR_COMMAND_SECONDS": "0"},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load_settings(settings)

    assert next(iter(settings)) in str(refused.value)
    assert "hush" not in str(refused.value)
