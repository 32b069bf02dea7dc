"""What the repositories say of one backup: the only source of `restore_proven`."""

from dataclasses import dataclass, field, replace

from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.control import void_through, why_void
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Proof, Standing, Void, standing, why_parent_failed
from kb_dr.errors import RepositoryError, UnreadableRecord
from kb_dr.installation import Installation
from kb_dr.operations.backup_chain import Chains, chains_in
from kb_dr.operations.catalog import CatalogEntry, Unreadable
from kb_dr.operations.listed_backups import ALL_KINDS


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether one backup is proven to restore, by what stands in the repositories now."""

    digest: str | None
    """Of the manifest; None when no copy's can be read, or two copies differ."""
    passed: bool | None
    """None: nobody knows yet, which is neither green nor red."""
    reason: str
    standings: dict[str, tuple[Standing, Proof | None]]
    """Copy to its standing; only copies that hold the backup are named."""
    decisive: Proof | None = None
    """The proof that speaks for ``passed``."""
    proof_ids: frozenset[str] = frozenset()
    """Every proof of this backup that stands, conclusive or not."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """The catalogs of all copies at one moment, by backup id."""

    entries: dict[str, dict[str, CatalogEntry]]
    """Backup id to copy to what stands there."""
    void_through: Void | None = None
    """Up to when proofs are void, by the negative controls."""
    why_void: str = ""
    untold: str = ""
    """Why nobody can tell whether proofs are void; empty when it can be told."""
    chains: dict[str, Chains] = field(default_factory=dict)
    """Copy to what each of its backups is put together from."""
    silent: dict[str, str] = field(default_factory=dict)
    """Copies that could not be read, and why: then only what is known to be bad can be told."""
    children: dict[str, set[str]] = field(default_factory=dict)
    """Backup id to what was made against it."""
    holds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Backup id to the ids of the holds on it that can be read."""
    _proofs: dict[str, tuple[Proof, ...]] = field(default_factory=dict)
    """Of parents, by backup id: each is asked for by all its children."""

    def readable(self, backup: str, copy: str) -> StoredManifest | None:
        """The backup's manifest in one copy."""
        entry = self.entries.get(backup, {}).get(copy)
        return entry if isinstance(entry, StoredManifest) else None

    def parents(self, backup: str, copy: str) -> tuple[StoredManifest, ...]:
        """What the backup was made against in one copy; nothing for a full."""
        whole = self.chains[copy].whole if copy in self.chains else {}
        return whole.get(backup, ())[:-1]

    def proofs_of_parent(self, installation: Installation, backup: str) -> tuple[Proof, ...]:
        """The proofs of one parent, read once."""
        if backup not in self._proofs:
            self._proofs[backup] = installation.proofs(BackupId.parse(backup))
        return self._proofs[backup]

    def any_readable(self, backup: str) -> StoredManifest | None:
        """The backup's manifest in the first copy that has it."""
        entries = self.entries.get(backup, {}).values()
        return next((entry for entry in entries if isinstance(entry, StoredManifest)), None)


def load_holdings(installation: Installation, *, partly: bool = False) -> Holdings:
    """Read every catalog, and the negative controls. One that cannot be read raises: half the
    truth is none. With ``partly`` only when none can be: red is red, whatever the others say.
    """
    entries: dict[str, dict[str, CatalogEntry]] = {}
    chains: dict[str, Chains] = {}
    silent: dict[str, str] = {}
    children: dict[str, set[str]] = {}
    for copy in installation.copies:
        try:
            catalog = installation.catalog(copy, kinds=ALL_KINDS)
        except RepositoryError as error:
            if not partly or len(silent) + 1 == len(installation.copies):
                raise
            silent[copy] = str(error)
            continue
        chains[copy] = chains_in(catalog)
        for entry in catalog:
            if isinstance(entry, Unreadable):
                name = f"{installation.settings.service}-{entry.kind}-{entry.stamp}"
            else:
                name = entry.manifest.id
                if entry.manifest.parent is not None:
                    children.setdefault(entry.manifest.parent, set()).add(name)
            entries.setdefault(name, {})[copy] = entry
    gathered = installation.gathered_holds()
    holds = {name: tuple(each.id for each in gathered.in_force(name)) for name in gathered.events}
    found = Holdings(entries, chains=chains, silent=silent, children=children, holds=holds)
    try:
        runs = installation.controls()
    except UnreadableRecord as error:
        return replace(found, untold=str(error))
    return replace(found, void_through=void_through(runs), why_void=why_void(runs))


def copy_that_counts(installation: Installation) -> str:
    """A proof has to read this copy: the offsite one wherever there is one."""
    return installation.copy_that_counts


def judge(installation: Installation, holdings: Holdings, backup: str) -> Judgement:
    """Where a backup stands.

    Red when any copy is bad or lacks what the backup was made against, or the verifier was blind
    when it proved this one; green when the copy that counts is proven, by a proof of the very
    manifest that stands there; else unknown.
    """
    held = holdings.entries.get(backup, {})
    damaged = [entry for entry in held.values() if isinstance(entry, Unreadable)]
    if damaged:
        return Judgement(None, False, f"{damaged[0].copy}: {damaged[0].why}", {})
    found = {copy: entry for copy, entry in held.items() if isinstance(entry, StoredManifest)}
    digests = {entry.digest for entry in found.values()}
    if len(digests) > 1:
        return Judgement(None, False, "the copies hold different manifests under this id", {})
    if not found:
        return Judgement(None, None, "no copy holds this backup", {})
    digest = digests.pop()
    for copy in found:
        why_broken = holdings.chains[copy].broken.get(backup) if copy in holdings.chains else None
        if why_broken is not None:
            return Judgement(digest, False, f"the {copy} copy: {why_broken}", {})
    proofs = installation.proofs(BackupId.parse(backup))

    def stands(copy: str, digest: str, proofs: tuple[Proof, ...]) -> tuple[Standing, Proof | None]:
        url = installation.repository(copy).url
        void = holdings.void_through
        return standing(proofs, digest=digest, copy=copy, url=url, void_through=void)

    standings = {copy: stands(copy, digest, proofs) for copy in found}
    ids = frozenset(proof.id for proof in proofs)
    for copy, (state, proof) in standings.items():
        if state is Standing.FAILED:
            why = proof.reason if proof else "it failed"
            reason = f"the {copy} copy failed: {why}"
            return Judgement(digest, False, reason, standings, proof, ids)
    for copy, own in standings.items():
        parents = (
            stands(copy, each.digest, holdings.proofs_of_parent(installation, each.manifest.id))
            for each in holdings.parents(backup, copy)
        )
        why_broken = why_parent_failed(own, parents)
        if why_broken:
            reason = f"the {copy} copy: {why_broken}"
            return Judgement(digest, False, reason, standings, None, ids)
    counts = copy_that_counts(installation)
    state, proof = standings.get(counts, (Standing.UNPROVEN, None))
    untold = "; ".join((*([holdings.untold] if holdings.untold else []), *holdings.silent.values()))
    if untold and state in (Standing.PROVEN, Standing.VOID):
        return Judgement(digest, None, f"could not tell: {untold}", standings, None, ids)
    if state is Standing.PROVEN:
        reason = f"proven to restore from the {counts} copy"
        return Judgement(digest, True, reason, standings, proof, ids)
    if state is Standing.VOID:
        return Judgement(digest, False, f"void: {holdings.why_void}", standings, None, ids)
    return Judgement(digest, None, f"no proof of the {counts} copy yet", standings, None, ids)


def judge_now(installation: Installation, backup: str) -> Judgement:
    """As judge(), reading the catalogs first."""
    return judge(installation, load_holdings(installation), backup)
