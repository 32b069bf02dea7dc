"""Choose the backup to restore, from one copy."""

from dataclasses import dataclass

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Standing, standing
from kb_dr.errors import NoUsableBackup
from kb_dr.operations.catalog import Unreadable, load_catalog, read_manifest
from kb_dr.operations.proofs import load_proofs
from kb_dr.ports import Repository

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A backup, and which newer ones it was preferred to, and why."""

    stored: StoredManifest
    passed_over: tuple[str, ...] = ()


def choose_backup(repository: Repository, which: str = LATEST) -> Chosen:
    """The backup named ``which`` of this copy, or the newest that is not known to be bad.

    A backup asked for by its id is returned whatever its proofs say. Raises NoUsableBackup when
    there is none, or ``which`` is no id; UnreadableRecord when the one asked for cannot be read.
    """
    if which != LATEST:
        try:
            backup = BackupId.parse(which)
        except ValueError as error:
            raise NoUsableBackup(f"choose a backup: {error}") from error
        return Chosen(read_manifest(repository, backup))
    passed_over: list[str] = []
    for entry in reversed(load_catalog(repository)):
        if isinstance(entry, Unreadable):
            passed_over.append(f"{entry.key}: {entry.why}")
            continue
        proofs = load_proofs(repository, entry.manifest.backup_id)
        known, proof = standing(
            proofs,
            digest=entry.digest,
            copy=repository.name,
            url=repository.url,
            # Void or not: in a disaster only a FAILED proof is passed over.
            void_through=None,
        )
        if known is Standing.FAILED and proof is not None:
            passed_over.append(f"{entry.manifest.id}: proof {proof.id} FAILED: {proof.reason}")
            continue
        return Chosen(entry, tuple(passed_over))
    seen = f"; passed over: {'; '.join(passed_over)}" if passed_over else ""
    raise NoUsableBackup(
        f"choose the latest backup: none in {repository.name} ({repository.url}){seen}",
        hint="`kb-dr list` shows what there is; try the other copy with --from.",
    )
