"""Addresses and secrets among the settings: no value is ever shown in a problem."""

from pathlib import Path
from urllib.parse import urlsplit

from kb_dr.settings.hosts import is_local
from kb_dr.settings.reader import Reader
from kb_dr.settings.secret import Secret


def read_secret(reader: Reader, name: str) -> Secret | None:
    """The value, or the content of the file ``{name}_FILE`` names."""
    file: Path | None = reader.path(f"{name}_FILE")
    value = reader.secret_file(f"{name}_FILE", file) if file else reader.text(name, "")
    return Secret(value) if value else None


def is_address(reader: Reader, name: str, value: Secret) -> bool:
    """Such an address is a secret itself: whoever has it may write there."""
    return bool(_checked(reader, name, value.reveal()))


def read_address(reader: Reader, name: str, default: str = "") -> str:
    """An address that may be shown; empty when there is none, or it cannot be used."""
    text = reader.text(name, default)
    return _checked(reader, name, text) if text else ""


def _checked(reader: Reader, name: str, text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        sound = False
    if not sound:
        reader.problem(name, "not an address", "https://host/…")
        return ""
    if (
        parts.scheme == "http"
        and not is_local(parts.hostname or "")
        and name != "KB_DR_DAGSTER_URL"
    ):
        reader.problem(name, "plain text to another machine", "https://…")
        return ""
    return text
