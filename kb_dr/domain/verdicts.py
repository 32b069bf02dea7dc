"""What an error that ended a proof says of the copy: that it is bad, or only that nobody knows.

Whatever is not certain to be the copy's fault leaves it unjudged; whatever is, turns it red.
"""

from kb_dr import errors
from kb_dr.domain.proof import Verdict
from kb_dr.errors import BrokenChain, KbDrError, RecoveryAborted

_BAD_COPY: frozenset[type[KbDrError]] = frozenset(
    {
        errors.ObjectMissing,  # the store answered: what the manifest names is not there
        errors.ObjectConflict,  # two digests stand for one WAL file: one of them is foreign
        errors.ChecksumMismatch,
        errors.UnreadableRecord,  # a newer schema version is told apart by who reads the manifest
        errors.WrongCluster,
        errors.BrokenChain,  # the store answered: the parent is lost, or it is another one
        errors.WalGap,
        errors.WalDamaged,
        errors.TargetNotReached,
        errors.RecoveryAborted,  # but see _HOST_SIGNS
        errors.LoadFailed,  # likewise
        errors.VerificationError,
        errors.ProofFailed,
    }
)

_COULD_NOT_RUN: frozenset[type[KbDrError]] = frozenset(
    {
        errors.KbDrError,
        errors.ConfigurationError,
        errors.RepositoryError,
        errors.RepositoryUnavailable,
        errors.RepositoryRefused,
        errors.BucketMissing,  # a wrong name in the settings looks the same
        errors.KeyMissing,
        errors.WrongRepository,
        errors.PostgresError,
        errors.PostgresUnavailable,
        errors.PostgresCommandFailed,
        errors.BackupInProgress,
        errors.PostgresProgramMissing,
        errors.SourceLockLost,
        errors.LifecycleTooShort,
        errors.ObjectRetained,
        errors.RetentionError,
        errors.PlanChanged,
        errors.RetentionBlocked,
        errors.WalSummariesMissing,
        errors.AlertError,
        errors.ChannelUnavailable,
        errors.ChannelRefused,
        errors.MessageRefused,
        errors.CloudWatchUnavailable,
        errors.CloudWatchRefused,
        errors.OutboxUnavailable,
        errors.CopyIncomplete,
        errors.ServiceCommandFailed,
        errors.ServiceUnhealthy,
        errors.RollbackFailed,
        errors.RecoveryError,
        errors.NoUsableBackup,
        errors.TimelineForked,
        errors.TargetUnreachable,
        errors.DataDirectoryNotEmpty,
        errors.DataDirectoryInUse,
        errors.TargetIsProduction,
        errors.TargetLacks,
        errors.NotEnoughSpace,
        errors.NotProven,
        errors.ObjectiveBroken,
        errors.ProofsVoid,
        errors.SandboxError,
        errors.CatalogError,
        errors.CatalogUnavailable,
    }
)

_HOST_SIGNS = (
    "could not access file",
    "could not bind",
    "could not create lock file",
    "could not create semaphores",
    "could not create shared memory",
    "could not fork",
    "could not load library",
    "could not map anonymous shared memory",
    "could not resize shared memory",
    "No space left on device",
    "out of memory",
    "terminated by signal 9",
    "terminating connection due to administrator command",
    "ended with status -9",
    "ended with status -15",
)
"""What PostgreSQL logs when the machine, and not the backup, is why it does not start."""


def decided_errors() -> frozenset[type[KbDrError]]:
    """The classes decided here by name; a test holds them equal to those there are."""
    return _BAD_COPY | _COULD_NOT_RUN


def verdict_of(error: KbDrError) -> Verdict:
    """FAILED when the error proves the copy bad, NOT_PROVEN when the proof could not run.

    A class not decided by name is judged as its nearest base that is.
    """
    if isinstance(error, RecoveryAborted | errors.LoadFailed) and any(
        sign in str(error) for sign in _HOST_SIGNS
    ):
        return Verdict.NOT_PROVEN
    if isinstance(error, BrokenChain) and isinstance(error.__cause__, errors.NotProven):
        return Verdict.NOT_PROVEN  # only a newer kb_dr can read the parent
    for kind in type(error).__mro__:
        if kind in _BAD_COPY:
            return Verdict.FAILED
        if kind in _COULD_NOT_RUN:
            return Verdict.NOT_PROVEN
    return Verdict.NOT_PROVEN
