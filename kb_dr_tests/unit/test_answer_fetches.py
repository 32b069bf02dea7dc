"""Who runs ahead answers a fetch as the program would, or leaves it to the program."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kb_dr.domain.layout import MARKER, wal_key
from kb_dr.domain.lsn import Lsn
from kb_dr.errors import RepositoryUnavailable
from kb_dr.operations.answer_fetches import ANSWERS, ASKS, FetchAnswers
from kb_dr.operations.fetch_wal import ExpectedEnd
from kb_dr.operations.run_ahead import run_ahead
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import SYSTEM_IDENTIFIER, full_segments
from kb_dr_tests.stored_segments import repository_of
from kb_dr_tests.unit.test_run_ahead import until

SEGMENTS = full_segments(1, 7)
NAMES = list(SEGMENTS)[:6]
NEXT = list(SEGMENTS)[6]
DEADLINE_SECONDS = 20.0


class _Ahead:
    """Where somebody runs ahead."""

    def __init__(self, directory: Path, repository: MemoryRepository) -> None:
        self.repository = repository
        self.place = directory / "ahead"
        for each in (ASKS, ANSWERS):
            (self.place / each).mkdir(parents=True)

    @contextmanager
    def running(self, expected_end: ExpectedEnd | None = None) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(
            target=lambda: run_ahead(
                NAMES[0],
                repository=self.repository,
                codec=PlainCodec(),
                system_identifier=SYSTEM_IDENTIFIER,
                ahead=self.place,
                transfers=2,
                segment_bytes=1 << 20,
                wanted=lambda: not over.is_set(),
                expected_end=expected_end,
            )
        )
        thread.start()
        try:
            until((self.place / "ready" / NAMES[-1]).exists)
            yield
        finally:
            over.set()
            thread.join(DEADLINE_SECONDS)

    def answer(self, name: str) -> str:
        (self.place / ASKS / f"7.{name}").touch()
        answer = self.place / ANSWERS / f"7.{name}"
        until(answer.exists)
        said = answer.read_text()
        answer.unlink()
        return said


@pytest.fixture
def ahead(tmp_path: Path) -> _Ahead:
    repository = repository_of({name: SEGMENTS[name] for name in NAMES}, tmp_path)
    repository.bodies[MARKER] = b"{}"
    return _Ahead(tmp_path, repository)


def test_a_segment_that_was_taken_is_laid_once_more(ahead: _Ahead) -> None:
    with ahead.running():
        for name in (NAMES[3], NAMES[-1], NAMES[0]):
            laid = ahead.place / "ready" / name
            laid.unlink(missing_ok=True)
            assert ahead.answer(name) == f"ready {name}\n"
            assert laid.read_bytes() == SEGMENTS[name]


def test_what_no_longer_or_never_was_archived_is_absent(ahead: _Ahead) -> None:
    with ahead.running():
        assert ahead.answer(NEXT) == f"absent {NEXT}\n"
        assert ahead.answer("00000002.history") == "absent 00000002.history\n"


def test_an_absence_that_is_not_certain_is_left_to_the_program(ahead: _Ahead) -> None:
    with ahead.running():
        ahead.repository.failures[""] = RepositoryUnavailable("down")
        assert ahead.answer(NEXT) == f"trouble {NEXT}\n"
        ahead.repository.failures.clear()
        del ahead.repository.bodies[MARKER]
        assert ahead.answer(NEXT) == f"trouble {NEXT}\n"
        assert ahead.answer("00000002.history") == "trouble 00000002.history\n"


def test_what_recovery_cannot_do_without_is_never_absent(ahead: _Ahead) -> None:
    with ahead.running(ExpectedEnd(1, Lsn(100 << 20), 1 << 20)):
        assert ahead.answer(NEXT) == f"trouble {NEXT}\n"


def test_a_hole_is_never_absent(ahead: _Ahead) -> None:
    """It was listed a moment ago."""
    with ahead.running():
        (key,) = (key for key in ahead.repository.bodies if NAMES[2] in key)
        del ahead.repository.bodies[key]
        assert ahead.answer(NAMES[2]) == f"trouble {NAMES[2]}\n"


def test_two_digests_and_damage_are_left_to_the_program(ahead: _Ahead) -> None:
    with ahead.running():
        for name in (NAMES[1], NEXT):
            ahead.repository.bodies[wal_key(SYSTEM_IDENTIFIER, name, "0" * 64)] = b"other"
            (ahead.place / "ready" / name).unlink(missing_ok=True)
            assert ahead.answer(name) == f"trouble {name}\n"
            assert not (ahead.place / "ready" / name).exists()


def test_what_was_archived_meanwhile_is_left_to_the_program(ahead: _Ahead, tmp_path: Path) -> None:
    """It has us begin anew behind it; read one by one it would be slower."""
    with ahead.running():
        later = repository_of({NEXT: SEGMENTS[NEXT]}, tmp_path)
        ahead.repository.bodies |= later.bodies
        assert ahead.answer(NEXT) == f"trouble {NEXT}\n"


@pytest.mark.parametrize("name", ["x", "..", "00000001000000000000000", ""])
def test_what_is_no_wal_file_is_left_to_the_program(ahead: _Ahead, name: str) -> None:
    with ahead.running():
        assert ahead.answer(name) == f"trouble {name}\n"


def test_no_absence_is_told_once_the_server_has_ended(tmp_path: Path) -> None:
    """Asked again behind the look at the store: settings may be others by now."""
    served = True

    def absent(_name: str, _path: Path) -> bool:
        nonlocal served
        served = False
        return False

    for each in (ASKS, ANSWERS, "ready"):
        (tmp_path / each).mkdir()
    (tmp_path / ASKS / f"7.{NEXT}").touch()

    FetchAnswers(tmp_path, absent).answer(tmp_path / "ready", lambda _name, _there: served)

    until((tmp_path / ANSWERS / f"7.{NEXT}").exists)
    assert (tmp_path / ANSWERS / f"7.{NEXT}").read_text() == f"trouble {NEXT}\n"
