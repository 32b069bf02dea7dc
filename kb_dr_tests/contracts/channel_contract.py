"""What every channel must do, whatever it is."""

import logging
import time
import traceback
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from kb_dr.adapters.clock import SystemClock
from kb_dr.domain.message import What
from kb_dr.errors import AlertError, ChannelRefused, ChannelUnavailable, MessageRefused
from kb_dr.ports import Channel
from kb_dr_tests.made_messages import AT, made_message
from kb_dr_tests.sinks import DRIP, DROP, HANG, LOSE_ANSWER, Answer, status, too_many
from kb_dr_tests.sinks.answers import Programmed

DEADLINE = 1.0
"""Of the channels that meet what never ends."""
PATIENCE = 60.0
"""Of the others: a starved machine is slow, not broken."""


BUSY, REFUSAL = status(500), status(400)


@dataclass
class Wired:
    """A channel and the sink at its other end."""

    channel: Channel
    hasty: Channel
    """The same with DEADLINE."""
    wrong: Channel
    """The same with a wrong token, key or password."""
    sink: Programmed[Any]
    secrets: tuple[str, ...]
    busy: Answer = BUSY
    """How this sink says that it cannot at the moment."""
    refusal: Answer = REFUSAL
    """How it says that it does not take this one message."""
    shows_once: bool = False
    """Whether what comes again is shown once."""


class ChannelContract(ABC):
    """Children say how one is wired."""

    @pytest.fixture
    @abstractmethod
    def wired(self) -> Any: ...

    def test_every_kind_of_message_is_taken(self, wired: Wired) -> None:
        for what in What:
            wired.channel.send(made_message(id=f"m-{what}", what=what), tried_since=None)

        told = 0 if wired.channel.name == "pagerduty" else 1  # it is no condition
        assert len(wired.sink.messages) == len(What) - 1 + told

    def test_what_is_odd_is_taken_too(self, wired: Wired) -> None:
        odd = "\ud800\x00\x1b[31mé😀\r\nBcc: x@y <!channel> & " + "long " * 2000
        message = made_message(
            title=odd, happened=odd, means="", do=odd, facts=((odd, odd),), run_url="", lines=(odd,)
        )

        wired.channel.send(message, tried_since=None)

        assert len(wired.sink.messages) == 1

    def test_a_channel_that_is_busy_is_tried_again(self, wired: Wired) -> None:
        wired.sink.answer_next(wired.busy)

        error = self._fails(wired, ChannelUnavailable)

        assert error.retryable
        wired.channel.send(made_message(), tried_since=None)
        assert len(wired.sink.messages) == 1

    @pytest.mark.parametrize("answer", [HANG, DRIP], ids=["hangs", "drips"])
    def test_one_that_never_ends_is_left_at_the_deadline(
        self, wired: Wired, answer: Answer
    ) -> None:
        wired.sink.answer_next(answer)
        started = time.monotonic()

        error = self._fails(wired, ChannelUnavailable, wired.hasty)

        assert "no answer within 1 s" in str(error)
        assert time.monotonic() - started < 60  # without the deadline it never ends

    @pytest.mark.parametrize("answer", [DROP, LOSE_ANSWER], ids=["before", "after"])
    def test_a_connection_that_breaks_is_no_delivery(self, wired: Wired, answer: Answer) -> None:
        wired.sink.answer_next(answer)

        self._fails(wired, ChannelUnavailable)

        assert len(wired.sink.messages) == (1 if answer is LOSE_ANSWER else 0)

    def test_after_a_lost_answer_it_comes_again_or_is_found(self, wired: Wired) -> None:
        wired.sink.answer_next(LOSE_ANSWER)
        self._fails(wired, ChannelUnavailable)

        wired.channel.send(made_message(), tried_since=AT)

        assert len(wired.sink.messages) == (1 if wired.shows_once else 2)

    def test_what_was_tried_and_never_arrived_is_sent(self, wired: Wired) -> None:
        wired.channel.send(made_message(id="another"), tried_since=None)
        wired.sink.answer_next(DROP)
        self._fails(wired, ChannelUnavailable)

        wired.channel.send(made_message(), tried_since=AT)

        assert len(wired.sink.messages) == 2

    def test_wrong_credentials_are_somebodys_to_mend(self, wired: Wired) -> None:
        error = self._fails(wired, ChannelRefused, wired.wrong)

        assert "KB_DR_" in error.hint
        assert wired.sink.messages == ()

    def test_one_message_that_is_refused_does_not_close_the_channel(self, wired: Wired) -> None:
        wired.sink.answer_next(wired.refusal)

        self._fails(wired, MessageRefused)

    def test_checking_it_tells_nobody(self, wired: Wired) -> None:
        seen = wired.channel.check()

        assert seen
        assert not any(secret in seen for secret in wired.secrets)
        assert wired.sink.messages == ()

    def test_nothing_it_does_shows_a_secret(
        self, wired: Wired, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            for answer in (wired.busy, wired.refusal, DROP, HANG):
                wired.sink.answer_next(answer)
                self._fails(wired, AlertError, wired.hasty if answer is HANG else None)
            self._fails(wired, AlertError, wired.wrong)

        assert not any(secret in caplog.text for secret in wired.secrets)

    def _fails(
        self, wired: Wired, kind: type[AlertError], channel: Channel | None = None
    ) -> AlertError:
        """The error of sending; nothing in it, or behind it, holds a secret."""
        with pytest.raises(kind) as caught:
            (channel or wired.channel).send(made_message(), tried_since=None)
        error = caught.value
        told = "".join(traceback.format_exception(error)) + error.hint + repr(error.args)
        assert not any(secret in told for secret in wired.secrets), told
        assert error.__cause__ is None
        assert error.__context__ is None
        return error


class PacedChannelContract(ChannelContract):
    """Of those that can say when to come back."""

    def test_it_comes_back_when_it_is_told_to(self, wired: Wired) -> None:
        later = format_datetime(SystemClock().now() + timedelta(seconds=600), usegmt=True)
        wired.sink.answer_next(too_many(17), too_many(later))

        seconds, date = (self._fails(wired, ChannelUnavailable) for _ in range(2))

        assert isinstance(seconds, ChannelUnavailable)
        assert isinstance(date, ChannelUnavailable)
        assert seconds.retry_after_seconds == 17
        assert date.retry_after_seconds is not None
        assert 500 < date.retry_after_seconds <= 600
