"""Conditions that are looked at anew each time, and notices out of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from kb_dr.defs.alerting.place import Broken
from kb_dr.domain.alert_kinds import KINDS
from kb_dr.domain.notice import Notice, State
from kb_dr.domain.severity import Severity


@dataclass(frozen=True, slots=True)
class Condition:
    """How one thing stands now."""

    key: str
    notice: Notice | None = None
    """What there is to say of it; None: it is well, or not spoken of any more."""
    unsettled: bool = False
    """Somebody is about to say how it stands: until then nothing is changed."""
    lasting: bool = False
    """Looked at anew it has another id, and is the same all the same."""

    @property
    def broken(self) -> bool:
        """Whether it is known to be broken."""
        return self.notice is not None and self.notice.state is State.BROKEN


class Open:
    """Which conditions may be broken in the eyes of those who were told.

    What this sensor handed in, by its cursor, and what the outbox holds. ``outbox`` None: it could
    not be asked, and each condition may be open.
    """

    def __init__(
        self, handed_in: Mapping[str, Broken], outbox: Mapping[str, Broken] | None
    ) -> None:
        self.handed_in = dict(handed_in)
        self.outbox = outbox

    @property
    def keys(self) -> set[str]:
        """Those known by name."""
        return {*self.handed_in, *(self.outbox or {})}

    def what_is_new(self, notices: Iterable[Notice]) -> Iterator[Notice]:
        """What has to be handed in, in the order it happened.

        A condition that is well again is told once of each notice that called it broken, and not
        when that is newer. The id says which one it mends: the outbox takes an id but once.
        """
        for notice in sorted(notices, key=lambda each: (each.at, each.state is State.MENDED)):
            if notice.state is not State.MENDED:
                if notice.state is State.BROKEN:
                    last = self.handed_in.get(notice.key)
                    if last is None or last.at <= notice.at:
                        self.handed_in[notice.key] = Broken(notice.id, notice.at)
                yield notice
                continue
            known = self.handed_in.get(notice.key) or (self.outbox or {}).get(notice.key)
            if known is None and self.outbox is not None:
                continue
            if known is not None and known.at > notice.at:
                continue
            self.handed_in.pop(notice.key, None)
            what = notice.key if known is None else known.notice_id
            yield replace(notice, id=f"{notice.id}/mends/{what}")

    def level(
        self, conditions: Iterable[Condition], at: datetime, is_ours: Callable[[str], bool]
    ) -> Iterator[Notice]:
        """Notices that bring what was told in line with ``conditions``, which are all there is.

        An open condition whose key ``is_ours`` and which is not among them is gone, and closed: a
        check that no longer exists, a backup that was purged.
        """
        now = {each.key: each for each in conditions}
        for condition in now.values():
            if condition.broken and condition.notice is not None:
                known = self.handed_in.get(condition.key)
                notice = condition.notice
                if condition.lasting and known is not None:
                    notice = replace(notice, id=known.notice_id, at=known.at)
                if not self._told(notice):
                    yield notice
            elif condition.notice is not None:
                yield condition.notice
            elif not condition.unsettled and condition.key in self.keys:
                yield well_again(condition.key, at, "no longer so")
        for key in sorted(self.keys - now.keys()):
            if is_ours(key):
                yield not_watched(key, at)

    def _told(self, notice: Notice) -> bool:
        """Whether this very notice was handed in, and is known where it was handed to."""
        handed = self.handed_in.get(notice.key)
        return (
            handed is not None
            and handed.notice_id == notice.id
            and (self.outbox is None or notice.key in self.outbox)
        )


def well_again(key: str, at: datetime, seen: str) -> Notice:
    """A condition that is over."""
    return Notice(key, key, _kind_of(key), State.MENDED, Severity.INFO, at, seen)


def not_watched(key: str, at: datetime) -> Notice:
    """A condition nobody looks at any more: what was told of it ends, and not as well."""
    return replace(well_again(key, at, "it is not looked at any more"), gone=True)


def _kind_of(key: str) -> str:
    """A kind that fits a key, where nobody knows which it was."""
    family, *words = key.split("/")
    if family == "check":
        return next((word for word in reversed(words) if word in KINDS), "check_crashed")
    return {"run": "run_failed", "schedule": "schedule_missed"}.get(family, "automation_failed")
