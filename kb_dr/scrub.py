"""Secrets never leave in words: whatever is one is known here, and struck out of every text.

Errors strike them out when they are made, logs when they are written: what a library puts into
its own message, such as an address with a token in it, goes no further.
"""

import re

STRUCK_OUT = "…"

_SHORTEST = 4
"""Characters. A shorter value is no secret, and would be struck out of half of all words."""
_ANYWHERE = 12
"""Characters from which on a value is struck out inside of words, too."""

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
    import json
    from urllib.parse import quote, quote_plus, urlsplit

    plain = {value}
    if "://" in value:
        # Libraries speak of the host here and of the rest there.
        try:
            parts = urlsplit(value)
        except ValueError:
            parts = None
        if parts is not None:
            rest = value.split("://", 1)[1].removeprefix(parts.netloc)
            plain |= {rest, rest.rstrip("/"), parts.path, parts.query, parts.password or ""}
    forms: set[str] = set()
    for each in plain:
        if len(each) < _SHORTEST:
            continue
        forms |= {each, quote(each), quote(each, safe=""), quote_plus(each)}
        forms |= {json.dumps(each)[1:-1], json.dumps(each, ensure_ascii=False)[1:-1]}
        forms |= {repr(each)[1:-1]}
    if len(value) >= _ANYWHERE:
        forms |= _in_base64(value.encode(errors="surrogateescape"))
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
