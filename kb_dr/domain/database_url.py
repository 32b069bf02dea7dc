"""The address of one database, as it is typed: never with a password in it."""

from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

FORM = "postgresql://[USER@]HOST[:PORT]/NAME"
_SCHEMES = ("postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """What was typed; None is what was left out."""

    host: str | None
    """A name, an address, or the directory of a unix socket."""
    port: int | None
    user: str | None
    database: str
    sslmode: str | None = None


def is_database_url(text: str) -> bool:
    """Whether it is meant as one, whatever is wrong with it: also that of a program's driver."""
    return text.startswith(_SCHEMES) and "://" in text


def parse_database_url(text: str) -> DatabaseUrl:
    """Take it apart. Raises ValueError, whose words show nothing of what was typed."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("not an address") from None
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    if parts.password is not None or "password" in asked or "passfile" in asked:
        raise ValueError("it holds a password")
    problem = _problem(parts, asked)
    if problem:
        raise ValueError(problem)
    if "port" in asked:
        if not asked["port"].isdecimal():
            raise ValueError("a port that is no number")
        port = int(asked["port"])
    return DatabaseUrl(
        host=asked.get("host") or parts.hostname or None,
        port=port,
        user=unquote(parts.username) if parts.username else None,
        database=unquote(parts.path.removeprefix("/")),
        sslmode=asked.get("sslmode"),
    )


def database_url(host: str, port: int, user: str, database: str) -> str:
    """The same address, to be typed again."""
    name, who = quote(database, safe=""), quote(user, safe="")
    if host.startswith("/"):
        return f"postgresql://{who}@/{name}?host={quote(host)}&port={port}"
    return f"postgresql://{who}@{f'[{host}]' if ':' in host else host}:{port}/{name}"


def _problem(parts: SplitResult, asked: dict[str, str]) -> str:
    if parts.scheme not in _SCHEMES:
        return "not an address of PostgreSQL"
    name = parts.path.removeprefix("/")
    if "/" in name or not name or "%00" in name:
        return "no name of a database, or more than that"
    if parts.fragment or set(asked) - {"host", "port", "user", "sslmode"}:
        return "parameters other than host, port and sslmode"
    if "user" in asked:
        return "the user as a parameter, expected before the host"
    return ""
