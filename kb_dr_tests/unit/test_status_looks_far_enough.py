"""A status that looks at the newest backups only never says more good than one that looks at all.

Histories are made up at random: gaps, a timeline that left another, copies that lag, proofs of
every kind, manifests and proofs that cannot be read.
"""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import StoredManifest, WalPosition, manifest_digest
from kb_dr.domain.objective import judge_status
from kb_dr.domain.proof import Phase, Proof, Reach, Verdict
from kb_dr.domain.status import CopyStatus, Status
from kb_dr.domain.wal_names import history_name
from kb_dr.operations import status as status_module
from kb_dr.operations.initialise import init_repository
from kb_dr.operations.proofs import store_proof
from kb_dr.operations.status import take_status
from kb_dr.settings import Objectives
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec
from kb_dr_tests.made_wal import WalWriter
from kb_dr_tests.stored_backups import STARTED, SYSTEM, segment, store_objects, store_wal

CODEC = PlainCodec()
OBJECTIVES = Objectives(3600.0, 4 * 3600.0, 26 * 3600.0, 8 * 86400.0)
LAST, FORK = 20, 11
"""Segments 2 to LAST stand on timeline 1; timeline 2 leaves it where FORK begins."""
HOUR = timedelta(hours=1)
NOW = STARTED + 40 * HOUR
TEMPLATE = store_objects(MemoryRepository(), chunks=1)
SCOPED = ("can be read", "RTO", "clocks")
"""What is said of the backups looked at alone, and says so."""


def _written() -> dict[str, bytes]:
    """One commit in each segment, so many hours after the begin as the segment's number twice."""
    made = MemoryRepository()
    before_fork = 0
    for timeline, first in ((1, 2), (2, FORK)):
        writer = WalWriter(segment(first, timeline), system_identifier=SYSTEM)
        writer.previous = before_fork if timeline == 2 else 0
        for number in range(first, LAST + 1):
            writer.record(b"f" * 60_000)
            writer.commit(STARTED + number * 2 * HOUR - timedelta(minutes=number == LAST))
            writer.switch()
            if number + 1 == FORK:
                before_fork = writer.previous
        for name, content in writer.segments().items():
            store_wal(made, CODEC, name, content)
    store_wal(made, CODEC, history_name(2), f"1\t{segment(FORK).start}\tgone\n".encode())
    return made.bodies


WRITTEN = _written()


@dataclass
class World:
    """Two copies of one service."""

    primary: MemoryRepository = field(default_factory=lambda: MemoryRepository("primary"))
    offsite: MemoryRepository = field(default_factory=lambda: MemoryRepository("offsite"))
    clock: FakeClock = field(default_factory=lambda: FakeClock(NOW))

    def __post_init__(self) -> None:
        for each in self.copies:
            init_repository(each, self.clock, service="kb", org="default")

    @property
    def copies(self) -> tuple[MemoryRepository, MemoryRepository]:
        return self.primary, self.offsite

    def status(self, *, everything: bool) -> Status:
        return take_status(
            self.copies,
            CODEC,
            self.clock,
            OBJECTIVES,
            service="kb",
            org="default",
            everything=everything,
        )

    def back_up(
        self,
        started: datetime,
        first: int,
        timeline: int,
        *places: MemoryRepository,
        parent: StoredManifest | None = None,
    ) -> StoredManifest:
        kind = BackupKind.INCR if parent else BackupKind.FULL
        backup = BackupId.of("kb", kind, started)
        begin, stop = segment(first).start.plus(0x28), segment(first + 1).start.plus(0x1000)
        manifest = replace(
            TEMPLATE,
            id=str(backup),
            kind=kind,
            parent=parent.manifest.id if parent else None,
            parent_digest=parent.digest if parent else None,
            started=started,
            finished=started + timedelta(minutes=1),
            wal=WalPosition(timeline, begin, stop),
            fingerprint=Fingerprint(str(backup), stop.plus(0x100), ()),
        )
        body = records.to_json(manifest)
        for place in places:
            place.put(layout.manifest_key(backup), body)
        return StoredManifest(manifest, manifest_digest(body), "")


def proof(of: StoredManifest, verdict: Verdict, copy: str, at: datetime, seconds: float) -> Proof:
    return Proof(
        schema_version=records.SCHEMA_VERSION,
        id=f"{at:%Y%m%d-%H%M%S}-{copy}",
        backup_id=of.manifest.id,
        manifest_digest=of.digest,
        copy=copy,
        url=f"memory://{copy}",
        started=at - timedelta(seconds=seconds),
        finished=at,
        verdict=verdict,
        reason="",
        checks=(),
        phases=(
            Phase("fetch and unpack", seconds, 1000),
            Phase("verify files", 1.0, 1000),
            Phase("combine", 1.0, 1000),
            Phase("replay", 1.0, 1 << 20),
        ),
        reach=Reach(1, Lsn(1), 1, Lsn(1), at),
        tools={},
        host="h",
    )


def make_world(chance: random.Random) -> World:
    world = World()
    forked = chance.random() < 0.4
    lost = {key: chance.random() < 0.04 for key in WRITTEN}
    for place in world.copies:
        for key, body in WRITTEN.items():
            on_two = layout.timeline_prefix(SYSTEM, 2) in key
            if (on_two and not forked) or lost[key] or chance.random() < 0.02:
                continue
            place.bodies[key] = b"" if chance.random() < 0.01 else body
    older: list[StoredManifest] = []
    for number in sorted(chance.sample(range(1, 19), chance.randint(1, 14))):
        timeline = 2 if forked and number >= FORK and chance.random() < 0.8 else 1
        places = [place for place in world.copies if chance.random() < 0.95]
        started = STARTED + number * 2 * HOUR
        if chance.random() < 0.03:
            started = NOW + number * HOUR
        parents = [each for each in older if each.manifest.wal.timeline == timeline]
        parent = chance.choice(parents[-3:]) if parents and chance.random() < 0.4 else None
        stored = world.back_up(started, number, timeline, *places, parent=parent)
        older.append(stored)
        for place in places:
            if chance.random() < 0.05:
                place.bodies[layout.manifest_key(stored.manifest.backup_id)] = b"damaged"
        add_proofs(world, stored, chance)
    return world


def add_proofs(world: World, stored: StoredManifest, chance: random.Random) -> None:
    for place in world.copies:
        if chance.random() < 0.6 or stored.manifest.finished > NOW:
            continue
        verdict = chance.choice([Verdict.PROVEN] * 4 + [Verdict.FAILED, Verdict.NOT_PROVEN])
        at = stored.manifest.finished + chance.random() * (NOW - stored.manifest.finished)
        seconds = chance.choice([60.0, 600.0, 5 * 3600.0])
        made = proof(stored, verdict, place.name, at, seconds)
        store_proof(chance.choice(world.copies), made)
        if chance.random() < 0.03:
            key = layout.proof_key(stored.manifest.backup_id, place.name, "20261120-030000-x")
            place.bodies[key] = b"damaged"


def only_what_was_looked_at(full: CopyStatus, short: CopyStatus) -> CopyStatus:
    looked = {each.id for each in short.backups}
    return replace(
        full,
        backups=tuple(each for each in full.backups if each.id in looked),
        proven=tuple(each for each in full.proven if each.id in looked),
        unreadable=short.unreadable,
    )


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_module, "LOOKED_AT", (2, 4, 6))
    monkeypatch.setattr(status_module, "MOST_LOOKED_AT", 7)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(st.integers(0, 1 << 32))
def test_nothing_is_greener_than_in_a_look_at_everything(seed: int) -> None:
    world = make_world(random.Random(seed))

    short, full = world.status(everything=False), world.status(everything=True)

    pairs = list(zip(short.copies, full.copies, strict=True))
    seen = {each.subject: each for each in full.objectives}
    of_the_part = {
        each.subject: each
        for each in judge_status(
            [only_what_was_looked_at(whole, part) for part, whole in pairs], OBJECTIVES, NOW
        ).objectives
    }
    skewed = any(each.subject == "clocks" and not each.good for each in short.objectives)
    for each in short.objectives:
        if each.good and not seen[each.subject].good:
            if skewed and each.subject.startswith("RPO"):
                continue  # what lies ahead of the clock is red by itself, in both
            scoped = any(word in each.subject for word in SCOPED)
            assert scoped, f"seed {seed}: {each}, but {seen[each.subject]}"
            if each.subject != "proofs can be read":
                assert of_the_part[each.subject].good, f"seed {seed}: {each}"
    assert full.recoverable or not short.recoverable, f"seed {seed}"
    for part, whole in pairs:
        check_part(part, whole, seed)


def check_part(part: CopyStatus, whole: CopyStatus, seed: int) -> None:
    """What was looked at is seen as in the look at everything; only windows may begin later."""
    if part.problem or whole.problem:
        return
    assert whole.looked_since is None
    known = {each.id: each for each in whole.backups}
    assert all(known[each.id] == each for each in part.backups), f"seed {seed}"
    assert set(part.proven) <= set(whole.proven), f"seed {seed}"
    for window in part.windows:
        fitting = [each for each in whole.windows if each.last_segment == window.last_segment]
        assert len(fitting) == 1, f"seed {seed}"
        assert fitting[0].end == window.end, f"seed {seed}"
        assert fitting[0].begins_at <= window.begins_at, f"seed {seed}"
        assert set(window.backups) <= set(fitting[0].backups), f"seed {seed}"
    if part.looked_since is None:
        assert part == whole, f"seed {seed}"


def test_the_random_histories_are_cut_short_and_hold_often_enough_to_mean_anything() -> None:
    cut = held = both = 0
    for seed in range(60):
        status = make_world(random.Random(seed)).status(everything=False)
        short = any(each.looked_since is not None for each in status.copies)
        green = all(each.good for each in status.objectives if each.subject.startswith("RPO"))
        cut, held, both = cut + short, held + green, both + (short and green)

    assert cut > 15
    assert held > 10
    assert both > 3
