"""The fake repository keeps the contract of the real ones, so tests may rely on it."""

import pytest

from kb_dr_tests.contracts.places import MemoryPlace, Place
from kb_dr_tests.contracts.repository_contract import PutIfAbsentContract, RepositoryContract


class TestMemoryRepository(RepositoryContract, PutIfAbsentContract):
    @pytest.fixture
    def place(self) -> Place:
        return MemoryPlace()
