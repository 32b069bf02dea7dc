"""Keep and read proofs.

A proof of a copy is kept in that copy, where it survives with it, and in the primary as well,
where it survives the copy and where people look first.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.proof import Proof
from kb_dr.errors import RepositoryError, UnreadableRecord
from kb_dr.operations.kept_records import keep_record, load_kept, parse_kept, read_kept
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


@dataclass(frozen=True, slots=True)
class GatheredProofs:
    """The proofs of one copy, from all repositories together."""

    proofs: Mapping[str, tuple[Proof, ...]]
    """Backup id to its proofs, without their checks and phases: there may be thousands."""
    problems: tuple[RepositoryError, ...]
    """Why some may be missing: a repository that did not answer, a record that can be read in
    none of them. It may be the one that says FAILED."""


def gather_proofs(repositories: Sequence[Repository], copy: str) -> GatheredProofs:
    """All proofs made of one copy, wherever they are kept. Raises nothing of ours."""
    found: dict[str, Proof] = {}
    bad: dict[str, RepositoryError] = {}
    silent: list[RepositoryError] = []
    for repository in repositories:
        try:
            for listed in repository.list(layout.PROOFS):
                if listed.key.removeprefix(layout.PROOFS).split("/")[1:2] != [copy]:
                    continue
                if listed.key in found or (body := read_kept(repository, listed.key)) is None:
                    continue
                try:
                    proof = parse_kept(repository, listed.key, body, Proof, _key)
                except UnreadableRecord as error:
                    bad[listed.key] = error
                    continue
                found[listed.key] = replace(proof, checks=(), phases=(), tools={})
        except RepositoryError as error:
            silent.append(error)
    by_backup: dict[str, list[Proof]] = defaultdict(list)
    for proof in found.values():
        by_backup[proof.backup_id].append(proof)
    unread = [error for key, error in bad.items() if key not in found]
    return GatheredProofs(
        {name: tuple(proofs) for name, proofs in by_backup.items()}, (*silent, *unread)
    )


def parse_proof(repository: Repository, key: str, body: bytes) -> Proof:
    """One proof that was read; UnreadableRecord also when it stands where another belongs."""
    return parse_kept(repository, key, body, Proof, _key)


def _key(proof: Proof) -> str:
    try:
        backup = BackupId.parse(proof.backup_id)
    except ValueError as error:
        raise UnreadableRecord(f"read proof {proof.id}: {error}") from error
    return layout.proof_key(backup, proof.copy, proof.id)
