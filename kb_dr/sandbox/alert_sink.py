"""Where the sandbox's alerts arrive: Slack, PagerDuty, a webhook and mail, in one small process.

It takes what the real ones take, answers as they do, and shows it on a page. It listens on
loopback alone and knows nobody: the sandbox is nobody's production.
"""

import argparse
import http.server
import json
import threading
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from kb_dr.sandbox.alert_page import render_page
from kb_dr.sandbox.arrivals import Arrivals
from kb_dr.sandbox.mail_server import mail_server
from kb_dr.sandbox.slack_blocks import why_refused

SLACK, PAGERDUTY, WEBHOOK = "/slack", "/v2/enqueue", "/webhook"
"""Where each of them listens; beside it ``/`` is the page, ``/arrivals.json`` the same as data."""

_LARGEST_BYTES = 1024 * 1024


def web_server(port: int, arrivals: Arrivals) -> http.server.ThreadingHTTPServer:
    """A server that listens on this port; serve_forever() begins."""

    class Conversation(http.server.BaseHTTPRequestHandler):
        """One request."""

        timeout = 60.0

        def do_GET(self) -> None:
            """The page, or the same as data."""
            asked = urlsplit(self.path)
            if asked.path == "/":
                only = parse_qs(asked.query).get("sink", [""])[0]
                self._answer(render_page(arrivals.newest_first(), only=only), "text/html")
            elif asked.path == "/arrivals.json":
                self._answer(json.dumps([_plain(each) for each in arrivals.newest_first()]))
            else:
                self._answer("not here", "text/plain", HTTPStatus.NOT_FOUND)

        def do_POST(self) -> None:
            """What a channel sends."""
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 <= length <= _LARGEST_BYTES:
                self._answer("too large", "text/plain", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
            body, path = self.rfile.read(length), urlsplit(self.path).path
            if path.startswith(SLACK):
                self._slack(body)
            elif path.endswith(PAGERDUTY):
                self._pagerduty(body)
            elif path.startswith(WEBHOOK):
                self._webhook(body)
            else:
                self._answer("not here", "text/plain", HTTPStatus.NOT_FOUND)

        def _slack(self, body: bytes) -> None:
            message = _message(body, form="payload")
            refused = "invalid_payload" if message is None else why_refused(message)
            shown = {"text": body.decode(errors="replace")} if message is None else message
            if refused != "no_text" and body:  # else it is a probe: there is nothing to show
                arrivals.add("slack", shown, refused=refused)
            status = HTTPStatus.BAD_REQUEST if refused else HTTPStatus.OK
            self._answer(refused or "ok", "text/plain", status)

        def _pagerduty(self, body: bytes) -> None:
            event = _message(body) or {}
            problems = [name for name in ("routing_key", "event_action") if not event.get(name)]
            problems += _of_the_payload(event)
            shown = {name: value for name, value in event.items() if name != "routing_key"}
            if shown.get("payload") or shown.get("dedup_key"):
                arrivals.add("pagerduty", shown, refused="; ".join(problems))
            if problems:
                refusal = {"status": "invalid event", "errors": problems}
                self._answer(json.dumps(refusal), status=HTTPStatus.BAD_REQUEST)
                return
            told = {"status": "success", "message": "Event processed",
                    "dedup_key": event.get("dedup_key")}  # fmt: skip
            self._answer(json.dumps(told), status=HTTPStatus.ACCEPTED)

        def _webhook(self, body: bytes) -> None:
            given = {
                name: value for name, value in self.headers.items() if name.lower().startswith("x-")
            }
            read = _message(body)
            content = read if read is not None else body.decode(errors="replace")
            arrivals.add("webhook", {"headers": given, "body": content})
            self._answer("ok", "text/plain")

        def _answer(
            self,
            text: str,
            kind: str = "application/json",
            status: HTTPStatus = HTTPStatus.OK,
        ) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Nothing: what arrived is kept elsewhere."""

    return http.server.ThreadingHTTPServer(("127.0.0.1", port), Conversation)


def _of_the_payload(event: Mapping[str, Any]) -> list[str]:
    """What a trigger lacks; the other actions need a key of one that was."""
    if event.get("event_action") != "trigger":
        return [] if event.get("dedup_key") else ["dedup_key"]
    payload = event.get("payload")
    given = payload if isinstance(payload, Mapping) else {}
    return [f"payload.{each}" for each in ("summary", "source", "severity") if not given.get(each)]


def _message(body: bytes, *, form: str = "") -> dict[str, Any] | None:
    """The JSON object that was sent, also as a field of a form; None when it is none."""
    text = body.decode(errors="replace")
    if form and text.startswith(f"{form}="):
        text = parse_qs(text).get(form, [""])[0]
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _plain(arrival: Any) -> dict[str, Any]:
    return {
        "sink": arrival.sink,
        "at": arrival.at,
        "refused": arrival.refused,
        "content": arrival.content,
    }


def serve(web_port: int, mail_port: int, file: Path) -> None:
    """Listen on both ports until the process is ended."""
    arrivals = Arrivals(file)

    def received(sender: str, recipients: tuple[str, ...], message: bytes) -> None:
        text = message.decode(errors="replace")
        arrivals.add("mail", {"from": sender, "to": list(recipients), "message": text})

    with mail_server(mail_port, received) as mail, web_server(web_port, arrivals) as web:
        threading.Thread(target=mail.serve_forever, name="mail", daemon=True).start()
        web.serve_forever()


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--web-port", type=int, required=True)
    words.add_argument("--mail-port", type=int, required=True)
    words.add_argument("--file", type=Path, required=True)
    given = words.parse_args()
    serve(given.web_port, given.mail_port, given.file)
