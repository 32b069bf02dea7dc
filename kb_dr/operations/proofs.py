"""Keep and read proofs: evidence, appended and never rewritten.

A proof of a copy is kept in that copy, where it survives with it, and in the primary as well,
where it survives the copy and where people look first.
"""

import logging

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.proof import Proof
from kb_dr.errors import KbDrError, ObjectMissing, RepositoryError, UnreadableRecord
from kb_dr.ports import Repository

logger = logging.getLogger(__name__)


def store_proof(repository: Repository, proof: Proof) -> None:
    """Append one proof to one repository.

    The same proof again is a success; UnreadableRecord when it would not read back as it is.
    """
    key = _key(proof)
    body = records.to_json(proof)
    if records.from_json(Proof, body, what=key) != proof:
        raise UnreadableRecord(f"write {key}: it would not read back as what was written")
    repository.put(key, body)


def store_proof_in(places: tuple[Repository, ...], proof: Proof) -> None:
    """Append a proof wherever it can be; the error of the first place when it can be nowhere.

    Evidence kept once counts: each reader looks into every repository. A copy that broke while
    it was read must not keep its own red proof from being kept elsewhere.
    """
    failures: list[RepositoryError] = []
    for place in places:
        try:
            store_proof(place, proof)
        except RepositoryError as error:
            logger.warning("proof %s is not kept in %s: %s", proof.id, place.name, error)
            failures.append(error)
    if len(failures) == len(places):
        raise failures[0] if failures else KbDrError(f"store {_key(proof)}: no repository given")


def load_proofs(repository: Repository, backup: BackupId) -> tuple[Proof, ...]:
    """Every proof of one backup kept in this repository, of whatever copy, oldest first.

    A record that cannot be read raises UnreadableRecord: it may be the one that says FAILED.
    """
    found = []
    for listed in repository.list(layout.proofs_prefix(backup)):
        try:
            body = repository.read(listed.key)
        except ObjectMissing:
            continue  # purged with its backup since the listing
        proof = records.from_json(Proof, body, what=f"{listed.key} of {repository.name}")
        if _key(proof) != listed.key:
            raise UnreadableRecord(
                f"read {listed.key} of {repository.name}: it belongs at {_key(proof)}"
            )
        found.append(proof)
    return tuple(sorted(found, key=lambda proof: (proof.finished, proof.id)))


def _key(proof: Proof) -> str:
    try:
        backup = BackupId.parse(proof.backup_id)
    except ValueError as error:
        raise UnreadableRecord(f"read proof {proof.id}: {error}") from error
    return layout.proof_key(backup, proof.copy, proof.id)
