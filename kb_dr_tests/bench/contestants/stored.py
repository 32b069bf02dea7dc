"""What a repository takes, whoever wrote it; and how a restored cluster is told to recover."""

from pathlib import Path


def bytes_below(directory: Path) -> int:
    """The sizes of all files below, added up; 0 when it is not there."""
    return sum(each.stat().st_size for each in directory.rglob("*") if each.is_file())


def recovery_lines(restore_command: str) -> str:
    """What ends the configuration of a restored cluster: recover to the end of the backup, open."""
    quoted = restore_command.replace("'", "''")
    return (
        f"restore_command = '{quoted}'\n"
        "recovery_target = 'immediate'\n"
        "recovery_target_action = 'promote'\n"
        "archive_mode = 'off'\n"
    )
