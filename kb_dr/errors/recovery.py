"""40 to 49, and 35: restores."""

from kb_dr.errors.base import KbDrError


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


class LoadFailed(RecoveryError):
    """What was dumped could not be loaded as it is: errors beyond those that are expected."""

    exit_code = 36
    default_hint = (
        "Nothing was put in place. The first error is above; another copy (--from), an older dump, "
        "or a backup of files may be good."
    )


class TargetLacks(RecoveryError):
    """The server restored into lacks something the dump needs: a version, extension or role."""

    exit_code = 37
    default_hint = "Nothing was changed. Install or create what is named, then run it again."


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
