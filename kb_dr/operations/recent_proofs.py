"""The proofs that ended since a moment, of every copy, wherever they are kept: for metrics."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from kb_dr.domain import layout
from kb_dr.domain.proof import Proof
from kb_dr.operations.kept_records import read_kept
from kb_dr.operations.known_entries import KnownEntries
from kb_dr.operations.proofs import parse_proof
from kb_dr.ports import Repository

_LONGEST = timedelta(days=2)
"""No proof takes longer: ids bear the begin, and it is the end that is asked for."""


def recent_proofs(
    repositories: Sequence[Repository], since: datetime, known: KnownEntries[Proof]
) -> tuple[Proof, ...]:
    """Those that ended since then, in no order. Older ones are told by their ids and not read.

    Raises RepositoryError when a repository cannot tell, UnreadableRecord for a proof that
    cannot be read: either may hold the one that says FAILED.
    """
    begun = f"{since - _LONGEST:%Y%m%d-%H%M%S}"
    found: dict[str, Proof] = {}
    for repository in repositories:
        for listed in repository.list(layout.PROOFS):
            name = listed.key.rpartition("/")[2]
            if listed.key in found or not name.endswith(".json") or name < begun:
                continue
            proof = known.get(repository.url, listed)
            if proof is None:
                body = read_kept(repository, listed.key)
                if body is None:
                    continue
                proof = parse_proof(repository, listed.key, body)
                known.put(repository.url, listed, proof)
            found[listed.key] = proof
    return tuple(each for each in found.values() if each.finished >= since)
