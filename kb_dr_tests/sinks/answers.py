"""How a sink answers one request."""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

T = TypeVar("T")


class How(Enum):
    """What becomes of a request."""

    OK = auto()
    """It is taken and answered as the real service would."""
    STATUS = auto()
    """It is not taken; ``code`` is the answer."""
    HANG = auto()
    """It is not taken, and no answer comes."""
    DROP = auto()
    """It is not taken; the connection breaks."""
    DRIP = auto()
    """It is not taken; the answer comes a byte at a time and never ends."""
    LOSE_ANSWER = auto()
    """It is taken, and the connection breaks before the answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer."""

    how: How
    code: int = 0
    """An HTTP status; of a mail server its reply code."""
    retry_after: str | None = None
    """As the header says it: seconds or a date."""
    location: str | None = None
    """Of a redirection."""
    body: str | None = None
    """None: what the sink finds fit."""


OK = Answer(How.OK)
HANG = Answer(How.HANG)
DROP = Answer(How.DROP)
DRIP = Answer(How.DRIP)
LOSE_ANSWER = Answer(How.LOSE_ANSWER)


def status(code: int, *, body: str | None = None, location: str | None = None) -> Answer:
    """An answer that is only a status."""
    return Answer(How.STATUS, code, body=body, location=location)


def too_many(retry_after: float | str) -> Answer:
    """429 with Retry-After, as seconds or as a date."""
    return Answer(How.STATUS, 429, retry_after=str(retry_after))


class Programmed(Generic[T]):
    """What every sink has: answers laid out beforehand, and what was taken."""

    def __init__(self) -> None:
        self.over = threading.Event()
        """Set once the sink ends; what hangs or drips ends with it."""
        self._changed = threading.Condition()
        self._next: deque[Answer] = deque()
        self._always = OK
        self._messages: list[T] = []

    @property
    def messages(self) -> tuple[T, ...]:
        """What was taken, oldest first."""
        with self._changed:
            return tuple(self._messages)

    def answer_next(self, *answers: Answer) -> None:
        """The coming requests are answered by these, one each; those after as before."""
        with self._changed:
            self._next.extend(answers)

    def answer_always(self, answer: Answer = OK) -> None:
        """From now on, once those of answer_next are used up."""
        with self._changed:
            self._always = answer

    def heal(self) -> None:
        """Everything is answered well from now on."""
        with self._changed:
            self._next.clear()
            self._always = OK

    def forget(self) -> None:
        """Forget what was taken."""
        with self._changed:
            self._messages.clear()

    def wait_for(self, count: int, seconds: float = 30.0) -> tuple[T, ...]:
        """What was taken, once it is at least so many; fails when it is not in time."""
        return self.wait_until(lambda messages: len(messages) >= count, seconds)

    def wait_until(
        self, holds: Callable[[tuple[T, ...]], bool], seconds: float = 30.0
    ) -> tuple[T, ...]:
        """What was taken, once that holds of it; fails when it does not in time."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not holds(tuple(self._messages)):
                left = deadline - time.monotonic()
                assert left > 0, f"not within {seconds:g} s; taken: {self._messages!r}"
                self._changed.wait(left)
            return tuple(self._messages)

    def take_answer(self) -> Answer:
        """How the request at hand is answered."""
        with self._changed:
            return self._next.popleft() if self._next else self._always

    def take(self, message: T) -> None:
        """Note what was taken."""
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()
