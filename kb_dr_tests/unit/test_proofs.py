"""Proofs are kept where they can be, and none is passed over when they are read."""

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.proof import Verdict
from kb_dr.errors import RepositoryUnavailable, UnreadableRecord
from kb_dr.operations.proofs import load_proofs, store_proof, store_proof_in
from kb_dr_tests.fakes import MemoryRepository
from kb_dr_tests.unit.test_verdicts import proof

BACKUP = BackupId.parse("kb-full-20261120-020000")


def test_proofs_come_back_as_they_were_oldest_first() -> None:
    repository = MemoryRepository()
    red, green = proof(Verdict.FAILED, 2), proof(Verdict.PROVEN, 1, copy="offsite")
    for each in (red, green, green):
        store_proof(repository, each)

    assert load_proofs(repository, BACKUP) == (green, red)
    assert load_proofs(repository, BackupId.parse("kb-full-20261120-020001")) == ()


def test_one_unreadable_proof_is_an_error_and_not_a_gap() -> None:
    repository = MemoryRepository()
    store_proof(repository, proof(Verdict.PROVEN, 1))
    repository.bodies[layout.proof_key(BACKUP, "primary", "20261120-130000-x")] = b"{}"

    with pytest.raises(UnreadableRecord):
        load_proofs(repository, BACKUP)


def test_a_proof_that_was_moved_to_another_copy_is_refused() -> None:
    repository = MemoryRepository()
    made = proof(Verdict.PROVEN, 1, copy="offsite")
    store_proof(repository, made)
    body = repository.bodies.pop(layout.proof_key(BACKUP, "offsite", made.id))
    repository.bodies[layout.proof_key(BACKUP, "primary", made.id)] = body

    with pytest.raises(UnreadableRecord):
        load_proofs(repository, BACKUP)


def test_a_broken_copy_does_not_keep_its_red_proof_from_being_kept() -> None:
    broken, primary = MemoryRepository("offsite"), MemoryRepository()
    broken.failures[""] = RepositoryUnavailable("put: down")
    red = proof(Verdict.FAILED, 1, copy="offsite")

    store_proof_in((broken, primary), red)

    assert load_proofs(primary, BACKUP) == (red,)


def test_a_proof_that_can_be_kept_nowhere_is_an_error() -> None:
    broken = MemoryRepository()
    broken.failures[""] = RepositoryUnavailable("put: down")

    with pytest.raises(RepositoryUnavailable):
        store_proof_in((broken,), proof(Verdict.PROVEN, 1))
