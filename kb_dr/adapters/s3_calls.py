"""One call to S3: its deadline, its retries, and the error that is left."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from obstore.exceptions import BaseError

from kb_dr.adapters.s3_errors import Answer, answer_of

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 15.0

RAISED_BY_OBSTORE = (BaseError, OSError)
"""What obstore raises; some of it is plain Python (FileNotFoundError)."""


class CallFailed(Exception):
    """A request that was not done; its answer says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


def with_retries(
    call: Callable[[], T],
    *,
    deadline_seconds: float,
    raised: tuple[type[Exception], ...] = RAISED_BY_OBSTORE,
    read: Callable[[Any], Answer] = answer_of,
) -> T:
    """What ``call`` returns, tried again while a retry can help and time is left.

    Pauses grow from 0.1 s to 15 s, each of random length up to that ("full jitter"), so that many
    hosts do not come back together. Written out here, since importing a library for it would
    take longer than all the rest of `kb-dr wal push` before its first byte.

    ``raised`` is what the client raises, ``read`` finds the store's answer in it. Raises
    CallFailed. The client's own error is dropped: it quotes the answer, which may quote the
    request with its session token, and it would hold the body that was sent.
    """
    deadline = time.monotonic() + deadline_seconds
    longest = _FIRST_PAUSE_SECONDS
    while True:
        try:
            return call()
        except raised as error:
            answer = read(error)
        pause = _part_of(longest)
        if not answer.passes or time.monotonic() + pause >= deadline:
            raise CallFailed(answer)
        time.sleep(pause)
        longest = min(longest * 2, _LONGEST_PAUSE_SECONDS)


def _part_of(longest: float) -> float:
    import random  # only where something failed: 5 ms that every WAL segment would pay

    return random.uniform(longest / 10, longest)  # noqa: S311 - no secret hangs on it
