"""Proofs in a repository: appended, never rewritten, never passed over.

A proof stands in the copy it read, and in the primary as well when that is another: so losing
one region loses no evidence of the other.
"""

from collections.abc import Sequence

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.proof import Proof
from kb_dr.errors import UnreadableRecord
from kb_dr.ports import Repository


def store_proof(repositories: Sequence[Repository], proof: Proof) -> None:
    """Keep one proof in each of these repositories; raises on the first that does not take it."""
    key = layout.proof_key(BackupId.parse(proof.backup_id), proof.copy, proof.id)
    body = records.to_json(proof)
    for repository in repositories:
        repository.put(key, body)


def load_proofs(repository: Repository, backup: BackupId) -> tuple[Proof, ...]:
    """Every proof of one backup that this repository keeps, oldest first.

    Raises UnreadableRecord for one that cannot be read: it may be the red one.
    """
    found = []
    for listed in repository.list(layout.proofs_prefix(backup)):
        proof = records.from_json(
            Proof, repository.read(listed.key), what=f"{listed.key} of {repository.name}"
        )
        if layout.proof_key(BackupId.parse(proof.backup_id), proof.copy, proof.id) != listed.key:
            raise UnreadableRecord(f"read {listed.key}: it is proof {proof.id} of {proof.copy}")
        found.append(proof)
    return tuple(sorted(found, key=lambda proof: (proof.finished, proof.id)))
