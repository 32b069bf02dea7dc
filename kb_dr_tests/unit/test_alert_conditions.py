"""Only what was seen to be well is called well."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from kb_dr.adapters.channels.texts import headline, light
from kb_dr.defs.alerting.check_notices import look_at_checks
from kb_dr.defs.alerting.conditions import Condition, Open
from kb_dr.defs.alerting.place import Broken
from kb_dr.domain.alert_book import Book
from kb_dr.domain.alert_rules import take_notice
from kb_dr.domain.alert_upkeep import close_by_hand
from kb_dr.domain.message import Message, What
from kb_dr_tests.alerted_definitions import ROOM, World, alerted
from kb_dr_tests.made_alerts import START, notice, rules_of

NOW = datetime(2026, 11, 28, 12, 0, 30, tzinfo=UTC)
RULES = rules_of("slack")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


def broken() -> Book:
    book = Book()
    take_notice(book, notice(ROOM, kind="copies_have_room"), START, RULES)
    return book


def last_message(book: Book) -> Message:
    return max(book.deliveries.values(), key=lambda each: each.sequence).message


def test_a_check_whose_results_were_wiped_is_not_well_for_that(
    instance: dg.DagsterInstance,
) -> None:
    held = Open({ROOM: Broken("a run", NOW)}, {ROOM: Broken("an alert", NOW)})
    conditions = list(look_at_checks(instance, alerted(World()).get_repository_def()))

    assert ROOM in {each.key for each in conditions}
    assert list(held.level(conditions, NOW, lambda key: key.startswith("check/"))) == []


@pytest.mark.parametrize("conditions", [[], [Condition("check/another")]])
def test_what_is_not_looked_at_any_more_is_closed_and_not_called_well(
    conditions: list[Condition],
) -> None:
    held = Open({ROOM: Broken("a run", NOW)}, None)
    book = broken()

    for said in held.what_is_new(held.level(conditions, NOW, lambda key: True)):
        take_notice(book, said, NOW, RULES)

    message = last_message(book)
    assert book.open_of(ROOM) is None
    assert message.what is What.RECOVERED
    assert "back to normal" not in f"{headline(message)} {message.happened}"
    assert light(message) == "⚪"


def test_what_was_closed_by_hand_is_not_called_well() -> None:
    book = broken()
    (alert,) = book.alerts.values()

    close_by_hand(book, alert, NOW, RULES, by="anna")

    message = last_message(book)
    assert headline(message).startswith("kb: closed, not seen to be well: ")
    assert message.happened.startswith("closed by anna after ")
    assert light(message) == "⚪"
