"""A throw-away repository is a repository, and nothing that happens to it reaches the real one."""

from typing import NoReturn

import pytest

from kb_dr.adapters.overlay_repository import OverlayRepository
from kb_dr.domain.stored import StoredObject
from kb_dr.errors import ChecksumMismatch, ObjectConflict, ObjectMissing
from kb_dr.ports import Repository
from kb_dr_tests.contracts.places import MemoryPlace, Place
from kb_dr_tests.contracts.repository_contract import PutIfAbsentContract, RepositoryContract
from kb_dr_tests.fakes import MemoryRepository


class ReadOnly(MemoryRepository):
    """Raises on every write."""

    def put(self, key: str, body: bytes, *, digest: bool = True) -> NoReturn:
        raise AssertionError(f"put {key}")

    def delete(self, key: str) -> NoReturn:
        raise AssertionError(f"delete {key}")


class OverlayPlace(MemoryPlace):
    """An overlay over a real repository that must never be written to."""

    def __init__(self) -> None:
        super().__init__()
        self._real = ReadOnly()
        self._overlay = OverlayRepository(self._real, "control-x", {})

    def repository(self) -> Repository:
        return self._overlay

    def missing(self) -> Repository:
        return OverlayRepository(super().missing(), "control-x", {})

    def replace(self, key: str, body: bytes) -> None:
        self._overlay.delete(key)
        self._overlay.put(key, body)

    def fill(self, keys: list[str]) -> None:
        self._real.bodies.update(dict.fromkeys(keys, b"."))


class TestOverlayRepository(RepositoryContract, PutIfAbsentContract):
    @pytest.fixture
    def place(self) -> Place:
        return OverlayPlace()

    def test_a_good_place_passes_its_check(self, place: Place) -> None:
        """As the contract has it, but for its name: see below."""
        repository = place.repository()

        repository.check()

        assert "://" in repository.url
        assert list(repository.list("")) == []


@pytest.fixture
def real() -> ReadOnly:
    made = ReadOnly()
    made.bodies |= {"a/1": b"one", "a/2": b"two", "b/3": b"three"}
    return made


def test_what_was_not_changed_is_read_through(real: ReadOnly) -> None:
    overlay = OverlayRepository(real, "control-x", {"a/2": b"2"})

    assert overlay.read("a/1") == b"one"
    assert [each.key for each in overlay.list("")] == ["a/1", "a/2", "b/3"]
    real.bodies["a/0"] = b"new"
    assert overlay.read("a/0") == b"new", "nothing was copied"


def test_damage_is_seen_in_the_overlay_alone(real: ReadOnly) -> None:
    before = dict(real.bodies)
    stored = StoredObject(
        "a/1", 3, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed", ""
    )
    assert OverlayRepository(real, "control-x", {}).get(stored) == b"one"

    overlay = OverlayRepository(real, "control-x", {"a/1": b"0ne", "a/2": None, "b/3": b""})

    with pytest.raises(ChecksumMismatch, match="control-x:memory://primary/a/1"):
        overlay.get(stored)
    with pytest.raises(ObjectMissing):
        overlay.read("a/2")
    assert overlay.find("a/2") is None
    assert {each.key: each.size_bytes for each in overlay.list("")} == {"a/1": 3, "b/3": 0}
    assert real.bodies == before


def test_nothing_is_ever_written_or_deleted_below(real: ReadOnly) -> None:
    before = dict(real.bodies)
    overlay = OverlayRepository(real, "control-x", {"a/2": None})

    overlay.put("a/2", b"anew")
    overlay.put("c/4", b"four")
    overlay.delete("a/1")
    overlay.delete("c/4")
    with pytest.raises(ObjectConflict):
        overlay.put("b/3", b"other")

    assert [each.key for each in overlay.list("")] == ["a/2", "b/3"]
    assert real.bodies == before


def test_neither_name_nor_url_is_that_of_the_real_copy(real: ReadOnly) -> None:
    overlay = OverlayRepository(real, "control-wal_empty", {})

    assert overlay.name == "control-wal_empty-of-primary"
    assert overlay.url == "control-wal_empty:memory://primary"
