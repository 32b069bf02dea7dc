"""A PostgreSQL server on restored files: how far it has replayed, and whether it still runs."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import psycopg

from kb_dr.adapters.postgres_programs import last_words
from kb_dr.adapters.unprivileged import end
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.recovery import Replay, WorkArea
from kb_dr.domain.timelines import parse_history
from kb_dr.domain.wal_names import history_name
from kb_dr.errors import (
    KbDrError,
    NotEnoughSpace,
    PostgresError,
    PostgresUnavailable,
    RecoveryAborted,
    RecoveryError,
    TargetNotReached,
    WalDamaged,
)

_LOOK_SECONDS = 0.02
_SHUTDOWN_SECONDS = 3600.0
"""A clean shutdown writes everything that replay left in memory."""
_QUIT_SECONDS = 30.0
_LOG_BYTES = 64 * 1024

_BEFORE_TARGET = "recovery ended before configured recovery target was reached"
_TURNED_AWAY = "the database system is"
"""What those who connect too early are told; it is no reason for anything."""
_FULL = "No space left on device"

# The state stands first, and one statement asks for all: what is read after "paused" is where
# replay stands, and what is read before it may be where it was a moment ago.
_REPLAY = """
select case when pg_is_in_recovery() then pg_get_wal_replay_pause_state() end,
       pg_last_wal_replay_lsn()::text,
       pg_last_xact_replay_timestamp(),
       (pg_control_checkpoint()).timeline_id
"""

Row = tuple[Any, ...]


class LocalServer:
    """Implements `kb_dr.ports.RestoredServer`."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", area: WorkArea, users: Sequence[str]
    ) -> None:
        self._process = process
        self._area = area
        self._users = tuple(users)
        self._user: str | None = None
        self._keeps = False
        """Whether one session is kept for the next question."""
        self._kept: psycopg.Connection[Row] | None = None

    def conninfo(self, database: str = "postgres") -> str:
        user = self._user or self._find_user()
        return psycopg.conninfo.make_conninfo(
            host=str(self._area.sockets), port=5432, user=user, dbname=database
        )

    def wait_for_pause(self, seconds: float) -> Replay:
        def paused() -> Replay | None:
            seen = self.replay()
            if not seen.in_recovery:
                raise TargetNotReached("recover: recovery ended without a pause at its target")
            return seen if seen.paused else None

        return self._wait(paused, seconds, "paused at its recovery target")

    def wait_for_promotion(self, seconds: float) -> Replay:
        def promoted() -> Replay | None:
            seen = self.replay()
            return None if seen.in_recovery else seen

        return self._wait(promoted, seconds, "open")

    def replay(self) -> Replay:
        try:
            [(state, lsn, commit, timeline)] = self._ask(_REPLAY)
        except PostgresError as error:
            if not isinstance(error.__cause__, psycopg.errors.ObjectNotInPrerequisiteState):
                raise
            # Recovery ended between the first word of the statement and the second.
            [(state, lsn, commit, timeline)] = self._ask(_REPLAY)
        newest = commit if isinstance(commit, datetime) else None
        if state is None:
            return self._replay_before_promotion(newest)
        return Replay(
            lsn=Lsn.parse(lsn) if lsn else None,
            timeline=int(timeline),
            paused=state == "paused",
            in_recovery=True,
            newest_commit=newest,
        )

    def log_tail(self) -> str:
        try:
            with self._area.log.open("rb") as log:
                log.seek(max(0, self._area.log.stat().st_size - _LOG_BYTES))
                return log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            status = self._process.wait(_SHUTDOWN_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise PostgresError(
                f"stop the restored server: still running after {_SHUTDOWN_SECONDS:g} s"
            ) from error
        if status != 0:
            raise self._ended()

    def end(self) -> None:
        """Make sure that it runs no more, whatever becomes of its files."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            end(self._process, seconds=_QUIT_SECONDS)

    def _replay_before_promotion(self, newest_commit: datetime | None) -> Replay:
        """Promotion wrote down which timeline was left, and at which LSN."""
        [(segment,)] = self._ask("select pg_walfile_name(pg_current_wal_insert_lsn())")
        timeline = int(str(segment)[:8], 16)
        lsn: Lsn | None = None
        left: int | None = None
        if timeline > 1:
            history = self._area.data / "pg_wal" / history_name(timeline)
            try:
                branch = parse_history(timeline, history.read_text()).branches[-1]
            except (OSError, WalDamaged) as error:
                raise PostgresError(f"read {history}: {error}") from error
            left, lsn = branch.timeline, branch.end
        return Replay(
            lsn=lsn, timeline=left, paused=False, in_recovery=False, newest_commit=newest_commit
        )

    def _wait(self, look: Callable[[], Replay | None], seconds: float, what: str) -> Replay:
        deadline = time.monotonic() + seconds
        # Each new session would cost the server a process: as much as ten looks.
        self._keeps = True
        try:
            while True:
                try:
                    seen = look()
                except PostgresUnavailable:
                    seen = None
                if seen is not None:
                    return seen
                if self._process.poll() is not None:
                    raise self._ended()
                if time.monotonic() > deadline:
                    # It may be on its way: that says nothing of the backup.
                    raise RecoveryError(f"recover: the server was not {what} within {seconds:g} s")
                time.sleep(_LOOK_SECONDS)
        finally:
            self._keeps = False
            self._leave()

    def _ended(self) -> KbDrError:
        """Why the server is gone, from what it logged last."""
        log = self.log_tail()
        telling = [
            line
            for line in log.splitlines()
            if ("FATAL" in line or "PANIC" in line) and _TURNED_AWAY not in line
        ]
        words = last_words("\n".join(telling).encode() or log.encode())
        if _BEFORE_TARGET in log:
            return TargetNotReached(f"recover: {words}")
        if _FULL in log:
            return NotEnoughSpace(f"recover: {words}", hint="Make room, then restore again.")
        return RecoveryAborted(
            f"recover: the server ended with status {self._process.returncode}: {words}"
        )

    def _find_user(self) -> str:
        """A superuser: of the names given, or any that one of them may see."""
        for user in self._users:
            try:
                found = self._rows(
                    user,
                    "select rolname from pg_roles where rolsuper and rolcanlogin"
                    " order by rolname <> current_user, oid limit 1",
                )
            except psycopg.OperationalError as error:
                if "does not exist" in str(error):
                    continue
                raise PostgresUnavailable(
                    f"connect to the restored server: {last_words(str(error).encode())}"
                ) from error
            if found:
                self._user = str(found[0][0])
                return self._user
        raise PostgresError(
            f"connect to the restored server: none of its roles is {', '.join(self._users)}",
            hint="Set KB_DB_USER to a role of that cluster.",
        )

    def _ask(self, statement: str) -> list[Row]:
        user = self._user or self._find_user()
        try:
            return self._rows(user, statement)
        except psycopg.OperationalError as error:
            raise PostgresUnavailable(
                f"ask the restored server: {last_words(str(error).encode())}"
            ) from error
        except psycopg.Error as error:
            raise PostgresError(
                f"ask the restored server: {last_words(str(error).encode())}"
            ) from error

    def _rows(self, user: str, statement: str) -> list[Row]:
        session = self._kept or self._connected(user)
        try:
            rows = session.execute(statement.encode()).fetchall()
        except BaseException:
            session.close()
            self._kept = None
            raise
        if self._keeps and user == self._user:
            self._kept = session
        else:
            session.close()
        return rows

    def _leave(self) -> None:
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _connected(self, user: str) -> "psycopg.Connection[Row]":
        connection = psycopg.connect(
            host=str(self._area.sockets),
            port=5432,
            user=user,
            dbname="postgres",
            autocommit=True,
            connect_timeout=30,
            application_name="kb-dr",
        )
        try:
            connection.execute("set statement_timeout = '60s'")
        except BaseException:
            connection.close()
            raise
        return connection
