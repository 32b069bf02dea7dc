"""The age identities of a file, each known as a secret from then on."""

from pathlib import Path

from kb_dr.errors import ConfigurationError
from kb_dr.scrub import remember


def read_identities(file: Path | None) -> tuple[str, ...]:
    """The lines of an age identity file; none when there is no file (a backup host has none)."""
    if file is None:
        return ()
    hint = "Point KB_DR_AGE_IDENTITY_FILE at the file `age-keygen` wrote."
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError as error:
        raise ConfigurationError(f"read identities {file}: {error.strerror}", hint=hint) from error
    found = tuple(line.strip() for line in lines if line.startswith("AGE-SECRET-KEY-"))
    for line in found:
        remember(line)
    if not found:
        raise ConfigurationError(
            f"read identities {file}: no line begins with AGE-SECRET-KEY-", hint=hint
        )
    return found
