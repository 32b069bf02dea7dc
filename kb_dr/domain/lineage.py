"""Lineage: from a backup forward to every proof, and from a proof back to every byte it read."""

from dataclasses import dataclass

from kb_dr.domain.catalog_rows import (
    UNKNOWN,
    BackupRows,
    CopyRow,
    CopyState,
    ManifestRow,
    ProofRow,
)
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import StoredManifest
from kb_dr.domain.proof import Verdict


@dataclass(frozen=True, slots=True)
class ChainLink:
    """One backup of the chain a restore needs."""

    id: str
    kind: str
    digest: str | None
    """Of its manifest as it stands now; None when it stands nowhere that answered."""
    expected_digest: str | None
    """What its child recorded of it; None of the last link, and where the child recorded none."""
    copy: str | None
    """Where it was read."""

    @property
    def problem(self) -> str:
        """Why the chain is broken here; empty when it is not."""
        if self.digest is None:
            return "it stands in no copy that answered"
        if self.expected_digest is not None and self.expected_digest != self.digest:
            return f"it was replaced: expected manifest {self.expected_digest}"
        return ""


@dataclass(frozen=True, slots=True)
class BackupLineage:
    """One backup, forward."""

    rows: BackupRows
    stored: StoredManifest | None
    """The manifest from the first copy that has it; None when it stands in none."""
    chain: tuple[ChainLink, ...]
    """The full one first, this backup last; this one alone when it is full."""
    children: tuple[str, ...]
    """Backups made against this very one, oldest first."""

    @property
    def broken(self) -> str:
        """Why a restore along the chain is not possible; empty when nothing speaks against it."""
        bad = [f"{each.id}: {each.problem}" for each in self.chain if each.problem]
        return "; ".join(bad)


@dataclass(frozen=True, slots=True)
class ProofLineage:
    """One proof, back to what it read."""

    proof: ProofRow
    copy: CopyRow | None
    """That copy now; None when it holds nothing of the backup."""
    manifest: ManifestRow | None
    """The manifest it read, where that still stands or a tombstone kept it."""
    chain: tuple[ChainLink, ...]
    """Base, increments, the backup itself."""

    @property
    def still_speaks(self) -> str:
        """Whether it says anything of what stands in that copy now, and why not."""
        if self.proof.verdict == Verdict.NOT_PROVEN:
            return "no: it could not be run to its end"
        if self.proof.void:
            return "no: it is void, the verifier was blind to damage"
        if self.copy is None or self.copy.state != CopyState.STORED:
            state = "gone" if self.copy is None else self.copy.state
            return f"no: the backup is {state} there"
        if self.copy.digest != self.proof.digest and self.proof.digest is not None:
            return "no: another manifest stands there now"
        if self.copy.standing == UNKNOWN and not self.copy.problem:
            return "not known: another proof of it cannot be read"
        if self.proof.verdict == Verdict.FAILED and self.copy.proof_id is not None:
            newer = self.copy.proof_id != self.proof.id
            return f"no: {self.copy.proof_id} is newer" if newer else "yes"
        if self.copy.problem:
            return f"no: {self.copy.problem}"
        if self.copy.url != self.proof.url:
            return "no: another place bears that name now"
        if not self.proof.to_the_end:
            return "of its target alone: the WAL behind it was not replayed"
        if self.copy.proof_id != self.proof.id:
            return f"no: {self.copy.proof_id} is newer"
        return "yes"

    @property
    def replayed_from(self) -> Lsn | None:
        """Where replay began; None when the manifest cannot be read any more."""
        return self.manifest.wal_start if self.manifest else None
