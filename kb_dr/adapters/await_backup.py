"""Waits for the next bytes of a base backup, and tells a slow server from one that is gone."""

import select
import time
from collections.abc import Iterable
from dataclasses import dataclass

from kb_dr.adapters.postgres_programs import last_words
from kb_dr.errors import PostgresUnavailable, WalGap

_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """``stall_seconds``: with no byte for so long, the server is taken for gone. It has to be more
    than a checkpoint of a busy server takes. ``archive_seconds``: how long the server may wait
    for its own archive_command once all files are sent.
    """

    stall_seconds: float = 600.0
    archive_seconds: float = 600.0

    def await_bytes(self, descriptor: int, said: Iterable[bytes], what: str) -> None:
        """Return once ``descriptor`` can be read. ``said`` is what the server said meanwhile.

        Raises PostgresUnavailable or WalGap when it takes too long.
        """
        began = time.monotonic()
        while not select.select([descriptor], [], [], _LOOK_SECONDS)[0]:
            waited = time.monotonic() - began
            # do_pg_backup_stop() in xlog.c says so after 5 s, and again and again.
            if any(b"required WAL segments to be archived" in line for line in tuple(said)):
                if waited >= self.archive_seconds:
                    raise WalGap(
                        f"back up: after {waited:.0f} s the server still waits for its WAL to be "
                        "archived",
                        hint="Its archive_command fails: see the server's log, repair it, and "
                        "start the backup again.",
                    )
            elif waited >= self.stall_seconds:
                words = last_words(b"\n".join(tuple(said)))
                raise PostgresUnavailable(
                    f"{what}: no byte within {self.stall_seconds:g} s"
                    f"{': ' + words if words else ''}",
                    hint="Look at the server and the network, then start the backup again.",
                )
