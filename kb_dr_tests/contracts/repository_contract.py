"""What every repository promises, whatever it is made of."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC
from threading import Barrier

import pytest

from kb_dr.domain.stored import StoredObject
from kb_dr.errors import (
    BucketMissing,
    ChecksumMismatch,
    KbDrError,
    ObjectConflict,
    ObjectMissing,
    RepositoryError,
)
from kb_dr_tests.contracts.places import Place
from kb_dr_tests.fakes import MemoryRepository

TRICKY_KEYS = [
    "a-b", "a.b/c", "a/b", "a/b0/c", "a0", "b/x", "bA/c", "b_/x",
    "wal/1/00000001/000000010000000000000001-aa.zst.age",
    "wal/1/00000001/000000010000000000000001.history",
    "wal/1/00000001/00000001000000000000000A-bb.zst.age",
    "wal/1/00000001/00000001000000000000000B-cc.zst.age",
    "wal/1/00000001/000000010000000000000010-dd.zst.age",
    "wal/1/00000002/000000020000000000000001-ee.zst.age",
    "wal/10/00000001/000000010000000000000001-ff.zst.age",
]  # fmt: skip
"""Sorted otherwise by folder than by text: a store must list by text."""


class RepositoryContract:
    """Subclass it with a fixture ``place``."""

    def test_what_is_put_is_read_found_and_described(self, place: Place) -> None:
        body = b"manifest " * 1000

        stored = place.repository().put("full/20261120-020000/manifest.json", body)

        assert replace(stored, md5="") == StoredObject(
            key="full/20261120-020000/manifest.json",
            size_bytes=9000,
            sha256=hashlib.sha256(body).hexdigest(),
            md5="",
        )
        assert stored.md5 == (hashlib.md5(body).hexdigest() if place.has_e_tags else "")
        other = place.repository()
        assert other.get(stored) == body
        assert other.read(stored.key) == body
        found = other.find(stored.key)
        assert found is not None
        assert (found.key, found.size_bytes) == (stored.key, 9000)
        assert found.modified.utcoffset() == UTC.utcoffset(None)
        assert list(other.list("")) == [
            type(found)(stored.key, 9000, next(iter(other.list(""))).modified)
        ]

    @pytest.mark.parametrize("size", [0, 1, 12 * 1024 * 1024 + 7])
    def test_any_size_comes_back_whole(self, place: Place, size: int) -> None:
        body = hashlib.shake_256(b"chunk").digest(size)
        repository = place.repository()

        stored = repository.put("chunk", body)

        assert place.repository().get(stored) == body

    @pytest.mark.parametrize("size", [0, 1, 8192, 8193, 3_000_000])
    def test_the_beginning_of_an_object_is_read_alone(self, place: Place, size: int) -> None:
        body = bytes(range(256)) * (size // 256) + bytes(size % 256)
        repository = place.repository()
        repository.put("chunk", body)
        (listed,) = repository.list("")

        assert repository.read_start(listed, 8192) == body[:8192]

    def test_the_same_bytes_again_are_a_success(self, place: Place) -> None:
        first = place.repository().put("record", b"same")

        assert place.repository().put("record", b"same") == first

    @pytest.mark.parametrize("other", [b"othr", b"longer than before", b""])
    def test_other_bytes_are_refused_and_change_nothing(self, place: Place, other: bytes) -> None:
        place.repository().put("record", b"mine")

        with pytest.raises(ObjectConflict, match="record"):
            place.repository().put("record", other)

        assert place.repository().read("record") == b"mine"

    def test_what_is_not_there_is_missing_and_said_so(self, place: Place) -> None:
        repository = place.repository()
        repository.put("folder/there", b"x")

        for absent in ("nowhere", "folder", "folder/ther", "folder/there2", "other/folder/there"):
            assert repository.find(absent) is None
            with pytest.raises(ObjectMissing, match=absent):
                repository.read(absent)
            with pytest.raises(ObjectMissing, match=absent):
                repository.get(StoredObject(absent, 1, "0" * 64, "0" * 32))

    @pytest.mark.parametrize("damage", [b"goof", b"goo", b"good and more", b""])
    def test_bytes_other_than_recorded_are_never_returned(
        self, place: Place, damage: bytes
    ) -> None:
        stored = place.repository().put("chunk", b"good")
        place.replace("chunk", damage)

        with pytest.raises(ChecksumMismatch, match="chunk"):
            place.repository().get(stored)

    def test_listings_are_by_text_and_in_order(self, place: Place) -> None:
        place.fill(TRICKY_KEYS)
        expected = MemoryRepository()
        for key in TRICKY_KEYS:
            expected.put(key, b".")
        repository = place.repository()

        for prefix in (
            "", "a", "a/", "a/b", "a-", "b", "wal/1", "wal/1/", "wal/1/00000001/00000001",
            "wal/1/00000001/00000001000000000000000A", "wal/1/00000001/00000001000000000000000B-",
            TRICKY_KEYS[8], "nowhere", "nowhere/", "z",
        ):  # fmt: skip
            for start_after in ("", "a/b", TRICKY_KEYS[8], "wal/1/00000001/00000001000000000001"):
                listed = [seen.key for seen in repository.list(prefix, start_after=start_after)]
                wanted = [seen.key for seen in expected.list(prefix, start_after=start_after)]
                assert listed == wanted, (prefix, start_after)

    def test_what_is_deleted_is_gone_and_alone(self, place: Place) -> None:
        repository = place.repository()
        for key in ("wal/1", "wal/10", "wal/2/x"):
            repository.put(key, b"x")

        repository.delete("wal/1")
        repository.delete("wal/1")

        assert repository.find("wal/1") is None
        assert [seen.key for seen in repository.list("")] == ["wal/10", "wal/2/x"]

    def test_nothing_is_retained_where_nothing_was_locked(self, place: Place) -> None:
        repository = place.repository()
        repository.put("full/1/chunk", b"x")

        assert repository.retained_until("full/1/") is None
        assert repository.retained_until("full/2/") is None
        assert repository.read("full/1/chunk") == b"x"

    @pytest.mark.parametrize(
        "key",
        ["", "/", "/a", "a/", "a//b", "..", "../a", "a/../b", "a/.b", ".incoming/x", "a b", "ä",
         "a\n", "a\x00", "x" * 300, "a/" * 500 + "a"],
    )  # fmt: skip
    def test_what_is_no_key_is_refused(self, place: Place, key: str) -> None:
        repository = place.repository()

        for call in (repository.read, repository.find, repository.delete):
            with pytest.raises(RepositoryError, match="not a key"):
                call(key)
        with pytest.raises(RepositoryError, match="not a key"):
            repository.put(key, b"x")

    def test_a_missing_place_is_said_and_never_taken_for_an_empty_one(self, place: Place) -> None:
        missing = place.missing()

        with pytest.raises(BucketMissing):
            missing.check()
        with pytest.raises(BucketMissing):
            missing.read("key")
        with pytest.raises(BucketMissing):
            missing.find("key")
        with pytest.raises(BucketMissing):
            list(missing.list(""))
        with pytest.raises(BucketMissing):
            missing.put("key", b"x")
        with pytest.raises(BucketMissing):
            missing.delete("key")
        with pytest.raises(BucketMissing):
            missing.retained_until("key")

    def test_a_good_place_passes_its_check(self, place: Place) -> None:
        repository = place.repository()

        repository.check()

        assert repository.name == "primary"
        assert "://" in repository.url or repository.url.startswith("/")
        assert list(repository.list("")) == []

    def test_many_threads_may_share_one_repository(self, place: Place) -> None:
        repository = place.repository()
        bodies = {f"chunk.{number:05d}": b"%d" % number * 5000 for number in range(24)}

        with ThreadPoolExecutor(6) as pool:
            stored = list(pool.map(lambda key: repository.put(key, bodies[key]), bodies))
            read = list(pool.map(repository.get, stored))

        assert read == list(bodies.values())

    def test_every_error_says_what_to_do(self, place: Place) -> None:
        with pytest.raises(KbDrError) as raised:
            place.missing().check()

        assert raised.value.hint

    def test_room_is_told_where_there_is_a_bound(self, place: Place) -> None:
        space = place.repository().space()

        assert space is None or 0 <= space.free_bytes <= space.total_bytes


class PutIfAbsentContract:
    """What a repository promises beside it where the store enforces conditional writes."""

    def test_of_many_writers_of_one_key_one_wins(self, place: Place) -> None:
        start = Barrier(6)
        repositories = [place.repository() for _ in range(6)]

        def write(number: int) -> bool:
            start.wait(60)
            try:
                repositories[number].put("contested", b"%d" % number * 1000)
            except ObjectConflict:
                return False
            return True

        with ThreadPoolExecutor(6) as pool:
            won = list(pool.map(write, range(6)))

        left = place.repository().read("contested")
        assert left in [b"%d" % number * 1000 for number in range(6)]
        assert won[int(left[:1])], "the writer whose bytes stand there was told so"
        assert won.count(True) == 1


class PagesContract:
    """What takes more objects than one answer of S3 holds."""

    def test_a_listing_longer_than_a_page_is_whole(self, place: Place) -> None:
        keys = [f"many/{number:05d}" for number in range(1207)]
        place.fill(keys)
        repository = place.repository()

        assert [seen.key for seen in repository.list("many/")] == keys
        assert [seen.key for seen in repository.list("many/0", start_after=keys[999])] == keys[
            1000:
        ]
