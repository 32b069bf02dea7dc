"""The journal of a replacement survives what cuts its process off."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

from kb_dr.adapters.replace_journal import (
    begin_journal,
    journal_path,
    read_journal,
    take_up_journal,
)
from kb_dr.adapters.standing_clusters import LocalStandingClusters
from kb_dr.domain.replacement import DONE, Places, Replacement
from kb_dr.errors import RecoveryError


@pytest.fixture
def begun(tmp_path: Path) -> Replacement:
    places = Places.beside(tmp_path / "data", "20261120-020000")
    return Replacement(places, was_running=True, answered=True, was_healthy=False)


def test_the_newest_whole_line_counts(begun: Replacement) -> None:
    target = begun.places.target
    journal = begin_journal(begun.places)
    journal.write(begun)
    later = replace(begun, step="swap the directories", stopped_server=True)
    journal.write(later)
    with journal_path(target).open("a") as stream:
        stream.write('{"places": {"target": "/ha')

    assert read_journal(target) == later
    journal.write(replace(later, step="after the crash"))
    assert read_journal(target) == replace(later, step="after the crash")
    journal.close(done=True)
    assert read_journal(target) is None


def test_one_that_came_to_its_end_is_nothing_to_undo(begun: Replacement) -> None:
    journal = begin_journal(begun.places)
    journal.write(replace(begun, step=DONE))

    assert LocalStandingClusters().unfinished(begun.places.target) is None
    journal.close(done=False)
    begin_journal(begun.places).close(done=True)


def test_one_without_a_line_is_removed(begun: Replacement) -> None:
    begin_journal(begun.places).close(done=False)

    assert LocalStandingClusters().resume_journal(begun.places.target) is None
    assert not journal_path(begun.places.target).exists()


@pytest.mark.parametrize("name", ["aside", "restored", "failed", "target"])
def test_one_that_names_other_places_is_not_followed(begun: Replacement, name: str) -> None:
    places = replace(begun.places, **{name: Path("/etc/data")})
    journal = begin_journal(begun.places)
    journal.write(replace(begun, places=places))
    journal.close(done=False)

    with pytest.raises(RecoveryError, match="expected names beside"):
        take_up_journal(begun.places.target)
    assert journal_path(begun.places.target).exists()


def test_one_removed_by_another_between_opening_and_locking_is_made_anew(
    begun: Replacement, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock = journal_path(begun.places.target), fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        take_up_journal(begun.places.target)  # finds no line, and removes it
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    journal = begin_journal(begun.places)

    with pytest.raises(RecoveryError, match="at work"):
        begin_journal(begun.places)
    path.rename(path.with_suffix(".old"))
    path.touch()
    journal.close(done=True)
    assert path.exists(), "another one's is left alone"


def test_a_line_is_written_whole_however_little_is_taken_at_once(
    begun: Replacement, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, words: write(descriptor, words[:7]))

    begin_journal(begun.places).write(begun)

    assert read_journal(begun.places.target) == begun
