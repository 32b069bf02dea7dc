"""30 to 33: what is done around a backup: copies, and the service itself."""

from kb_dr.errors.base import KbDrError


class CopyIncomplete(KbDrError):
    """Some objects could not be copied to the other repository; the rest were."""

    exit_code = 30
    default_hint = "The objects named are bad in one copy: `kb-dr wal audit` and `kb-dr validate`."


class ServiceCommandFailed(KbDrError):
    """A command of the operator's that stops, starts or checks the service did not do it."""

    exit_code = 31
    default_hint = "Run the command by hand, as the same user; mend it, then run this again."


class ServiceUnhealthy(KbDrError):
    """The service, or its restored database, is not as it must be to be used."""

    exit_code = 32
    default_hint = "Look at the log of the application and of PostgreSQL."


class RollbackFailed(KbDrError):
    """A replacement failed, and the old service could not be brought back without help."""

    exit_code = 33
    default_hint = "No directory was removed: look beside the target; docs/replace-in-place.md."
