"""What statements of a plain dump demand of the server they are run on."""

import re

_NAME = r'(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<bare>[^\s"]+))'
_EXTENSION = re.compile(rf"CREATE EXTENSION (?:IF NOT EXISTS )?{_NAME}", re.DOTALL)
_ROLES = (
    re.compile(rf"ALTER .+ OWNER TO {_NAME}", re.DOTALL),
    re.compile(rf"ALTER DEFAULT PRIVILEGES FOR ROLE {_NAME} .+", re.DOTALL),
    re.compile(
        rf"(?:GRANT|ALTER DEFAULT PRIVILEGES) .+ TO {_NAME}(?: WITH GRANT OPTION)?", re.DOTALL
    ),
)

ASKED_ABOUT = (b"CREATE EXTENSION ", b"ALTER ", b"GRANT ")
"""How statements begin that may demand something."""


def extension_of(statement: str) -> str | None:
    """The extension it creates."""
    found = _EXTENSION.match(statement)
    return _named(found) if found is not None else None


def roles_of(statement: str) -> frozenset[str]:
    """The roles it gives something to, or makes owners."""
    found = (each.fullmatch(statement) for each in _ROLES)
    return frozenset(_named(each) for each in found if each is not None) - {"PUBLIC"}


def _named(found: re.Match[str]) -> str:
    quoted: str | None = found["quoted"]
    return found["bare"] if quoted is None else quoted.replace('""', '"')
