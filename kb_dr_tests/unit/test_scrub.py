"""Secrets are struck out of texts in every form a library may quote them in; nothing else is."""

import base64
import html
import json
from urllib.parse import quote, quote_plus

import pytest

from kb_dr.errors import KbDrError
from kb_dr.scrub import forget_all, remember, scrub
from kb_dr.settings import Secret

SECRET = 'pl4nted/+& "ünd\\more'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        repr(SECRET),
        # A message that quotes one, within a line of JSON, within Dagster's event.
        json.dumps(json.dumps(SECRET)),
        json.dumps(json.dumps(json.dumps(SECRET))),
        json.dumps(json.dumps(SECRET), ensure_ascii=False),
        json.dumps(repr(SECRET)),
        quote(SECRET, safe="").replace("%2F", "%2f").replace("%2B", "%2b").lower(),
        html.escape(SECRET),
        SECRET.replace("\\", "\\\\"),
    ],
)
def test_every_form_of_a_secret_is_struck_out(form: str) -> None:
    remember(SECRET)

    assert "pl4nted" not in scrub(f"connect with {form}: refused")
    assert scrub("connect with something else: refused") == "connect with something else: refused"


@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
def test_a_secret_within_base64_is_struck_out(before: str) -> None:
    remember("planted-secret-of-24-bytes")
    coded = base64.b64encode(f"{before}planted-secret-of-24-bytes".encode()).decode()

    said = scrub(f"Authorization: Basic {coded}")

    # What is left is made of the neighbours' bits as well.
    assert len(said) < len("Authorization: Basic ") + len(before) * 2 + 8
    assert coded not in said


def test_the_rest_of_an_address_that_is_a_secret_is_one_as_well() -> None:
    remember("https://hooks.slack.com/services/T00/B00/planted")

    said = scrub("host='hooks.slack.com': retries exceeded with url: /services/T00/B00/planted (x)")

    assert said == "host='hooks.slack.com': retries exceeded with url: … (x)"


def test_the_password_of_an_address_is_one_by_itself() -> None:
    remember("https://user:planted-word@host.example/")

    assert "planted-word" not in scrub("401 for planted-word")


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("https://u:p%40ss-planted@host.example/", "401 for user u, password p@ss-planted"),
        ("https://h.example/T0/B0/planted0planted0planted0", "no token planted0planted0planted0"),
        ("https://h.example/hook?a=1&t=planted0planted0planted0", "t planted0planted0planted0 bad"),
        ("first-line-of-it\nplanted-second-line", "parse: planted-second-line"),
        ("it's-planted-0", "password='it''s-planted-0'"),
        ("it's-planted-0", "password='it\\'s-planted-0'"),
    ],
)
def test_a_piece_that_is_a_secret_by_itself_is_struck_out(secret: str, said: str) -> None:
    remember(secret)

    assert "planted" not in scrub(said)


def test_short_pieces_of_an_address_are_words() -> None:
    remember("https://h.example/services/kb-production?kind=backup")

    assert scrub("services of kb-production: kind backup") == (
        "services of kb-production: kind backup"
    )


def test_a_short_password_is_struck_out_where_it_stands_by_itself() -> None:
    remember("postgres")

    assert scrub("password=postgres of postgresql://db") == "password=… of postgresql://db"


def test_what_is_too_short_to_be_a_secret_spoils_no_words() -> None:
    remember("kb")

    assert scrub("service kb") == "service kb"


def test_an_age_identity_is_struck_out_though_nobody_told_of_it() -> None:
    assert scrub("read AGE-SECRET-KEY-1QQPQ: bad") == "read …: bad"


def test_a_longer_secret_goes_before_one_that_is_part_of_it() -> None:
    remember("planted-secret")
    remember("planted-secret-and-more")

    assert scrub("x planted-secret-and-more y") == "x … y"


def test_an_error_loses_secrets_when_it_is_made() -> None:
    Secret("planted-password")

    error = KbDrError("connect: planted-password was refused", hint="Not planted-password.")

    assert str(error) == "connect: … was refused"
    assert error.hint == "Not …."


def test_what_was_forgotten_is_words_again() -> None:
    remember("planted-password")
    forget_all()

    assert scrub("planted-password") == "planted-password"
