"""Any address that takes signed JSON."""

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from kb_dr_tests.sinks.certificates import Certificates
from kb_dr_tests.sinks.http_sink import HttpSink, Reply, Request, json_reply

SECRET = "hush-webhook-secret-0123456789"
PATH = "/hooks/hush0123456789"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery that was taken."""

    id: str
    timestamp: str
    content: dict[str, Any]


class WebhookSink(HttpSink[Delivery]):
    """Takes what is signed with ``secret``; 401 for the rest. A delivery's id may come again."""

    def __init__(
        self, certificates: Certificates | None = None, *, secret: str | None = SECRET
    ) -> None:
        super().__init__(certificates)
        self.secret = secret
        self.path = PATH

    @property
    def webhook_url(self) -> str:
        """Where it takes them; a secret, as with real ones."""
        return f"{self.url}{self.path}"

    def understand(self, request: Request) -> Reply:
        if (request.method, request.path) != ("POST", self.path):
            return json_reply(404, {"error": "not found"})
        timestamp = request.headers.get("x-kb-dr-timestamp", "")
        if self.secret is not None:
            signed = hmac.new(
                self.secret.encode(), timestamp.encode() + b"." + request.body, hashlib.sha256
            ).hexdigest()
            given = request.headers.get("x-kb-dr-signature", "")
            if not hmac.compare_digest(given, f"sha256={signed}"):
                return json_reply(401, {"error": "signature"})
        self.take(Delivery(request.headers["x-kb-dr-delivery"], timestamp, request.json))
        return json_reply(200, {"taken": True})
