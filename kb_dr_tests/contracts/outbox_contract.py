"""What every outbox promises, whoever keeps it."""

from abc import ABC, abstractmethod
from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr.domain.alert_book import Book, Changes
from kb_dr.domain.alert_rules import close, take_notice
from kb_dr.domain.delivery import ChannelState, DeliveryState
from kb_dr.domain.notice import State
from kb_dr.ports import Outbox
from kb_dr_tests.made_alerts import START, failed_run, notice, rules_of

RULES = rules_of("slack", "email")


class OutboxContract(ABC):
    """Subclasses say what ``outbox`` is: each call of it a new handle on the same one."""

    @abstractmethod
    def outbox(self) -> Outbox:
        """A handle."""

    def opens(self, *numbers: int) -> Book:
        """Take failed runs in one step."""
        taken = [failed_run(number) for number in numbers]

        def decide(book: Book) -> None:
            for each in taken:
                take_notice(book, each, START, RULES)

        with self.outbox().opened(seconds=10) as session:
            return session.change(
                decide,
                keys=[each.key for each in taken],
                notices=[each.id for each in taken],
            )

    def test_what_one_step_changed_is_there_for_the_next(self) -> None:
        made = self.opens(1, 2)

        with self.outbox().opened(seconds=10) as session:
            book = session.change(lambda book: None)
            assert book.alerts == made.alerts
            assert book.deliveries == made.deliveries
            assert book.last_sequence == made.last_sequence
            assert session.alerts(closed=False) == tuple(
                sorted(made.alerts.values(), key=lambda each: each.id)
            )
            assert list(session.unsent()) == sorted(
                made.deliveries.values(), key=lambda each: each.sequence
            )

    def test_a_step_that_fails_changes_nothing(self) -> None:
        def decide(book: Book) -> None:
            take_notice(book, failed_run(1), START, RULES)
            raise ZeroDivisionError

        with self.outbox().opened(seconds=10) as session, pytest.raises(ZeroDivisionError):
            session.change(decide)

        with self.outbox().opened(seconds=10) as session:
            assert session.alerts(closed=True) == ()
            assert session.unsent() == ()

    def test_a_notice_that_was_taken_is_known(self) -> None:
        self.opens(1)

        with self.outbox().opened(seconds=10) as session:
            ids = [failed_run(1).id, failed_run(2).id]
            book = session.change(lambda book: None, notices=ids)

        assert failed_run(1).id in book.notices
        assert failed_run(2).id not in book.notices

    def test_what_became_of_a_message_is_kept(self) -> None:
        made = self.opens(1)
        first, second = sorted(made.deliveries.values(), key=lambda each: each.sequence)
        done = replace(
            first, state=DeliveryState.DELIVERED, attempts=1, first_tried_at=START,
            finished_at=START, receipt="1.2",
        )  # fmt: skip
        state = ChannelState("slack", START, sent=(START,))
        failing = ChannelState("email", START, START, attempts=2, next_try_at=START, last_error="é")

        with self.outbox().opened(seconds=10) as session:
            session.keep(Changes(deliveries=(done,), channels=(state, failing)))
        with self.outbox().opened(seconds=10) as session:
            assert session.deliveries(done.alert_id) == (done, second)
            assert session.unsent() == (second,)
            assert session.change(lambda book: None).channels == {"slack": state, "email": failing}

    def test_a_closed_alert_is_found_by_its_key_and_listed_only_when_asked_for(self) -> None:
        made = self.opens(1, 2)
        first = next(each for each in made.alerts.values() if each.key == failed_run(1).key)
        with self.outbox().opened(seconds=10) as session:
            session.change(lambda book: close(book, book.alerts[first.id], START, START, RULES))

        with self.outbox().opened(seconds=10) as session:
            book = session.change(lambda book: None, keys=[first.key])
            assert book.alerts[first.id].closed_at == START
            assert first.id not in [each.id for each in session.alerts(closed=False)]
            assert first.id in [each.id for each in session.alerts(closed=True)]

    def test_one_delivers_at_a_time(self) -> None:
        with self.outbox().opened(seconds=10) as one:
            assert one.claim_delivery()
            with self.outbox().opened(seconds=10) as two:
                assert not two.claim_delivery()

        with self.outbox().opened(seconds=10) as three:
            assert three.claim_delivery()

    def test_what_is_not_asked_for_by_key_is_not_opened_twice(self) -> None:
        self.opens(1)
        with self.outbox().opened(seconds=10) as session:
            again = notice("run/job_001", kind="run_failed", at=5)
            now = START + timedelta(seconds=5)
            came_to: list[str] = []
            session.change(
                lambda book: came_to.append(take_notice(book, again, now, RULES)),
                keys=[again.key],
            )
            assert came_to == ["folded"]
            (alert,) = session.alerts(closed=True)
            assert (alert.times, alert.version) == (2, 2)
            mended = replace(again, id="m", state=State.MENDED)
            session.change(lambda book: came_to.append(take_notice(book, mended, now, RULES)))
            assert came_to[-1] == "closed"
