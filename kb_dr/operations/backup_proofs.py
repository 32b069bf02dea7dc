"""All proofs of many backups, wherever they are kept, from one listing for each kind of backup."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.proof import Proof
from kb_dr.errors import RepositoryError, UnreadableRecord
from kb_dr.operations.kept_records import read_kept
from kb_dr.operations.proofs import parse_proof
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.ports import Repository

Proofs = Mapping[str, Sequence[Proof]]
"""Backup id to all proofs of it, of every copy."""

_READ_AT_ONCE = 8
_HELD = 64


def gather_proofs_of(
    repositories: Sequence[Repository], backups: Collection[BackupId]
) -> tuple[Proofs, tuple[str, ...]]:
    """All proofs of these backups, and why some may be missing."""
    found: dict[str, dict[str, Proof]] = {str(name): {} for name in sorted(backups)}
    missing: list[str] = []
    for repository in repositories:
        seen: list[tuple[str, Proof | UnreadableRecord]] = []
        try:
            for each in _read_all(repository, backups):
                seen.append(each)
        except RepositoryError as error:
            missing.append(f"{repository.name}: {error}")
        unread = {name: each for name, each in seen if isinstance(each, UnreadableRecord)}
        missing += [f"{repository.name}: {error}" for error in unread.values()]
        for name, proof in seen:
            # What stands beside one that cannot be read may be older than it.
            if isinstance(proof, Proof) and name not in unread:
                found[name][proof.id] = proof
    return {name: tuple(known.values()) for name, known in found.items()}, tuple(missing)


def kept_proofs_of(
    repository: Repository, backups: Collection[BackupId]
) -> dict[str, list[Proof] | UnreadableRecord]:
    """What load_proofs() says of each of these backups that has proofs here: them, or what it
    raises. Without their checks, phases and tools: there may be thousands. Raises what listing and
    reading raise.
    """
    found: dict[str, list[Proof] | UnreadableRecord] = {}
    for name, proof in _read_all(repository, backups):
        known = found.setdefault(name, [])
        if isinstance(known, UnreadableRecord):
            continue  # what stands beside it may be older
        if isinstance(proof, UnreadableRecord):
            found[name] = proof
        else:
            known.append(replace(proof, checks=(), phases=(), tools={}))
    return found


def sign_proofs(repository: Repository) -> dict[str, str]:
    """Backup id to a digest of all its proofs as they are listed here; none of them is read."""
    found: dict[str, Any] = {}
    for listed in repository.list(layout.PROOFS):
        backup = layout.backup_of_proof(listed.key)
        if backup is not None:
            told = f"{listed.key}\0{listed.size_bytes}\0{listed.modified.isoformat()}\0"
            found.setdefault(str(backup), hashlib.sha256(repository.url.encode())).update(
                told.encode()
            )
    return {name: digest.hexdigest() for name, digest in found.items()}


def _read_all(
    repository: Repository, backups: Collection[BackupId]
) -> Iterator[tuple[str, Proof | UnreadableRecord]]:
    """What this repository keeps, with the backup it is of; a few read at once."""

    def read(key: str) -> Proof | UnreadableRecord | None:
        body = read_kept(repository, key)
        try:
            return None if body is None else parse_proof(repository, key, body)
        except UnreadableRecord as error:
            return error

    keys = _keys(repository, backups)
    while batch := list(islice(keys, _HELD)):
        answers = run_parallel([key for _, key in batch], read, at_once=_READ_AT_ONCE)
        for (name, _), answer in zip(batch, answers, strict=True):
            if answer is not None:
                yield name, answer


def _keys(repository: Repository, backups: Collection[BackupId]) -> Iterator[tuple[str, str]]:
    """Backup and key of each proof, in order of key.

    Ids of one service and kind sort by time: what is older than the oldest is not listed.
    """
    oldest: dict[tuple[str, BackupKind], BackupId] = {}
    for backup in sorted(backups):
        oldest.setdefault((backup.service, backup.kind), backup)
    for first in oldest.values():
        prefix, after = layout.proofs_since(first)
        for listed in repository.list(prefix, start_after=after):
            proven = layout.backup_of_proof(listed.key)
            if proven in backups and listed.key.endswith(".json"):
                yield str(proven), listed.key
