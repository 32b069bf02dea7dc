"""Holds: kept wherever they can be, believed from anywhere, and ended by name only."""

from datetime import timedelta
from pathlib import Path

import pytest

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.errors import (
    ConfigurationError,
    NoUsableBackup,
    RepositoryUnavailable,
    UnreadableRecord,
)
from kb_dr.operations.holds import gather_holds, hold, release
from kb_dr_tests.fakes import FakeClock, MemoryRepository
from kb_dr_tests.made_installation import MadeInstallation

BACKUP = BackupId.parse("kb-full-20261120-020000")
OTHER = BackupId.parse("kb-full-20261121-020000")


def _places() -> tuple[MemoryRepository, MemoryRepository]:
    return MemoryRepository("primary"), MemoryRepository("offsite")


def test_a_hold_is_in_force_until_it_is_released_by_name() -> None:
    places, clock = _places(), FakeClock()
    made = hold(places, clock, BACKUP, "  audit of 2026 ")

    assert made.reason == "audit of 2026"
    assert gather_holds(places).in_force(str(BACKUP)) == (made,)
    assert gather_holds(places).in_force(str(OTHER)) == ()
    release(places, clock, BACKUP, "audit is over", [made])
    assert gather_holds(places).in_force(str(BACKUP)) == ()
    assert len(gather_holds(places, BACKUP).events[str(BACKUP)]) == 2


def test_a_release_ends_no_hold_that_was_not_seen() -> None:
    places, clock = _places(), FakeClock()
    seen = hold(places, clock, BACKUP, "seen")
    clock.set(clock.now() - timedelta(hours=3))
    unseen = hold(places, clock, BACKUP, "made elsewhere, by a clock that is late")
    release(places, clock, BACKUP, "over", [seen])

    assert gather_holds(places).in_force(str(BACKUP)) == (unseen,)


def test_a_hold_that_only_one_copy_has_counts() -> None:
    primary, offsite = _places()
    primary.failures[""] = RepositoryUnavailable("down")
    hold((primary, offsite), FakeClock(), BACKUP, "made while the primary was down")
    primary.failures.clear()

    assert not primary.bodies
    assert gather_holds((primary, offsite)).in_force(str(BACKUP))


def test_a_hold_that_can_be_kept_nowhere_is_none() -> None:
    places = _places()
    for place in places:
        place.failures[""] = RepositoryUnavailable("down")

    with pytest.raises(RepositoryUnavailable):
        hold(places, FakeClock(), BACKUP, "nobody hears it")


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_a_hold_without_a_reason_is_refused(reason: str) -> None:
    places = _places()

    with pytest.raises(ConfigurationError, match="no reason"):
        hold(places, FakeClock(), BACKUP, reason)
    assert not places[0].bodies


def test_a_record_that_is_damaged_here_is_read_there() -> None:
    primary, offsite = _places()
    made = hold((primary, offsite), FakeClock(), BACKUP, "audit")
    primary.bodies[layout.hold_key(BACKUP, made.id)] = b"{"
    gathered = gather_holds((primary, offsite))

    assert gathered.in_force(str(BACKUP)) == (made,)
    assert gathered.problems == ()


def test_what_can_be_read_nowhere_is_a_problem_and_hides_nothing_else() -> None:
    primary, offsite = _places()
    lost = hold((primary,), FakeClock(), BACKUP, "audit")
    whole = hold((primary,), FakeClock(), OTHER, "audit")
    primary.bodies[layout.hold_key(BACKUP, lost.id)] = b"{"
    gathered = gather_holds((primary, offsite))

    assert gathered.in_force(str(OTHER)) == (whole,)
    assert len(gathered.problems) == 1


def test_a_copy_that_does_not_answer_is_a_problem() -> None:
    primary, offsite = _places()
    hold((primary, offsite), FakeClock(), BACKUP, "audit")
    offsite.failures[""] = RepositoryUnavailable("down")
    gathered = gather_holds((primary, offsite))

    assert gathered.in_force(str(BACKUP))
    assert len(gathered.problems) == 1


@pytest.fixture
def made(tmp_path: Path) -> MadeInstallation:
    return MadeInstallation(tmp_path)


def test_a_backup_nobody_has_cannot_be_held(made: MadeInstallation) -> None:
    made.has_backup()

    with pytest.raises(NoUsableBackup) as refused:
        made.hold(OTHER, "a mistyped id")
    assert "kb-dr list" in refused.value.hint
    assert not list(made.primary.list(layout.HOLDS))


def test_whether_anybody_has_it_cannot_be_told_while_a_copy_is_down(
    made: MadeInstallation,
) -> None:
    made.offsite.failures[""] = RepositoryUnavailable("down")

    with pytest.raises(RepositoryUnavailable):
        made.hold(OTHER, "it may be offsite")


def test_a_hold_is_shown_and_a_release_says_what_it_ended(made: MadeInstallation) -> None:
    backup = made.has_backup().manifest.backup_id
    held = made.hold(backup, "audit")

    assert held.copies == ("primary",)
    assert [each.holds for each in made.overview("primary")] == [("audit",)]
    assert made.holds(backup) == (held.event,)
    released = made.release(backup, "over")
    assert released.event is not None
    assert held.event is not None
    assert released.event.releases == (held.event.id,)
    assert made.holds(backup) == ()


def test_to_release_what_is_not_held_changes_nothing(made: MadeInstallation) -> None:
    backup = made.has_backup().manifest.backup_id

    assert made.release(backup, "over").event is None
    assert not list(made.primary.list(layout.HOLDS))
    with pytest.raises(NoUsableBackup):
        made.release(OTHER, "over")


def test_a_list_is_shown_when_a_hold_cannot_be_read(made: MadeInstallation) -> None:
    backup = made.has_backup().manifest.backup_id
    held = made.hold(backup, "audit")
    assert held.event is not None
    for place in made.memory.values():
        place.bodies[layout.hold_key(backup, held.event.id)] = b"{"

    assert [each.id for each in made.overview("primary")] == [str(backup)]
    with pytest.raises(UnreadableRecord):
        made.holds(backup)
    with pytest.raises(UnreadableRecord):
        made.release(backup, "over")
