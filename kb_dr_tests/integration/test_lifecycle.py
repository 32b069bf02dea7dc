"""Lifecycle rules on a store that carries them out: accepted, longer than the policy, and real."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kb_dr.adapters.s3_bucket import S3Bucket
from kb_dr.domain import layout
from kb_dr.domain.lifecycle import LifecycleRule, needed_days, too_short
from kb_dr.domain.retention_policy import RetentionPolicy
from kb_dr.domain.wal_names import Segment, history_name
from kb_dr.errors import LifecycleTooShort, ObjectRetained, RepositoryError, RepositoryRefused
from kb_dr.operations.lifecycle import apply_lifecycle, plan_lifecycle
from kb_dr.operations.lock_bucket import lock_bucket
from kb_dr_tests.ceph import CephStore
from kb_dr_tests.contracts.places import S3Place
from kb_dr_tests.faults.s3_proxy import Fault, Kind, S3Proxy
from kb_dr_tests.made_bucket import A_DAY, make_lockable, make_versioned
from kb_dr_tests.object_stores import MotoStore, RcloneStore
from kb_dr_tests.own_buckets import OtherPlace, name

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import LifecycleRuleOutputTypeDef, LifecycleRuleTypeDef

POLICY = RetentionPolicy()
DIGEST = "0" * 64
CHUNK = "full/20261120-020000/a1/base.tar.zst.age.00000"
SEGMENT = layout.wal_key(7, Segment(2, 3, 1 << 24).name, DIGEST)
HISTORY = layout.wal_key(7, history_name(2), DIGEST)
PROOF = "proofs/kb-full-20261120-020000/primary/p.json"
LONG_SECONDS = 200.0
"""A rule's "day" lasts 4 s on this store, which looks for what is due as often."""


@pytest.fixture
def plain(ceph_store: CephStore) -> OtherPlace:
    """A bucket without versions."""
    bucket = name()
    ceph_store.make_bucket(bucket)
    return OtherPlace(ceph_store, bucket)


@pytest.fixture
def versioned(ceph_store: CephStore) -> OtherPlace:
    bucket = name()
    make_versioned(ceph_store, bucket)
    return OtherPlace(ceph_store, bucket)


@pytest.fixture(scope="module")
def carrying_out() -> Iterator[CephStore]:
    """A store that holds no rules but these: it takes minutes to come to one of two dozen."""
    with CephStore() as store:
        yield store


def filled(place: OtherPlace) -> None:
    for key in (CHUNK, SEGMENT, HISTORY, PROOF, layout.MARKER):
        place.repository().put(key, b"x")


def comes_true(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(1.0)


def rules_of(place: OtherPlace) -> "list[LifecycleRuleOutputTypeDef]":
    return place.client.get_bucket_lifecycle_configuration(Bucket=place.bucket)["Rules"]


@pytest.mark.parametrize("kind", ["plain", "versioned"])
def test_rules_are_accepted_and_longer_than_the_policy(
    kind: str, request: pytest.FixtureRequest
) -> None:
    place: OtherPlace = request.getfixturevalue(kind)
    filled(place)
    repository, bucket = place.repository(), place.controls()
    assert bucket.lifecycle() == ()

    done = apply_lifecycle(repository, bucket, POLICY)

    assert done is not None
    assert done.changed == ()
    assert done.problems == ()
    expiring = {
        rule["Filter"]["Prefix"]: rule["Expiration"]["Days"]
        for rule in rules_of(place)
        if "Days" in rule.get("Expiration", {})
    }
    assert set(expiring) == {
        f"{place.prefix}/full/",
        f"{place.prefix}/incr/",
        f"{place.prefix}/dump/",
        f"{place.prefix}/wal/7/00000002/000000020",
    }
    assert min(expiring.values()) > needed_days(POLICY) > POLICY.longest.days


def test_rules_of_others_stay_as_they_are(plain: OtherPlace, ceph_store: CephStore) -> None:
    theirs: LifecycleRuleTypeDef = {
        "ID": "logs",
        "Status": "Enabled",
        "Filter": {"Prefix": "logs/"},
        "Expiration": {"Days": 3},
    }
    plain.client.put_bucket_lifecycle_configuration(
        Bucket=plain.bucket, LifecycleConfiguration={"Rules": [theirs]}
    )
    other = OtherPlace(ceph_store, plain.bucket)
    for place in (plain, other):
        filled(place)
        apply_lifecycle(place.repository(), place.controls(), POLICY)

    again = apply_lifecycle(
        plain.repository(), plain.controls(), replace(POLICY, quarterly_years=10)
    )

    assert again is not None
    assert again.others == (), "logs/ is none of the repository"
    assert theirs in rules_of(plain)
    untouched = plan_lifecycle(other.repository(), other.controls(), POLICY)
    assert untouched is not None
    assert untouched.changed == ()
    assert len(rules_of(plain)) == 1 + 2 * len(untouched.wanted)


def test_a_shorter_rule_of_somebody_else_is_seen_and_nothing_is_put_beside_it(
    plain: OtherPlace,
) -> None:
    filled(plain)
    plain.client.put_bucket_lifecycle_configuration(
        Bucket=plain.bucket,
        LifecycleConfiguration={
            "Rules": [
                {
                    "ID": "tidy",
                    "Status": "Enabled",
                    "Filter": {"Prefix": plain.prefix[:5]},
                    "Expiration": {"Days": 365},
                }
            ]
        },
    )
    before = rules_of(plain)

    with pytest.raises(LifecycleTooShort, match="'tidy' expires objects of the whole repository"):
        apply_lifecycle(plain.repository(), plain.controls(), POLICY)

    assert rules_of(plain) == before


def test_a_rule_is_carried_out_and_spares_what_must_never_go_by_age(
    carrying_out: CephStore,
) -> None:
    bucket_name = name()
    carrying_out.make_bucket(bucket_name)
    place = OtherPlace(carrying_out, bucket_name)
    filled(place)
    plan = plan_lifecycle(place.repository(), place.controls(), POLICY)
    assert plan is not None
    # The rules as they are made, of a policy that is over after a day.
    place.controls().set_lifecycle(
        [replace(rule, expire_days=rule.expire_days and 1) for rule in plan.wanted]
    )
    repository = place.repository()

    comes_true(lambda: repository.find(CHUNK) is None and repository.find(SEGMENT) is None)

    left = [listed.key for listed in repository.list("")]
    assert left == [PROOF, layout.MARKER, HISTORY]


def test_what_is_locked_is_hidden_by_a_rule_and_never_removed(carrying_out: CephStore) -> None:
    bucket_name = name()
    make_lockable(carrying_out, bucket_name)
    place = OtherPlace(carrying_out, bucket_name)
    bucket, repository = place.controls(), place.repository()
    lock_bucket(bucket, A_DAY, name="primary")
    repository.put(CHUNK, b"x")
    rule = LifecycleRule("full", "full/", expire_days=1, noncurrent_days=1)
    bucket.set_lifecycle([rule])

    comes_true(lambda: repository.find(CHUNK) is None)
    hidden = [each.key for each in bucket.hidden("full/")]
    # The rule stands a while longer, and may try to remove what it has hidden.
    comes_true(_after(10.0))  # as far as two and a half of its days
    bucket.set_lifecycle([LifecycleRule("debris", "", abort_days=7)])
    bucket.bring_back(CHUNK)

    assert hidden == [CHUNK]
    assert repository.read(CHUNK) == b"x"
    with pytest.raises(ObjectRetained):
        repository.delete(CHUNK)


def _after(seconds: float) -> Callable[[], bool]:
    over = time.monotonic() + seconds
    return lambda: time.monotonic() >= over


def test_rules_written_in_other_ways_are_read_for_what_they_do(moto_store: MotoStore) -> None:
    bucket_name = name()
    moto_store.make_bucket(bucket_name)
    place = OtherPlace(moto_store, bucket_name)
    enabled = {"Status": "Enabled"}
    inside = {"Prefix": f"{place.prefix}/full/"}
    raw: Any = [
        {"ID": "old style", **enabled, **inside, "Expiration": {"Days": 9}},
        {"ID": "sized", **enabled, "Expiration": {"Days": 9},
         "Filter": {"And": {**inside, "ObjectSizeGreaterThan": 5}}},
        {"ID": "cold", **enabled, "Filter": inside,
         "Transitions": [{"Days": 9, "StorageClass": "DEEP_ARCHIVE"},
                         {"Days": 3, "StorageClass": "STANDARD_IA"}]},
        {"ID": "noncurrent", **enabled, "Filter": inside,
         "NoncurrentVersionExpiration": {"NoncurrentDays": 9}},
        {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
        {"ID": "tagged", **enabled, "Filter": {"Tag": {"Key": "a", "Value": "b"}},
         "Expiration": {"Days": 1}},
        {"ID": "elsewhere", **enabled, "Filter": {"Prefix": "zzz/"}, "Expiration": {"Days": 1}},
    ]  # fmt: skip
    place.client.put_bucket_lifecycle_configuration(
        Bucket=bucket_name,
        LifecycleConfiguration={"Rules": raw},
    )

    found = place.controls().lifecycle()

    assert found is not None
    assert {rule.id for rule in found} == {"old style", "sized", "cold", "noncurrent"}
    assert not any(rule.made_here for rule in found)
    assert len(too_short(found, POLICY)) == 4


def test_a_store_without_rules_says_so_and_gets_none(rclone_store: RcloneStore) -> None:
    bucket = OtherPlace(rclone_store, S3Place.bucket).controls()

    assert bucket.lifecycle() is None
    with pytest.raises(RepositoryError, match="the store has none"):
        bucket.set_lifecycle([])


def test_a_store_that_holds_other_rules_than_it_was_sent_is_not_believed(
    plain: OtherPlace, ceph_store: CephStore
) -> None:
    with S3Proxy(ceph_store.port) as proxy:
        location = ceph_store.location(
            plain.bucket, plain.prefix, endpoint_url=proxy.endpoint_url, deadline_seconds=1.0
        )

        def forget() -> None:
            plain.client.delete_bucket_lifecycle(Bucket=plain.bucket)

        proxy.inject(Fault(Kind.PASS_THEN, "PUT", in_path="lifecycle", then=forget))
        with pytest.raises(RepositoryError, match="holds others than were sent"):
            S3Bucket(location).set_lifecycle([LifecycleRule("full", "full/", expire_days=9999)])
        proxy.inject(
            Fault(Kind.ANSWER, "GET", in_path="lifecycle", status=403, code="AccessDenied")
        )
        with pytest.raises(RepositoryRefused) as raised:
            S3Bucket(location).lifecycle()

    assert "s3:GetLifecycleConfiguration" in raised.value.hint
