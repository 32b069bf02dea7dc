"""S3 that is slow, gone, lost for words or lying: nothing is lost, and the error says which."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kb_dr.adapters.s3_repository import S3Repository
from kb_dr.errors import (
    ChecksumMismatch,
    ObjectConflict,
    ObjectMissing,
    RepositoryError,
    RepositoryRefused,
    RepositoryUnavailable,
)
from kb_dr_tests.ceph import CephStore
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.faults.s3_proxy import Fault, Kind, S3Proxy
from kb_dr_tests.object_stores import RcloneStore, RunningStore

FOREVER = 10**6


class Proxied(S3Place):
    """A repository behind a proxy that can be told to fail."""

    def __init__(self, store: RunningStore, proxy: S3Proxy) -> None:
        super().__init__(store)
        self.proxy = proxy

    def through(self, **changes: object) -> S3Repository:
        return self.repository(endpoint_url=self.proxy.endpoint_url, **changes)


@pytest.fixture
def place(rclone_store: RcloneStore) -> Iterator[Proxied]:
    with S3Proxy(rclone_store.port) as proxy:
        yield Proxied(rclone_store, proxy)


@pytest.fixture
def enforcing(ceph_store: CephStore) -> Iterator[Proxied]:
    with S3Proxy(ceph_store.port) as proxy:
        yield Proxied(ceph_store, proxy)


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (500, "InternalError"), (502, ""), (429, "TooManyRequests"),
     (400, "RequestTimeout")],
)  # fmt: skip
def test_a_store_that_asks_to_come_back_is_asked_again(
    place: Proxied, status: int, code: str
) -> None:
    for method in ("HEAD", "PUT", "GET", "DELETE"):
        # A HEAD's answer has no body, so no code: there only the status can tell.
        told = 503 if method == "HEAD" else status
        place.proxy.inject(Fault(Kind.ANSWER, method, times=2, status=told, code=code))
    repository = place.through()

    repository.put("record", b"body")

    assert repository.read("record") == b"body"
    assert [seen.key for seen in repository.list("")] == ["record"]
    repository.delete("record")
    assert repository.find("record") is None


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "ExpiredToken")])
def test_a_refusal_is_not_asked_again(place: Proxied, status: int, code: str) -> None:
    place.proxy.inject(Fault(Kind.ANSWER, "GET", times=FOREVER, status=status, code=code))

    with pytest.raises(RepositoryRefused, match=code):
        place.through().read("record")

    assert len(place.proxy.requests) == 1


def test_an_answer_nobody_knows_is_an_error_and_not_an_absence(place: Proxied) -> None:
    place.proxy.inject(Fault(Kind.ANSWER, "GET", times=FOREVER, status=418, code="Teapot"))

    with pytest.raises(RepositoryError, match="418") as raised:
        place.through().read("record")

    assert not isinstance(raised.value, ObjectMissing | RepositoryUnavailable)


def test_a_404_without_the_word_of_s3_is_no_absence_until_the_bucket_is_seen(
    place: Proxied,
) -> None:
    place.proxy.inject(Fault(Kind.ANSWER, "GET", times=FOREVER, status=404, code=""))
    place.proxy.inject(Fault(Kind.ANSWER, "HEAD", times=FOREVER, status=404, code=""))
    repository = place.through()

    with pytest.raises(RepositoryError) as of_read:
        repository.read("record")
    with pytest.raises(RepositoryError) as of_find:
        repository.find("record")

    assert not isinstance(of_read.value, ObjectMissing)
    assert not isinstance(of_find.value, ObjectMissing)


def test_a_store_that_never_answers_is_given_up_at_the_deadline(place: Proxied) -> None:
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        place.proxy.inject(Fault(Kind.HANG, method, times=FOREVER))
    repository = place.through(timeout_seconds=0.3, deadline_seconds=0.5)

    for call in (
        repository.check,
        lambda: repository.read("record"),
        lambda: repository.find("record"),
        lambda: repository.put("record", b"x"),
        lambda: list(repository.list("")),
        lambda: repository.delete("record"),
    ):
        with pytest.raises(RepositoryUnavailable, match="no answer"):
            call()


def test_a_store_that_stands_still_is_given_up_and_goes_on_later(tmp_path: Path) -> None:
    with RcloneStore(tmp_path / "store") as store:
        store.make_bucket(S3Place.bucket)
        place = S3Place(store)
        place.repository().put("record", b"x")
        store.pause()
        with pytest.raises(RepositoryUnavailable):
            place.repository(timeout_seconds=0.3, deadline_seconds=0.5).read("record")
        store.resume()

        assert place.repository().read("record") == b"x"


def test_a_store_stopped_in_the_middle_of_an_upload_loses_nothing(tmp_path: Path) -> None:
    with RcloneStore(tmp_path / "store") as store, S3Proxy(store.port) as proxy:
        store.make_bucket(S3Place.bucket)
        place = Proxied(store, proxy)
        chunks = {f"chunk.{number:05d}": b"%d" % number * 100_000 for number in range(4)}
        stored = [place.through().put(key, body) for key, body in list(chunks.items())[:2]]
        # Gone right after the third chunk arrived, before anybody could look at it.
        proxy.inject(Fault(Kind.PASS_THEN, "PUT", then=store.stop))

        with pytest.raises(RepositoryUnavailable):
            place.through(deadline_seconds=0.5).put("chunk.00002", chunks["chunk.00002"])
        with pytest.raises(RepositoryUnavailable):
            list(place.through(deadline_seconds=0.5).list(""))
        with pytest.raises(RepositoryUnavailable):
            place.repository(deadline_seconds=0.5).find("chunk.00000")

        store.start()
        again = [place.through().put(key, body) for key, body in chunks.items()]
        assert again[:2] == stored
        assert [place.through().get(each) for each in again] == list(chunks.values())


def test_a_store_that_comes_back_within_the_deadline_is_waited_for(tmp_path: Path) -> None:
    with RcloneStore(tmp_path / "store") as store, S3Proxy(store.port) as proxy:
        store.make_bucket(S3Place.bucket)
        place = Proxied(store, proxy)
        store.stop()
        with ThreadPoolExecutor(1) as pool:
            storing = pool.submit(place.through().put, "record", b"x")
            deadline = time.monotonic() + 60
            while len(proxy.requests) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            # Started here: a server ends with the thread that started it.
            store.start()
            stored = storing.result()

        assert place.through().get(stored) == b"x"


@pytest.mark.parametrize("method", ["PUT", "HEAD", "GET", "DELETE"])
def test_a_lost_answer_is_asked_for_again(place: Proxied, method: str) -> None:
    place.proxy.inject(Fault(Kind.LOSE_ANSWER, method))
    repository = place.through()

    repository.put("record", b"body")

    assert repository.read("record") == b"body"
    repository.delete("record")
    assert place.repository().find("record") is None


def test_a_lost_answer_to_a_conditional_write_is_no_conflict(enforcing: Proxied) -> None:
    enforcing.proxy.inject(Fault(Kind.LOSE_ANSWER, "PUT"))

    stored = enforcing.through(conditional_writes=True).put("record", b"body")

    assert enforcing.repository().get(stored) == b"body"


def test_another_writer_is_not_overwritten_when_an_answer_was_lost(place: Proxied) -> None:
    # The first try never arrives; before the second one, somebody else writes.
    place.proxy.inject(Fault(Kind.ANSWER, "PUT", status=503))
    place.proxy.inject(Fault(Kind.PASS_THEN, "HEAD", then=lambda: place.replace("record", b"his")))

    with pytest.raises(ObjectConflict):
        place.through().put("record", b"mine")

    assert place.repository().read("record") == b"his"


def test_a_writer_overwritten_before_it_looked_is_told(place: Proxied) -> None:
    place.proxy.inject(Fault(Kind.PASS_THEN, "PUT", then=lambda: place.replace("record", b"his")))

    with pytest.raises(ObjectConflict):
        place.through().put("record", b"mine")


_SIZES = [256_000, 5_120_000]
"""A large body is read another way."""


@pytest.mark.parametrize("size", _SIZES)
def test_a_body_cut_short_is_read_again(place: Proxied, size: int) -> None:
    body = bytes(range(256)) * (size // 256)
    stored = place.repository().put("chunk", body)
    place.proxy.inject(Fault(Kind.CUT_ANSWER, "GET", times=2))

    assert place.through().get(stored) == body


@pytest.mark.parametrize("size", _SIZES)
def test_a_body_always_cut_short_is_never_taken_for_the_object(place: Proxied, size: int) -> None:
    stored = place.repository().put("chunk", bytes(size))
    place.proxy.inject(Fault(Kind.CUT_ANSWER, "GET", times=FOREVER))
    repository = place.through(deadline_seconds=0.5)

    with pytest.raises(RepositoryUnavailable):
        repository.get(stored)
    with pytest.raises(RepositoryUnavailable):
        repository.read("chunk")


def test_a_listing_cut_short_is_taken_up_again_and_whole(place: Proxied) -> None:
    keys = [f"many/{number:05d}" for number in range(1207)]
    place.fill(keys)
    place.proxy.inject(Fault(Kind.CUT_ANSWER, "GET", in_path="start-after"))
    place.proxy.inject(Fault(Kind.CUT_ANSWER, "GET", in_path="continuation-token"))

    assert [seen.key for seen in place.through().list("many/")] == keys


def test_a_listing_that_breaks_off_raises_and_never_just_ends(place: Proxied) -> None:
    place.fill([f"many/{number:05d}" for number in range(1207)])
    place.proxy.inject(
        Fault(Kind.ANSWER, "GET", times=FOREVER, in_path="continuation-token", status=500)
    )
    place.proxy.inject(Fault(Kind.ANSWER, "GET", times=FOREVER, in_path="start-after", status=500))
    seen: list[str] = []

    with pytest.raises(RepositoryUnavailable):
        seen.extend(each.key for each in place.through(deadline_seconds=0.5).list("many/"))


@pytest.mark.parametrize("size", _SIZES)
def test_a_flipped_bit_on_the_way_back_is_seen(place: Proxied, size: int) -> None:
    stored = place.repository().put("chunk", b"g" * size)
    place.proxy.inject(Fault(Kind.DAMAGE_ANSWER, "GET"))

    with pytest.raises(ChecksumMismatch):
        place.through().get(stored)


def test_a_large_body_that_is_not_there_is_missing(place: Proxied) -> None:
    stored = place.repository().put("chunk", bytes(_SIZES[-1]))
    place.repository().delete("chunk")

    with pytest.raises(ObjectMissing):
        place.through().get(stored)


def test_many_bodies_are_read_whole_at_once(place: Proxied) -> None:
    """More than a few: from some on, all are read the other way."""
    repository = place.repository()
    bodies = {f"many/{each}": bytes([each]) * 3_000_000 for each in range(12)}
    for key, body in bodies.items():
        repository.put(key, body)

    with ThreadPoolExecutor(4) as pool:
        assert dict(zip(bodies, pool.map(repository.read, bodies), strict=True)) == bodies


@pytest.mark.parametrize("knows", [None, True])
def test_a_bit_flipped_on_the_way_in_never_counts_as_stored(
    enforcing: Proxied, knows: bool | None
) -> None:
    enforcing.proxy.inject(Fault(Kind.DAMAGE_REQUEST, "PUT", times=FOREVER))

    with pytest.raises(RepositoryError):
        enforcing.through(conditional_writes=knows).put("chunk", b"good bytes")

    left = [enforcing.repository().read(seen.key) for seen in enforcing.repository().list("")]
    assert b"good bytes" not in left


def test_a_bit_flipped_inside_a_store_that_checks_nothing_never_counts_as_stored(
    place: Proxied,
) -> None:
    place.proxy.inject(Fault(Kind.DAMAGE_REQUEST, "PUT", times=FOREVER))

    with pytest.raises(RepositoryError):
        place.through().put("chunk", b"good bytes")


def test_retries_end_at_the_deadline_and_pause_before_it(place: Proxied) -> None:
    place.proxy.inject(Fault(Kind.ANSWER, "GET", times=FOREVER, status=503))

    with pytest.raises(RepositoryUnavailable, match="503 SlowDown"):
        place.through(deadline_seconds=1.0).read("record")

    # More than one try, and not without pauses in between.
    assert 1 < len(place.proxy.requests) < 50
