"""The newest sound backup of this line is built on; where there is none a full is due."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.control import ControlOutcome, Damage
from kb_dr.domain.increment import SourceState
from kb_dr.domain.manifest import Manifest, StoredManifest
from kb_dr.domain.proof import Verdict
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.catalog import store_manifest
from kb_dr.operations.choose_increment import Increment, NoParent, choose_increment
from kb_dr.operations.controls import store_control_run
from kb_dr.operations.proofs import store_proof
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_chains import store_chain, store_increment
from kb_dr_tests.made_controls import made_run
from kb_dr_tests.made_installation import made_proof
from kb_dr_tests.stored_backups import STARTED, segment, store_objects, store_segments
from kb_dr_tests.unit.test_increment import state

CODEC = PlainCodec()
LATER = BackupId.of("kb", BackupKind.INCR, STARTED + timedelta(hours=20))
COPIES = {"primary": "memory://primary", "offsite": "memory://offsite"}


def sound(manifest: Manifest) -> Manifest:
    """Of a server that may send increments."""
    return replace(manifest, source=replace(manifest.source, server_version=170011))


def a_full(repository: MemoryRepository, *, hours: int = 0, start: int = 2) -> StoredManifest:
    """A full backup of such a server."""
    started = STARTED + timedelta(hours=hours)
    manifest = store_objects(repository, started=started, start=start, stop=start + 1)
    store_segments(repository, CODEC, start, start + 1)
    return store_manifest(repository, sound(manifest))


def a_chain(repository: MemoryRepository, increments: int) -> list[StoredManifest]:
    """A full, and so many native increments."""
    chain = [a_full(repository)]
    for _ in range(increments):
        chain.append(store_increment(repository, CODEC, chain[-1], change=sound))
    return chain


def choose(
    repository: MemoryRepository,
    source: SourceState | None = None,
    *,
    backup: BackupId = LATER,
    longest: int = 24,
    clock: FakeClock | None = None,
) -> Increment | NoParent:
    return choose_increment(
        repository,
        source or state(),
        backup,
        clock or FakeClock(),
        copies=COPIES,
        longest_chain=longest,
    )


def parent_of(choice: Increment | NoParent) -> str:
    assert isinstance(choice, Increment), choice
    return choice.parent.manifest.id


def refusal(choice: Increment | NoParent) -> str:
    assert isinstance(choice, NoParent), choice
    return choice.why


def fail(repository: MemoryRepository, stored: StoredManifest, copy: str = "primary") -> None:
    store_proof(repository, made_proof(stored, Verdict.FAILED, copy=copy))


def segments(repository: MemoryRepository, numbers: Iterable[int]) -> list[str]:
    return [key for number in numbers for key in store_segments(repository, CODEC, number, number)]


def test_the_newest_of_the_chain_is_the_parent_with_its_own_manifest_of_postgresql() -> None:
    repository = MemoryRepository()
    chain = a_chain(repository, 2)

    choice = choose(repository)

    assert parent_of(choice) == chain[-1].manifest.id
    assert isinstance(choice, Increment)
    assert (choice.postgres_manifest_zst, choice.why) == (b"its own", "")


def test_a_recovery_point_is_no_parent() -> None:
    repository = MemoryRepository()
    chain = a_chain(repository, 1)
    store_increment(repository, CODEC, chain[-1], files=False, change=sound)

    assert parent_of(choose(repository)) == chain[-1].manifest.id


def test_a_server_that_sends_none_gets_a_recovery_point_with_the_reason() -> None:
    repository = MemoryRepository()
    chain = store_chain(repository, CODEC, 0)

    choice = choose(repository, state(180004))

    assert parent_of(choice) == chain[0].manifest.id
    assert isinstance(choice, Increment)
    assert choice.postgres_manifest_zst is None
    assert "silently corrupt" in choice.why


def test_nothing_there_asks_for_a_full() -> None:
    assert "no full backup" in refusal(choose(MemoryRepository()))


def test_what_bears_a_later_time_is_no_parent() -> None:
    """As of a clock that was far ahead: ids of a chain are in order."""
    repository = MemoryRepository()
    a_full(repository, hours=21)

    assert "no full backup" in refusal(choose(repository))


@pytest.mark.parametrize(
    ("source", "word"), [(state(system=1), "cluster"), (state(timeline=2), "timeline")]
)
def test_another_line_asks_for_a_full(source: SourceState, word: str) -> None:
    repository = MemoryRepository()
    a_chain(repository, 1)

    assert word in refusal(choose(repository, source))


def test_it_looks_no_further_back_than_the_newest_full() -> None:
    repository = MemoryRepository()
    a_full(repository)
    fail(repository, a_full(repository, hours=12, start=5))

    assert "FAILED" in refusal(choose(repository))


@pytest.mark.parametrize("copy", ["primary", "offsite"])
def test_what_failed_in_any_copy_is_passed_over(copy: str) -> None:
    repository = MemoryRepository()
    chain = a_chain(repository, 2)
    fail(repository, chain[2], copy)

    assert parent_of(choose(repository)) == chain[1].manifest.id


def test_a_link_that_failed_spoils_all_behind_it() -> None:
    repository = MemoryRepository()
    chain = a_chain(repository, 2)
    fail(repository, chain[0], "offsite")

    assert f"{chain[0].manifest.id} FAILED in the offsite copy" in refusal(choose(repository))


def test_a_green_of_a_blind_verifier_makes_no_parent_of_what_failed() -> None:
    repository = MemoryRepository()
    (full,) = a_chain(repository, 0)
    fail(repository, full)
    green = made_proof(full, Verdict.PROVEN, copy="primary", minutes=60)
    store_proof(repository, green)
    assert parent_of(choose(repository)) == full.manifest.id

    blind = made_run(green.finished, {Damage.ROWS_DROPPED: ControlOutcome.BLIND})
    store_control_run([repository], blind)

    assert "FAILED in the primary copy" in refusal(choose(repository))


def test_a_broken_chain_is_passed_over() -> None:
    repository = MemoryRepository()
    chain = a_chain(repository, 3)
    repository.delete(layout.manifest_key(chain[2].manifest.backup_id))

    assert parent_of(choose(repository)) == chain[1].manifest.id


def test_an_unreadable_full_asks_for_a_full() -> None:
    repository = MemoryRepository()
    (full,) = a_chain(repository, 0)
    repository.bodies[layout.manifest_key(full.manifest.backup_id)] = b"{}"

    assert "schema_version" in refusal(choose(repository))


def test_a_chain_that_is_long_enough_asks_for_a_full() -> None:
    repository = MemoryRepository()
    chain = a_chain(repository, 3)

    assert parent_of(choose(repository, longest=4)) == chain[3].manifest.id
    assert "3 incremental backups" in refusal(choose(repository, longest=3))


def test_recovery_points_count_as_incremental_backups() -> None:
    repository = MemoryRepository()
    (full,) = store_chain(repository, CODEC, 0)
    for hours in (1, 2):
        store_increment(repository, CODEC, full, hours=hours, start=2, files=False)

    def third(longest: int) -> Increment | NoParent:
        backup = BackupId.of("kb", BackupKind.INCR, STARTED + timedelta(hours=3))
        return choose(repository, state(160015), backup=backup, longest=longest)

    assert parent_of(third(longest=3)) == full.manifest.id
    assert "2 incremental backups" in refusal(third(longest=2))


def test_recovery_points_do_not_hide_that_no_full_comes_any_more() -> None:
    """Retention takes them away, so that they cannot be counted; the age of the full stays."""
    repository = MemoryRepository()
    (full,) = store_chain(repository, CODEC, 0)
    on_time, late = (
        BackupId.of("kb", BackupKind.INCR, STARTED + timedelta(hours=hours)) for hours in (24, 25)
    )

    assert parent_of(choose(repository, state(160015), backup=on_time)) == full.manifest.id
    assert "25 hours old" in refusal(choose(repository, state(160015), backup=late))


@pytest.mark.parametrize("damage", ["lost", "changed"])
def test_a_parent_without_its_manifest_of_postgresql_is_passed_over(damage: str) -> None:
    repository = MemoryRepository()
    chain = a_chain(repository, 1)
    own = chain[1].manifest.postgres_manifest
    assert own is not None
    if damage == "lost":
        repository.delete(own.key)
    else:
        repository.bodies[own.key] = b"it's own"

    assert parent_of(choose(repository)) == chain[0].manifest.id


def test_a_parent_that_lacks_wal_of_its_own_is_passed_over() -> None:
    repository = MemoryRepository()
    (full,) = a_chain(repository, 0)
    (key,) = segments(repository, [2])
    repository.delete(key)

    assert f"{segment(2).name} is missing" in refusal(choose(repository))
    assert full.manifest.id in refusal(choose(repository))


def test_a_recovery_point_needs_all_wal_since_its_parent() -> None:
    repository = MemoryRepository()
    store_chain(repository, CODEC, 0)
    segments(repository, [4, 6])
    source = state(160015, written=segment(8).start.plus(0x100))
    clock = FakeClock()
    before = clock.monotonic()

    why = refusal(choose(repository, source, clock=clock))

    assert segment(5).name in why
    assert segment(7).name not in why, "that one may still come"
    assert clock.monotonic() > before, "segments are archived a few at once"
    segments(repository, [5])
    assert isinstance(choose(repository, source), Increment)


def test_wal_that_two_servers_wrote_asks_for_a_full() -> None:
    repository = MemoryRepository()
    store_chain(repository, CODEC, 0)
    (key,) = segments(repository, [4])
    repository.bodies[key.replace(key.split("-")[-1][:64], "0" * 64)] = b"another"

    why = refusal(choose(repository, state(160015, written=segment(6).start)))

    assert "two digests" in why


def test_a_native_increment_needs_none_of_it() -> None:
    repository = MemoryRepository()
    (full,) = a_chain(repository, 0)
    segments(repository, [6])

    assert parent_of(choose(repository, state(written=segment(8).start))) == full.manifest.id


def test_what_cannot_be_asked_is_no_reason_for_a_full() -> None:
    repository = MemoryRepository()
    (full,) = a_chain(repository, 0)
    key = layout.manifest_key(full.manifest.backup_id)
    repository.failures[key] = RepositoryUnavailable("get: 503")

    with pytest.raises(RepositoryUnavailable):
        choose(repository)
