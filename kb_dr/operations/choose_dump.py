"""Choose the logical dump to restore, from one copy."""

from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.errors import NoUsableBackup, UnreadableRecord
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.choose_backup import Chosen, known_to_be_bad
from kb_dr.operations.listed_backups import list_backups
from kb_dr.ports import Repository


def choose_dump(repository: Repository, *, service: str, wanted: BackupId | None) -> Chosen:
    """The dump asked for, whatever its proofs say; or the newest that is not known to be bad.

    Raises NoUsableBackup when there is none, and what read_manifest() raises for one asked for.
    """
    if wanted is not None:
        stored = read_manifest(repository, wanted)
        if not stored.manifest.is_dump:
            raise NoUsableBackup(
                f"restore {wanted}: it is no dump", hint="Restore it with --into DIRECTORY."
            )
        return Chosen(stored)
    passed_over: list[str] = []
    for listed in reversed(list(list_backups(repository, BackupKind.DUMP))):
        name = BackupId(service, BackupKind.DUMP, listed.stamp)
        try:
            found = read_manifest(repository, name)
        except UnreadableRecord as error:
            passed_over.append(str(error))
            continue
        why = known_to_be_bad(repository, (found,))
        if why is None:
            return Chosen(found, tuple(passed_over))
        passed_over.append(f"{name}: {why}")
    seen = f"; passed over: {'; '.join(passed_over[:3])}" if passed_over else ""
    raise NoUsableBackup(
        f"choose the newest dump: none in {repository.name} ({repository.url}){seen}",
        hint="`kb-dr backup dump` takes one; `kb-dr list` shows what there is.",
    )
