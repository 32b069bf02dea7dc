"""Choose the backup to restore, from one copy."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.control import void_through
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Proof, Standing, Verdict, Void, standing, why_parent_failed
from kb_dr.domain.wording import first_few
from kb_dr.errors import BrokenChain, NoUsableBackup, UnreadableRecord
from kb_dr.operations.backup_chain import load_chain
from kb_dr.operations.backup_proofs import kept_proofs_of
from kb_dr.operations.catalog import Unreadable, read_manifest, walk_back
from kb_dr.operations.controls import gather_control_runs
from kb_dr.operations.needed_wal import refuse_dump
from kb_dr.operations.proofs import load_proofs
from kb_dr.ports import Repository

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A backup, and which newer ones it was preferred to, and why."""

    stored: StoredManifest
    passed_over: tuple[str, ...] = ()


def known_to_be_bad(repository: Repository, chain: Sequence[StoredManifest]) -> str | None:
    """Why this copy of a backup must not be restored; None when nothing speaks against it.

    ``chain`` is that of load_chain(), or the backup alone.
    """
    proofs = [load_proofs(repository, each.manifest.backup_id) for each in chain]
    return _known(repository, chain, proofs, lambda: _void_here(repository))


class KnownBad:
    """known_to_be_bad() of many backups of one copy, by one look at its proofs and controls."""

    def __init__(self, repository: Repository, backups: Collection[BackupId]) -> None:
        """Raises what listing and reading raise."""
        self._repository = repository
        self._proofs = kept_proofs_of(repository, backups)
        self._void = cache(lambda: _void_here(repository))

    def why(self, chain: Sequence[StoredManifest]) -> str | None:
        """As known_to_be_bad(), for a chain of these backups."""
        proofs = []
        for each in chain:
            known = self._proofs.get(each.manifest.id, ())
            if isinstance(known, UnreadableRecord):
                raise known
            proofs.append(known)
        return _known(self._repository, chain, proofs, self._void)


def _known(
    repository: Repository,
    chain: Sequence[StoredManifest],
    proofs: Sequence[Sequence[Proof]],
    void: Callable[[], Void | None],
) -> str | None:
    # Void or not: in a disaster only a FAILED proof is passed over.
    why = _why_bad(repository, chain, proofs, None)
    if why is None and any(proof.verdict is Verdict.FAILED for each in proofs for proof in each):
        # But a green of a verifier that was blind refutes no red.
        why = _why_bad(repository, chain, proofs, void())
    return why


def _void_here(repository: Repository) -> Void | None:
    return void_through(gather_control_runs([repository]).runs)


def _why_bad(
    repository: Repository,
    chain: Sequence[StoredManifest],
    proofs: Sequence[Sequence[Proof]],
    void: Void | None,
) -> str | None:
    *parents, own = (
        standing(
            some,
            digest=each.digest,
            copy=repository.name,
            url=repository.url,
            void_through=void,
        )
        for each, some in zip(chain, proofs, strict=True)
    )
    known, proof = own
    if known is Standing.FAILED and proof is not None:
        return f"proof {proof.id} FAILED: {proof.reason}"
    return why_parent_failed(own, parents) or None


def _why_not(repository: Repository, stored: StoredManifest) -> str | None:
    try:
        return known_to_be_bad(repository, load_chain(repository, stored))
    except BrokenChain as error:
        return str(error)


def choose_backup(
    repository: Repository, which: str = LATEST, *, excluded: Mapping[str, str] | None = None
) -> Chosen:
    """The backup named ``which`` of this copy, or the newest that is not known to be bad.

    ``excluded`` names backups that will not do either, and why; nor does an increment whose chain
    is broken. A backup asked for by its id is returned whatever its proofs say. Raises
    NoUsableBackup when there is none, or ``which`` is no id, or a dump's; UnreadableRecord when
    the one asked for cannot be read.
    """
    if which != LATEST:
        try:
            backup = BackupId.parse(which)
        except ValueError as error:
            raise NoUsableBackup(f"choose a backup: {error}") from error
        found = read_manifest(repository, backup)
        refuse_dump(found.manifest)
        return Chosen(found)
    passed_over: list[str] = []
    for entry in walk_back(repository):
        if isinstance(entry, Unreadable):
            passed_over.append(f"{entry.key}: {entry.why}")
            continue
        name = entry.manifest.id
        why = (excluded or {}).get(name) or _why_not(repository, entry)
        if why is not None:
            passed_over.append(f"{name}: {why}")
            continue
        return Chosen(entry, tuple(passed_over))
    seen = f"; passed over: {'; '.join(first_few(passed_over))}" if passed_over else ""
    raise NoUsableBackup(
        f"choose the latest backup: none in {repository.name} ({repository.url}){seen}",
        hint="`kb-dr list` shows what there is; try the other copy with --from.",
    )
