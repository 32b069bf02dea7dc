"""Tells a dead man's switch of work: that it began, and how it ended."""

from __future__ import annotations

import logging
import time
import uuid
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from kb_dr import wiring
from kb_dr.errors import KbDrError
from kb_dr.installation.places import Places
from kb_dr.logs import bound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from kb_dr.domain.ping import PingRound
    from kb_dr.ports import Pinger

logger = logging.getLogger(__name__)


class Work:
    """One run of a work, while it goes on: what its last ping will say."""

    def __init__(self, name: str, part: str, facts: dict[str, str]) -> None:
        self.name = name
        self.part = part
        """Which part of the work it is, such as a copy; empty: all of it."""
        self.facts = facts
        self.problems: list[str] = []
        self.idle = ""

    def concerns(self, **facts: str | None) -> None:
        """Say these ids as well."""
        self.facts |= {name: value for name, value in facts.items() if value}

    def failed(self, why: str) -> None:
        """It did not succeed, though nothing is raised."""
        self.problems.append(why)

    def passed_over(self, why: str) -> None:
        """There was nothing to be done: neither well nor not."""
        self.idle = why


_AT_WORK: ContextVar[tuple[Work, ...]] = ContextVar("kb_dr_at_work", default=())


class Pinging(Places):
    """Pings around the verbs, so that the command line and Dagster tell the same."""

    @contextmanager
    def pinged(
        self,
        name: str,
        part: str = "",
        *,
        parts: Collection[str] = (),
        every: bool = False,
        **ids: str | None,
    ) -> Iterator[Work]:
        """Ping around what is done inside; a success only when it ends well and says no failure.

        ``part`` of ``parts``: all is well only when none of the others failed last, and with
        ``every`` only when each has succeeded since all last was. Inside the same work it adds
        to that one. Never fails nor holds up the work.
        """
        for outer in _AT_WORK.get():
            if outer.name == name:
                yield from _within(outer, ids)
                return
        work = Work(name, part, {})
        work.concerns(**ids)
        token = _AT_WORK.set((*_AT_WORK.get(), work))
        try:
            with bound(**ids):
                yield from self._told(work, parts, every)
        finally:
            _AT_WORK.reset(token)

    @staticmethod
    def at_work(name: str) -> bool:
        """Whether such a work is going on here, to which more would only add."""
        return any(outer.name == name for outer in _AT_WORK.get())

    def _told(self, work: Work, parts: Collection[str], every: bool) -> Iterator[Work]:
        from kb_dr.domain.ping import Signal

        pinger = wiring.pinger(self.settings, work.name)
        if pinger is None or (parts and work.part and work.part not in parts):
            yield work
            return
        rounds = _Rounds(self, work.name) if len(parts) > 1 else None
        run = rounds.run() if rounds else str(uuid.uuid4())
        began = time.monotonic()
        pinger.send(Signal.START, run)
        try:
            yield work
        except BaseException as error:
            work.failed(str(error) if isinstance(error, KbDrError) else type(error).__name__)
            raise
        finally:
            seconds = time.monotonic() - began
            self._say_end(work, pinger, run, seconds, rounds, tuple(parts), every)

    def _say_end(
        self,
        work: Work,
        pinger: Pinger,
        run: str,
        seconds: float,
        rounds: _Rounds | None,
        parts: tuple[str, ...],
        every: bool,
    ) -> None:
        from kb_dr.domain.ping import Signal

        if work.idle:
            signal, seen = Signal.LOG, work.idle
        elif work.problems:
            signal, seen = Signal.FAIL, "; ".join(work.problems[:5])
            if rounds is not None and (work.part or every):
                rounds.fail((work.part,) if work.part else parts)
        else:
            waits = rounds.succeed(work.part, parts, every=every) if rounds is not None else ()
            signal = Signal.LOG if waits else Signal.SUCCESS
            seen = f"{work.part} is well, all is not: {', '.join(waits)}" if waits else "well"
        facts = {"service": self.settings.service, **work.facts, "seconds": f"{seconds:.1f}"}
        lines = [f"{work.name}: {seen}", *(f"{name}: {each}" for name, each in facts.items())]
        pinger.send(signal, run, "\n".join(lines))
        pinger.end()


def _within(outer: Work, ids: dict[str, str | None]) -> Iterator[Work]:
    outer.concerns(**ids)
    with bound(**ids):
        try:
            yield outer
        except KbDrError as error:
            # Whoever catches it goes on with the next part; this one failed all the same.
            outer.failed(str(error))
            raise


class _Rounds:
    """The round of one work, as it is kept on this machine."""

    def __init__(self, places: Places, name: str) -> None:
        from kb_dr.adapters.state_file import StateFile

        self._file = StateFile(places.settings.state_dir / "pings" / f"{name}.json")
        self._name = name

    def run(self) -> str:
        """The uuid of the round that is going on, or of one that begins."""
        try:
            with self._file.alone():
                going = self._read()
                self._write(going)
        except OSError as error:
            self._warn(error)
            return str(uuid.uuid4())
        return going.run

    def fail(self, parts: tuple[str, ...]) -> None:
        try:
            with self._file.alone():
                going = self._read()
                for part in parts:
                    going = going.failing(part)
                self._write(going)
        except OSError as error:
            self._warn(error)

    def succeed(self, part: str, parts: tuple[str, ...], *, every: bool) -> tuple[str, ...]:
        """The parts that keep all from being well; none: the next round begins."""
        try:
            with self._file.alone():
                if not part:
                    self._file.write({})
                    return ()
                going = self._read().succeeded(part)
                waits = going.waits_for(parts, every=every)
                if waits:
                    self._write(going)
                else:
                    self._file.write({})
                return waits
        except OSError as error:
            # Of the others nothing is known: that is no success.
            self._warn(error)
            return () if not part else tuple(each for each in parts if each != part)

    def _read(self) -> PingRound:
        from kb_dr.domain.ping import PingRound

        found = self._file.read()
        run = found.get("run")
        if not isinstance(run, str):
            return PingRound(str(uuid.uuid4()))
        done, failed = found.get("done", ()), found.get("failed", ())
        return PingRound(run, frozenset(map(str, done)), frozenset(map(str, failed)))

    def _write(self, going: PingRound) -> None:
        self._file.write(
            {"run": going.run, "done": sorted(going.done), "failed": sorted(going.failed)}
        )

    def _warn(self, error: OSError) -> None:
        logger.warning(
            "which parts of %s are well is not kept: %s", self._name, error.strerror or error
        )
