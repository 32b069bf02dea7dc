"""50 to 59: what may go, and what may not."""

from kb_dr.errors.base import KbDrError
from kb_dr.errors.repository import RepositoryError


class ObjectRetained(RepositoryError):
    """The store refuses to delete an object: it is retained (Object Lock) or under legal hold.

    No fault of anybody's: it does what it was set up for. Whoever deletes many things says
    "retained" and goes on with the next.
    """

    exit_code = 50
    default_hint = "Nothing is to be done: it can go when its retention ends; docs/immutability.md."


class RetentionError(KbDrError):
    """Retention could not do what it was asked to; what it left alone stands as before."""

    exit_code = 53
    default_hint = "Nothing that is restorable was lost; mend what is named, then run it again."


class PlanChanged(RetentionError):
    """What would go is not what was shown."""

    exit_code = 51
    default_hint = "Look at it again: `kb-dr retention plan`."


class RetentionBlocked(RetentionError):
    """Nothing may go, because something that could forbid it cannot be read."""

    exit_code = 54
    default_hint = (
        "Mend what cannot be read, or bring the copy back that does not answer; "
        "`kb-dr retention plan` shows what would go."
    )


class LifecycleTooShort(RepositoryError):
    """A lifecycle rule of the bucket removes what the retention policy keeps."""

    exit_code = 58
    default_hint = "Mend or remove that rule first: `kb-dr retention lifecycle` shows them all."
