"""End the sessions in databases for as long as one transaction changes their names."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

from kb_dr.adapters.postgres_session import Session
from kb_dr.errors import KbDrError

_AGAIN_SECONDS = 0.05

# Only while that transaction lasts: who comes after it finds the names as they are then.
_END = """
select array(
  select pid from pg_catalog.pg_stat_activity
  where datid = any(%s::oid[]) and pg_catalog.pg_terminate_backend(pid))
where exists (select 1 from pg_catalog.pg_stat_activity where pid = %s and xact_start is not null)
"""


class Ended:
    """Which sessions were ended, and why that went no further."""

    def __init__(self) -> None:
        self.pids: set[int] = set()
        self.failure: KbDrError | None = None


@contextmanager
def ended_sessions(
    opened: Callable[[], AbstractContextManager[Session]], oids: Sequence[int], transaction: int
) -> Iterator[Ended]:
    """Inside, every session in these databases is ended while the backend ``transaction`` is in
    one.

    No database is closed for it: a rename keeps new sessions waiting by itself, waits 5 s for the
    old ones, and whatever is killed here leaves nothing behind (PostgreSQL,
    src/backend/commands/dbcommands.c, RenameDatabase).
    """
    ended, over = Ended(), threading.Event()

    def keep_ending() -> None:
        try:
            with opened() as asked:
                while not over.is_set():
                    row = asked.execute(_END, [list(oids), transaction]).fetchone()
                    ended.pids |= set(row[0]) if row is not None else set()
                    over.wait(_AGAIN_SECONDS)
        except KbDrError as error:
            ended.failure = error

    ender = threading.Thread(target=keep_ending, name="end-sessions", daemon=True)
    ender.start()
    try:
        yield ended
    finally:
        over.set()
        ender.join()
