"""The catalog's address, taken apart: never with a password in it."""

from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from kb_dr.settings.hosts import is_local
from kb_dr.settings.reader import Reader
from kb_dr.settings.values import CatalogSettings

_NAME = "KB_DR_CATALOG_URL"
_FORM = "postgresql://user@host:port/database"
_PLAIN = ("disable", "allow", "prefer")
_SSLMODES = (*_PLAIN, "require", "verify-ca", "verify-full")


def read_catalog(reader: Reader) -> CatalogSettings | None:
    """The catalog of the settings; None when there is none. Problems are the reader's.

    What was typed is never shown: such an address may hold a password.
    """
    text = reader.text(_NAME, "")
    file = reader.path("KB_DR_CATALOG_PASSWORD_FILE")
    if not text:
        if file is not None:
            reader.problem("KB_DR_CATALOG_PASSWORD_FILE", f"no {_NAME} to go with it", "both")
        return None
    try:
        parts = urlsplit(text)
        port = parts.port or 5432
    except ValueError:
        reader.problem(_NAME, "not an address", _FORM)
        return None
    asked = dict(parse_qsl(parts.query))
    if "password" in asked or parts.password is not None:
        reader.problem(
            _NAME,
            "it holds a password",
            "none: a file, in KB_DR_CATALOG_PASSWORD_FILE, or ~/.pgpass",
        )
        return None
    problem = _problem(parts, asked)
    if problem:
        reader.problem(_NAME, problem, _FORM)
        return None
    host = asked.get("host") or parts.hostname or "localhost"
    sslmode = asked.get("sslmode") or ("prefer" if is_local(host) else "verify-full")
    if sslmode not in _SSLMODES or (sslmode in _PLAIN and not is_local(host)):
        reader.problem(_NAME, "an sslmode that lets it be reached in plain text", "verify-full")
    if "port" in asked:
        port = int(asked["port"]) if asked["port"].isdecimal() else port
    return CatalogSettings(
        host=host,
        port=port,
        database=unquote(parts.path.lstrip("/")),
        user=unquote(parts.username or ""),
        password_file=file,
        sslmode=sslmode,
    )


def _problem(parts: SplitResult, asked: dict[str, str]) -> str:
    if parts.scheme not in ("postgresql", "postgres"):
        return "not an address of PostgreSQL"
    if not parts.username:
        return "no user"
    if not parts.path.strip("/"):
        return "no database"
    if set(asked) - {"host", "port", "sslmode"}:
        return "parameters other than host, port and sslmode"
    return ""
