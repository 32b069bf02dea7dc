"""70 to 89: the sandbox and the catalog."""

from kb_dr.errors.base import KbDrError


class SandboxError(KbDrError):
    """The sandbox could not be built or found."""

    exit_code = 70
    default_hint = "Its logs stand in its directory."


class CatalogError(KbDrError):
    """The catalog database answered, but is not as it must be, or differs from the buckets."""

    exit_code = 80
    default_hint = (
        "No backup and no restore needs it: `kb-dr catalog rebuild` makes it anew from the buckets."
    )


class CatalogUnavailable(CatalogError):
    """The catalog database does not answer, or another writer is at work in it."""

    exit_code = 81
    retryable = True
    default_hint = (
        "No backup and no restore needs it; when it answers again, `kb-dr catalog sync` brings it "
        "in line."
    )
