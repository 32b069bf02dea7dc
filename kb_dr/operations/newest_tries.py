"""When each copy was last tried: the newest proof of it, whatever its verdict."""

from datetime import datetime

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_families import DUMPS, family_of_id
from kb_dr.domain.proof import Proof
from kb_dr.operations.kept_records import read_kept
from kb_dr.ports import Repository


def newest_tries(repository: Repository) -> dict[str, datetime]:
    """Copy to the end of the newest try, by the proofs kept in one repository.

    Found by the names alone, which begin with the time; one or two a copy are read. A proof that
    stopped at a target, as a drill's does, is not counted, nor one of a dump. Raises
    UnreadableRecord for one of those that cannot be read.
    """
    names: dict[str, list[str]] = {}
    for listed in repository.list(layout.PROOFS):
        parts = listed.key.removeprefix(layout.PROOFS).split("/")
        if family_of_id(parts[0]) is DUMPS:
            continue
        if len(parts) == 3 and parts[2].endswith(".json"):
            names.setdefault(parts[1], []).append(listed.key)
    found: dict[str, datetime] = {}
    for copy, keys in names.items():
        for key in sorted(keys, key=lambda each: each.rpartition("/")[2], reverse=True):
            body = read_kept(repository, key)
            if body is None:
                continue
            proof = records.from_json(Proof, body, what=f"{key} of {repository.name}")
            if proof.reach is None or proof.to_the_end:
                found[copy] = proof.finished
                break
    return found
