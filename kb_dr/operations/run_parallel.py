"""Do the same to many things, a few at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

from kb_dr.logs import with_these_ids

T = TypeVar("T")
R = TypeVar("R")


def run_parallel(things: Iterable[T], work: Callable[[T], R], *, at_once: int) -> list[R]:
    """What ``work`` returns for each thing, in their order.

    The first error ends it: what has begun is waited for, nothing more begins, and the error is
    raised. So when this returns or raises, nothing runs any more.
    """
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="kb-dr") as pool:
        futures = [pool.submit(with_these_ids(work), thing) for thing in things]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        for future in futures:
            if future in done and future.exception() is not None:
                future.result()
        return [future.result() for future in futures]
