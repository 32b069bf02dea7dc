"""Channels that do what a test says, and remember what arrived."""

import threading
from collections.abc import Callable
from datetime import datetime

from kb_dr.domain.message import Message, What
from kb_dr.errors import ChannelRefused, ChannelUnavailable, MessageRefused

Trouble = Callable[[Message], None]


class FakeChannel:
    """A `kb_dr.ports.Channel`; ``looks`` is one that can be asked what has arrived."""

    def __init__(self, name: str = "slack", *, groups: bool = True, looks: bool = False) -> None:
        self._name, self._groups, self._looks = name, groups, looks
        self.arrived: list[Message] = []
        self.tries: list[tuple[str, datetime | None]] = []
        self.before: Trouble | None = None
        """Called before a message arrives; raises what is wrong."""
        self.after: Trouble | None = None
        """The same once it has arrived and before the answer."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def groups(self) -> bool:
        return self._groups

    def check(self) -> str:
        if self.before is not None:
            self.before(Message.__new__(Message))
        return "it answers"

    def send(self, message: Message, *, tried_since: datetime | None) -> str:
        self.tries.append((message.id, tried_since))
        if self.before is not None:
            self.before(message)
        if not (self._looks and tried_since and message.id in self.ids):
            self.arrived.append(message)
        if self.after is not None:
            self.after(message)
        return f"receipt-{len(self.arrived)}"

    @property
    def ids(self) -> list[str]:
        return [each.id for each in self.arrived]

    @property
    def said(self) -> list[tuple[What, str]]:
        """What arrived, each with its title."""
        return [(each.what, each.title) for each in self.arrived]

    def works(self) -> None:
        """From now on it takes messages."""
        self.before = self.after = None


def down(retry_after: float | None = None) -> Trouble:
    """It does not answer."""

    def trouble(message: Message) -> None:
        raise ChannelUnavailable("send to slack: it answered 503", retry_after_seconds=retry_after)

    return trouble


def refuses(message: Message) -> None:
    """It takes nothing from us."""
    raise ChannelRefused("send to slack: it answered 401")


def refuses_what_is_rich(message: Message) -> None:
    """It takes plain text alone."""
    if message.runbook_url:
        raise MessageRefused("send to slack: invalid blocks")


def refuses_this(message: Message) -> None:
    """It takes no message."""
    raise MessageRefused("send to slack: too long")


class Hangs:
    """It comes back only when the test lets it."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.reached = threading.Event()

    def __call__(self, message: Message) -> None:
        self.reached.set()
        self.let_go.wait(30)
