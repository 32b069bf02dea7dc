"""The copy that work reads, as it is chosen at the Launchpad."""

from enum import Enum

from kb_dr.errors import ConfigurationError
from kb_dr.installation import Installation


class CopyRead(Enum):
    """What can be chosen; every form says what ``auto`` comes to."""

    auto = "auto"
    primary = "primary"
    offsite = "offsite"
    local = "local"


_SETTINGS = {
    CopyRead.primary: "KB_DR_REPOSITORY_URL",
    CopyRead.offsite: "KB_DR_OFFSITE_URL",
    CopyRead.local: "KB_DR_LOCAL_COPY_PATH",
}


def copy_named(installation: Installation, wanted: CopyRead) -> str | None:
    """The name of a copy that is configured; None for ``auto``. ConfigurationError otherwise."""
    if wanted is CopyRead.auto:
        return None
    if wanted.value not in installation.copies:
        raise ConfigurationError(
            f"read copy {wanted.value!r}: expected one of {', '.join(installation.copies)}",
            hint=f"No {wanted.value} repository is configured: set {_SETTINGS[wanted]}, or choose "
            "`auto`.",
        )
    return str(wanted.value)
