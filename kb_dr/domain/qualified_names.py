"""Names of tables as people type them and as the server shows them."""

import re
from collections.abc import Collection
from difflib import get_close_matches

from kb_dr.errors import ConfigurationError

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)', re.DOTALL)

QualifiedName = tuple[str, str]
"""Schema and name, as they are: without quotes. No schema: an empty one."""


def shown_name(name: QualifiedName) -> str:
    """As it may be typed, in one line."""
    return " ".join(".".join(_quoted(each) for each in name if each).splitlines())


def split_name(text: str) -> tuple[tuple[str, bool], ...]:
    """The parts of a name that may be qualified, and whether each was quoted; empty for none."""
    parts: list[tuple[str, bool]] = []
    at = 0
    while found := _PART.match(text, at):
        quoted = found[1] is not None
        parts.append((found[1].replace('""', '"') if quoted else found[2], quoted))
        at = found.end()
        if at == len(text):
            return tuple(parts)
        if text[at] != ".":
            return ()
        at += 1
    return ()


def find_name(typed: str, known: Collection[QualifiedName], what: str) -> QualifiedName:
    """The one of ``known`` that is meant: ``t``, ``s.t`` or ``"S"."T"``.

    As it was typed goes before what SQL would make of it without quotes. ConfigurationError for
    none, with those that are near, and for several.
    """
    parts = split_name(typed)
    exact = [each for each, _ in parts]
    folded = [each if quoted else each.lower() for each, quoted in parts]
    found: list[QualifiedName] = []
    for wanted in (exact, folded, [typed]):
        if not found and len(wanted) in (1, 2):
            found = [each for each in known if list(each)[-len(wanted) :] == wanted]
    if len(found) == 1:
        return found[0]
    names = {shown_name(each): each for each in sorted(known)}
    if found:
        raise ConfigurationError(
            f"choose {what} {typed}: there are {', '.join(map(shown_name, sorted(found)))}",
            hint="Name it with its schema.",
        )
    near = get_close_matches(typed, names, n=3) or [
        shown
        for shown, name in names.items()
        if get_close_matches(typed.rpartition(".")[2].strip('"').lower(), [name[1].lower()])
    ]
    raise ConfigurationError(
        f"choose {what} {typed}: it is not in the dump",
        hint=f"Near it: {', '.join(near[:3])}." if near else _all_of(list(names)),
    )


def _all_of(names: list[str]) -> str:
    if not names:
        return "The dump holds none."
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"It holds {', '.join(names[:10])}{more}."


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'
