"""An outage is waited for, within reason; nothing else is, and nobody is kept who wants to go."""

import threading
from collections.abc import Iterator

import pytest

from kb_dr.domain.stored import Listed, StoredObject
from kb_dr.errors import (
    ChecksumMismatch,
    KbDrError,
    ObjectMissing,
    RepositoryRefused,
    RepositoryUnavailable,
)
from kb_dr.operations.patient_reads import PatientRepository, patient_reads
from kb_dr.ports import Repository
from kb_dr_tests.contracts.places import MemoryPlace, Place
from kb_dr_tests.contracts.repository_contract import PutIfAbsentContract, RepositoryContract
from kb_dr_tests.fakes import FakeClock, MemoryRepository

PATIENCE = 900.0


class _PatientPlace(MemoryPlace):
    def repository(self) -> Repository:
        return PatientRepository(super().repository(), FakeClock(), patience_seconds=PATIENCE)


class TestPatientRepository(RepositoryContract, PutIfAbsentContract):
    @pytest.fixture
    def place(self) -> Place:
        return _PatientPlace()


class _Away(MemoryRepository):
    """Away until the clock says ``until``; counts what it was asked."""

    def __init__(self, clock: FakeClock, until: float) -> None:
        super().__init__(clock=clock)
        self.clock = clock
        self.until = until
        self.asked = 0

    def _fail(self, key: str) -> None:
        self.asked += 1
        if self.clock.monotonic() < self.until:
            raise RepositoryUnavailable(f"get {key}: no answer")
        super()._fail(key)


def _patient(
    inner: Repository,
    clock: FakeClock,
    said: list[str] | None = None,
    *,
    patience: float = PATIENCE,
) -> PatientRepository:
    heard = [] if said is None else said
    return PatientRepository(inner, clock, patience_seconds=patience, say=heard.append)


def _stored(body: bytes = b"body") -> tuple[_Away, FakeClock, StoredObject]:
    clock = FakeClock()
    away = _Away(clock, 0)
    return away, clock, away.put("record", body)


def test_an_outage_is_waited_for_and_told_once_at_each_end() -> None:
    away, clock, stored = _stored()
    said: list[str] = []
    patient = _patient(away, clock, said)
    away.until = 600

    assert patient.get(stored) == b"body"
    assert patient.get(stored) == b"body"

    begins, ends = said
    assert "primary does not answer" in begins
    assert "get record: no answer" in begins
    assert "answers again" in ends


def test_a_second_outage_is_told_again() -> None:
    away, clock, stored = _stored()
    said: list[str] = []
    patient = _patient(away, clock, said)
    for end in (100, 800):
        away.until = end
        patient.get(stored)

    assert len(said) == 4


def test_pauses_grow_so_that_a_store_in_trouble_is_not_beaten() -> None:
    away, clock, stored = _stored()
    away.until, away.asked = 850, 0

    _patient(away, clock).get(stored)

    assert 850 / 15 < away.asked < 850 / 5


def test_an_outage_that_outlasts_the_patience_is_the_error_it_was() -> None:
    away, clock, stored = _stored()
    away.until = 10 * PATIENCE

    with pytest.raises(RepositoryUnavailable, match="no answer, and it did not come back") as gone:
        _patient(away, clock).get(stored)

    assert PATIENCE <= clock.monotonic() < PATIENCE + 1, "asked once more at the very end"
    assert gone.value.exit_code == 11
    assert "--from" in gone.value.hint


def test_what_is_asked_after_that_is_not_waited_for_again() -> None:
    away, clock, stored = _stored()
    patient = _patient(away, clock)
    away.until = 10 * PATIENCE
    with pytest.raises(RepositoryUnavailable):
        patient.get(stored)
    then = clock.monotonic()

    with pytest.raises(RepositoryUnavailable):
        patient.put("proof", b"")

    assert clock.monotonic() == then


def test_without_patience_nothing_is_waited_for_and_nothing_said() -> None:
    away, clock, stored = _stored()
    said: list[str] = []
    away.until = 1

    with pytest.raises(RepositoryUnavailable, match=r"no answer$"):
        _patient(away, clock, said, patience=0).get(stored)

    assert (clock.monotonic(), said) == (0, [])


@pytest.mark.parametrize("kind", [ObjectMissing, ChecksumMismatch, RepositoryRefused])
def test_every_other_error_passes_at_once(kind: type[KbDrError]) -> None:
    away, clock, stored = _stored()
    away.failures["record"] = kind("get record: as it is")

    with pytest.raises(kind, match=r"as it is$"):
        _patient(away, clock).get(stored)

    assert clock.monotonic() == 0


class _BreaksOff(MemoryRepository):
    """Its listings break off after every third key."""

    def list(self, prefix: str, *, start_after: str = "") -> Iterator[Listed]:
        for number, listed in enumerate(super().list(prefix, start_after=start_after)):
            if number == 3:
                raise RepositoryUnavailable("list: no answer")
            yield listed


def test_a_listing_that_breaks_off_goes_on_where_it_was() -> None:
    inner, clock = _BreaksOff(), FakeClock()
    keys = [f"many/{number:02d}" for number in range(10)]
    for key in keys:
        inner.put(key, b"")
    patient = _patient(inner, clock)

    assert [each.key for each in patient.list("many/")] == keys
    assert [each.key for each in patient.list("many/", start_after=keys[4])] == keys[5:]


class _Stops(FakeClock):
    """Somebody wants to go after so many seconds."""

    def __init__(self, after: float) -> None:
        super().__init__()
        self.after = after

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.monotonic() > self.after:
            raise KeyboardInterrupt


def test_an_interrupt_is_heard_while_it_waits() -> None:
    clock = _Stops(after=40)
    away = _Away(clock, 0)
    stored = away.put("record", b"body")
    away.until = 10 * PATIENCE

    with pytest.raises(KeyboardInterrupt):
        _patient(away, clock).get(stored)

    assert clock.monotonic() < 41


def test_who_waits_in_another_thread_gives_up_when_the_work_is_over() -> None:
    waits = threading.Event()
    errors: list[Exception] = []

    class _Real(FakeClock):
        def sleep(self, seconds: float) -> None:
            waits.set()
            threading.Event().wait(0.01)

    away = _Away(_Real(), 0)
    stored = away.put("record", b"body")
    away.until = 1

    def read(repository: Repository) -> None:
        try:
            repository.get(stored)
        except RepositoryUnavailable as error:
            errors.append(error)

    with patient_reads(away, away.clock, patience_seconds=PATIENCE) as patient:
        thread = threading.Thread(target=read, args=(patient,), daemon=True)
        thread.start()
        assert waits.wait(60)
    thread.join(60)

    assert not thread.is_alive()
    assert len(errors) == 1
