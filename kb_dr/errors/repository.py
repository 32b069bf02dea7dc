"""10 to 19: the places backups live in."""

from kb_dr.errors.base import KbDrError


class RepositoryError(KbDrError):
    """The repository answered, but not with what was asked for."""

    exit_code = 10
    default_hint = "`kb-dr doctor` tests the repositories; look at the store's own log, too."


class RepositoryUnavailable(RepositoryError):
    """The repository did not answer, or asked us to come back later."""

    exit_code = 11
    retryable = True
    default_hint = "Check the network and the store (`kb-dr doctor` tries both), then try again."


class ObjectMissing(RepositoryError):
    """The store answered, the bucket is there, and the key is not."""

    exit_code = 12
    default_hint = "Treat this copy as damaged; restore from another copy or backup."


class ObjectConflict(RepositoryError):
    """Other bytes already stand under this key; nothing is ever overwritten."""

    exit_code = 13
    default_hint = "Two writers may use one repository: find the second one before anything else."


class ChecksumMismatch(RepositoryError):
    """The bytes read are not the bytes recorded."""

    exit_code = 14
    default_hint = "Treat this copy as damaged; restore from another copy or backup."

    at_byte: int | None = None
    """How far into a stream it was met, where whoever read it had read farther already."""


class UnreadableRecord(RepositoryError):
    """A manifest or record cannot be read: not ours, damaged, or of a newer schema version."""

    exit_code = 15
    default_hint = "Use the version of kb-dr that wrote it, or a newer one; or the other copy."


class RepositoryRefused(RepositoryError):
    """The store refused us: wrong credentials, or no permission."""

    exit_code = 16
    default_hint = "Check the access key, its secret and the bucket policy."


class BucketMissing(RepositoryError):
    """The bucket or directory of the repository is not there."""

    exit_code = 17
    default_hint = "Create it, or correct its name in the settings, then run `kb-dr init`."


class KeyMissing(RepositoryError):
    """None of the identities at hand opens what was encrypted."""

    exit_code = 18
    default_hint = (
        "Point KB_DR_AGE_IDENTITY_FILE at an identity for one of the recorded recipients."
    )


class WrongRepository(RepositoryError):
    """The place bears no marker of a repository, or that of another service."""

    exit_code = 19
    default_hint = "Check the URL, bucket and prefix in the settings."
