"""20 to 29: PostgreSQL, its programs and its WAL."""

from kb_dr.errors.base import KbDrError


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
