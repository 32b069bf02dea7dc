"""One deadline for all of a call, whatever the other side does."""

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, call: Callable[[], T], *, give_up: Callable[[], None]) -> T:
    """What ``call`` returns; raises what it raises, and TimeoutError when it takes longer.

    The time limit of a socket starts anew with each byte: who drips one now and then holds a
    call for ever. So it runs in a thread of its own, and ``give_up`` closes what it reads from,
    which ends that thread.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            raised.append(error)

    thread = threading.Thread(target=work, daemon=True, name="kb-dr-channel")
    thread.start()
    thread.join(seconds)
    if returned:
        return returned[0]
    if raised:
        raise raised[0]
    give_up()
    raise TimeoutError
