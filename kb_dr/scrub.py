"""Secrets never leave in words: whatever is one is known here, and struck out of every text.

Errors strike them out when they are made, logs when they are written: what a library puts into
its own message, such as an address with a token in it, goes no further.
"""

import re
from collections.abc import Iterator

STRUCK_OUT = "…"

_SHORTEST = 4
"""Characters. A shorter value is no secret, and would be struck out of half of all words."""
_ANYWHERE = 12
"""Characters from which on a value is struck out inside of words, too."""
_OPAQUE = 20
"""Characters from which on a piece of an address that is a secret is one by itself: a token."""
_DEEPEST = 3
"""Strings of JSON within each other: a message, in a line of a log, in an event."""

_IDENTITY = re.compile(r"AGE-SECRET-KEY-[A-Z0-9]+")

_known: dict[str, None] = {}
_compiled: re.Pattern[str] | None = None


def remember(value: str) -> None:
    """Strike this value out of every text from now on, for as long as this process lives."""
    global _compiled
    if len(value) >= _SHORTEST and value not in _known:
        _known[value] = None
        _compiled = None


def forget_all() -> None:
    """Know no secret any more; for tests, which make up many."""
    global _compiled
    _known.clear()
    _compiled = None


def scrub(text: str) -> str:
    """The text, with ``…`` where a secret stood: as it is, URL-encoded, in JSON or in base64."""
    if "AGE-SECRET-KEY-" in text:
        text = _IDENTITY.sub(STRUCK_OUT, text)
    if not _known:
        return text
    global _compiled
    if _compiled is None:
        _compiled = _compile()
    return _compiled.sub(STRUCK_OUT, text)


def _compile() -> re.Pattern[str]:
    forms = {form for value in _known for form in _forms(value)}
    # The longest first: what is left of one that holds another would still be a hint.
    return re.compile("|".join(map(_bounded, sorted(forms, key=lambda each: (-len(each), each)))))


def _bounded(form: str) -> str:
    """A short one has to stand by itself: `postgres` is a password, and part of `postgresql`."""
    pattern = re.escape(form)
    return pattern if len(form) >= _ANYWHERE else f"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"


def _forms(value: str) -> set[str]:
    from urllib.parse import quote, quote_plus

    forms: set[str] = set()
    for each in {value, *_pieces(value)}:
        if len(each) < _SHORTEST:
            continue
        quoted = {quote(each), quote(each, safe=""), quote_plus(each)}
        lower = {re.sub(r"%[0-9A-F]{2}", lambda code: code[0].lower(), form) for form in quoted}
        forms |= {each, *quoted, *lower, *_escaped(each)}
    if len(value) >= _ANYWHERE:
        forms |= _in_base64(value.encode(errors="surrogateescape"))
    return forms


def _pieces(value: str) -> Iterator[str]:
    """What of it is a secret by itself. Short pieces of an address are words."""
    if len(lines := value.splitlines()) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= _ANYWHERE)
    if "://" not in value:
        return
    from urllib.parse import unquote, urlsplit

    # Libraries speak of the host here and of the rest there.
    try:
        parts = urlsplit(value)
    except ValueError:
        return
    rest = value.split("://", 1)[1].removeprefix(parts.netloc)
    password = parts.password or ""
    yield from (rest, rest.rstrip("/"), parts.path, parts.query, password, unquote(password))
    for piece in re.split(r"[/&=]", f"{parts.path}&{parts.query}"):
        if len(piece) >= _OPAQUE:
            yield from (piece, unquote(piece))


def _escaped(value: str) -> set[str]:
    """As programs and documents quote it: in a string of JSON, also one within others."""
    import json

    marks = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
    forms = {repr(value)[1:-1], value.replace("'", "''")}
    forms.add(re.sub(r"([\\'])", r"\\\1", value))
    forms.add("".join(marks.get(each, each) for each in value))
    within = {value, *forms}
    for _ in range(_DEEPEST):
        within = {
            json.dumps(each, ensure_ascii=only)[1:-1] for each in within for only in (True, False)
        }
        forms |= within
    return forms


def _in_base64(value: bytes) -> set[str]:
    """What it looks like within base64, wherever in it the value begins."""
    from base64 import b64encode

    found = set()
    for offset in range(3):
        text = b64encode(bytes(offset) + value).decode()
        # Characters made of its own bits alone: those at the ends hold bits of its neighbours.
        whole = text[-(-8 * offset // 6) : 8 * (offset + len(value)) // 6]
        found |= {whole, whole.replace("+", "-").replace("/", "_")}
    return found
