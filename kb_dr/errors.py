"""The errors an operator must tell apart, each with a hint and an exit code of its own.

One decade per subject. The command line exits with ``exit_code``; Dagster retries only what
is ``retryable``. docs/troubleshooting.md lists the same codes, and a test holds the two equal.
"""

from typing import ClassVar


class KbDrError(Exception):
    """Something kb_dr was asked to do could not be done.

    The message reads ``<action> <object>: <what was seen>[, expected <what>]``; the hint says
    what to do next. Neither ever holds a secret.
    """

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or self.default_hint


class ConfigurationError(KbDrError):
    """The settings, or the words typed, cannot be used as they are."""

    exit_code = 2
    default_hint = ".env.example lists every setting; `kb-dr VERB --help` every word."


class RepositoryError(KbDrError):
    """The repository answered, but not with what was asked for."""

    exit_code = 10
    default_hint = "`kb-dr doctor` tests the repositories; look at the store's own log, too."


class RepositoryUnavailable(RepositoryError):
    """The repository did not answer, or asked us to come back later."""

    exit_code = 11
    retryable = True
    default_hint = "Check the network and the store, then run the same command again."


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


class PostgresError(KbDrError):
    """PostgreSQL, or one of its programs, failed."""

    exit_code = 20
    default_hint = "The server's log says more; `kb-dr doctor` tests what a backup needs."


class PostgresUnavailable(PostgresError):
    """The server does not answer."""

    exit_code = 21
    retryable = True
    default_hint = "Check that the server runs, its address, the user and its password."


class PostgresCommandFailed(PostgresError):
    """A PostgreSQL program ended with an error."""

    exit_code = 22
    default_hint = "Mend what the program said, then run the same command again."


class WrongCluster(PostgresError):
    """The system identifier is not the one expected."""

    exit_code = 23
    default_hint = "Check which server and which repository the settings name."


class WalGap(PostgresError):
    """WAL that is needed is not in the repository."""

    exit_code = 24
    default_hint = (
        "`kb-dr wal audit` names every gap; restore from the other copy, and take a "
        "full backup now."
    )


class WalDamaged(PostgresError):
    """A WAL file is empty, truncated, foreign, or not WAL."""

    exit_code = 25
    default_hint = "`kb-dr wal audit` names every bad file; restore from the other copy."


class BackupInProgress(PostgresError):
    """Another backup of this server is running."""

    exit_code = 26
    default_hint = "Wait for it to end; `kb-dr list` shows it when it is complete."


class PostgresProgramMissing(PostgresError):
    """No PostgreSQL programs of the needed major version, or a missing extension."""

    exit_code = 27
    default_hint = "Install them, or point KB_DR_POSTGRES_BIN_DIRS at them."


class SourceLockLost(PostgresError):
    """The session that held the backup lock ended while the backup ran."""

    exit_code = 28
    retryable = True
    default_hint = "The server was restarted, or ended the session: run the backup again."


class WalSummariesMissing(PostgresError):
    """The server has no WAL summaries back to the parent of an incremental backup."""

    exit_code = 29
    default_hint = "Set summarize_wal = on; a recovery point, or a full backup, does without."


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


class RecoveryError(KbDrError):
    """A restore could not be planned or carried out."""

    exit_code = 40
    default_hint = "Nothing was put in place; mend what is named, then run it again."


class NoUsableBackup(RecoveryError):
    """No backup can serve what was asked."""

    exit_code = 41
    default_hint = "`kb-dr list` shows what there is in each copy."


class BrokenChain(NoUsableBackup):
    """An incremental backup whose parent is lost, cannot be read, or was replaced by another."""

    exit_code = 35
    default_hint = (
        "Restore from another copy with --from, or from an older backup; take a full backup now."
    )


class TimelineForked(RecoveryError):
    """The target lies on another timeline's future."""

    exit_code = 42
    default_hint = "Choose a target on the line of the backup."


class TargetNotReached(RecoveryError):
    """Recovery ended before its target."""

    exit_code = 43
    default_hint = "The archive of this copy ends before: try the other with --from."


class DataDirectoryNotEmpty(RecoveryError):
    """The target directory holds something already."""

    exit_code = 44
    default_hint = "Choose a new or an empty directory."


class DataDirectoryInUse(RecoveryError):
    """A server runs, or may run, on the target directory."""

    exit_code = 45
    default_hint = "Choose a new directory."


class TargetIsProduction(RecoveryError):
    """The target is the directory of the cluster the backup was taken from."""

    exit_code = 46
    default_hint = "Choose a directory outside it."


class NotEnoughSpace(RecoveryError):
    """The target has too little room."""

    exit_code = 47
    default_hint = "Make room, or choose a directory on another file system."


class RecoveryAborted(RecoveryError):
    """PostgreSQL stopped recovery, or did not start."""

    exit_code = 48
    default_hint = "The last lines of the server's log are above; try the other copy with --from."


class TargetUnreachable(RecoveryError):
    """This copy's WAL does not hold the target: it is in a gap, in the future, or not known."""

    exit_code = 49
    default_hint = "`kb-dr restore --dry-run` shows the recoverable windows of each copy."


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


class VerificationError(KbDrError):
    """Something was checked, and is bad."""

    exit_code = 60
    default_hint = "Start with the first thing that is named; docs/troubleshooting.md says more."


class ProofFailed(VerificationError):
    """The proof's verdict is FAILED: this copy of the backup cannot be relied on."""

    exit_code = 61
    default_hint = (
        "This copy cannot be relied on: `kb-dr copy --repair ID` mends it from another, then "
        "verify it again. Verify the other copy; take a full backup now."
    )


class NotProven(VerificationError):
    """The proof's verdict is NOT_PROVEN: it could not be run to its end."""

    exit_code = 62
    default_hint = (
        "It says neither good nor bad of the backup. Mend what was missing; run it again."
    )


class ObjectiveBroken(VerificationError):
    """An objective (RPO, age of backup, age of proof) does not hold."""

    exit_code = 63
    default_hint = "`kb-dr status` says what was seen, and what to do."


class ProofsVoid(VerificationError):
    """A negative control came out PROVEN: the verifier is blind, and no proof can be believed."""

    exit_code = 64
    default_hint = (
        "Rely on no proof until the verifier is mended, `kb-dr controls` passes, and the backups "
        "are verified again."
    )


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
