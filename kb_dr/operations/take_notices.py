"""Take notices: open, fold and close alerts, so that their messages wait to be sent."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr.domain.alert_book import Book
from kb_dr.domain.alert_rules import take_notice
from kb_dr.domain.notice import Notice
from kb_dr.operations.reach_outbox import Outboxes
from kb_dr.ports import OutboxSession

_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What notices came to."""

    counts: dict[str, int]
    """``opened``, ``worse``, ``folded``, ``closed``, ``told``; ``known``, ``stale`` and
    ``nothing`` changed nothing."""
    kept_in: str
    """Where the alerts are, for people."""

    @property
    def opened(self) -> int:
        """New alerts."""
        return self.counts.get("opened", 0)

    @property
    def closed(self) -> int:
        """Alerts that are over."""
        return self.counts.get("closed", 0)


def take_notices(outboxes: Outboxes, notices: Sequence[Notice]) -> Taken:
    """Take all of them in one step, in the order they happened; each once, however often it
    comes. An outbox that is down raises nothing: they are kept elsewhere.
    """
    if not notices:
        return Taken({}, "")
    now = outboxes.clock.now()
    # The same moment in the order they were handed in.
    ordered = sorted(notices, key=lambda each: min(each.at, now))

    def work(session: OutboxSession) -> dict[str, int]:
        counts: Counter[str] = Counter()

        def decide(book: Book) -> None:
            counts.clear()
            for notice in ordered:
                counts[take_notice(book, notice, now, outboxes.rules)] += 1

        book = session.change(
            decide,
            keys=sorted({each.key for each in ordered}),
            notices=[each.id for each in ordered],
        )
        if book.changes() and not book.partial:
            outboxes.records.keep_mirror(book)
        return dict(counts)

    counts, where = outboxes.use(work, seconds=_SECONDS)
    return Taken(counts, where)
