"""Keep and read proofs.

A proof of a copy is kept in that copy, where it survives with it, and in the primary as well,
where it survives the copy and where people look first.
"""

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.proof import Proof
from kb_dr.errors import UnreadableRecord
from kb_dr.operations.kept_records import keep_record, load_kept, parse_kept
from kb_dr.ports import Repository


def store_proof(repository: Repository, proof: Proof) -> None:
    """Append one proof to one repository; the same proof again is a success."""
    store_proof_in((repository,), proof)


def store_proof_in(places: tuple[Repository, ...], proof: Proof) -> None:
    """Append a proof wherever it can be; raises as keep_record() does."""
    keep_record(places, _key(proof), proof)


def load_proofs(repository: Repository, backup: BackupId) -> tuple[Proof, ...]:
    """Every proof of one backup kept in this repository, of whatever copy, oldest first."""
    found = load_kept(repository, layout.proofs_prefix(backup), Proof, _key)
    return tuple(sorted(found, key=lambda proof: (proof.finished, proof.id)))


def parse_proof(repository: Repository, key: str, body: bytes) -> Proof:
    """One proof that was read; UnreadableRecord also when it stands where another belongs."""
    return parse_kept(repository, key, body, Proof, _key)


def _key(proof: Proof) -> str:
    try:
        backup = BackupId.parse(proof.backup_id)
    except ValueError as error:
        raise UnreadableRecord(f"read proof {proof.id}: {error}") from error
    return layout.proof_key(backup, proof.copy, proof.id)
