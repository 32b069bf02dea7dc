"""A message as a mail, whatever its words are."""

from dataclasses import replace

import pytest

from kb_dr.adapters.channels.mail_text import composed
from kb_dr_tests.made_alerts import START
from kb_dr_tests.made_messages import made_message


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
def test_no_end_of_a_line_in_a_title_stops_a_mail_or_makes_a_header(end: str) -> None:
    message = replace(made_message(), title=f"a table named x{end}Bcc: someone@else.example")

    mail = composed(message, "kb@db.example", ["on-call@db.example"], START)

    assert mail["Bcc"] is None
    assert mail.as_bytes()
