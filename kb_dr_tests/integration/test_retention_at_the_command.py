"""`kb-dr retention` on a year of backups in a directory: each has its reason; what goes is what was
shown and nothing else; a second run does nothing. Then three years more, a year at a time.

A full backup each day, a proof each Sunday; in the last days an increment each hour.
"""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import kb_dr.cli.retention
from kb_dr import records
from kb_dr.adapters.directory_repository import DirectoryRepository
from kb_dr.cli.app import run
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.fingerprint import Fingerprint
from kb_dr.domain.increment import RECOVERY_POINT
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Manifest, WalPosition, manifest_digest
from kb_dr.domain.proof import Check, Outcome, Proof, Reach, Verdict
from kb_dr.errors import PlanChanged
from kb_dr.installation import Installation
from kb_dr.operations.initialise import init_repository
from kb_dr.settings import load_settings
from kb_dr_tests.fakes import FakeClock, MemoryRepository
from kb_dr_tests.made_history import restorable
from kb_dr_tests.stored_backups import SYSTEM, segment, store_objects

BEGIN = datetime(2027, 3, 1, 2, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURLY_DAYS = 3
SEGMENTS_A_DAY = 4

_TEMPLATE = store_objects(MemoryRepository(), chunks=1)


class Service:
    """A directory repository with a past; its `kb-dr` is run in this process."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock(BEGIN)
        self.root = directory / "repository"
        self.repository = DirectoryRepository(self.root, "primary")
        self.repository.create()
        init_repository(self.repository, self.clock, service="kb", org="default")
        self.day = 0
        self.settings = {
            "KB_DR_REPOSITORY_URL": str(self.root),
            "KB_DR_STATE_DIR": str(directory / "state"),
            "KB_DR_SCRATCH_DIR": str(directory / "scratch"),
        }
        monkeypatch.setattr(
            kb_dr.cli.retention,
            "installation",
            lambda: Installation(load_settings(self.settings), self.clock),
        )
        monkeypatch.setenv("COLUMNS", "300")

    def days(self, count: int, *, hourly: int = 0) -> None:
        """So many days; in the last ``hourly`` ones something is taken each hour."""
        for number in range(count):
            began = self.clock.now()
            full = self._full(began)
            if began.weekday() == 6:
                self._prove(full)
            if number >= count - hourly:
                for hour in range(1, 24):
                    self._point(full, began + hour * HOUR, hour)
            self.day += 1
            self.clock.set(began + DAY)

    def keys(self) -> set[str]:
        """Every object."""
        return {listed.key for listed in self.repository.list("")}

    def _full(self, at: datetime) -> Manifest:
        backup = BackupId.of("kb", BackupKind.FULL, at)
        first = 2 + self.day * SEGMENTS_A_DAY
        for number in range(first, first + SEGMENTS_A_DAY):
            self._put(layout.wal_key(SYSTEM, segment(number).name, "0" * 64), b"wal", at)
        (chunk,), own = _TEMPLATE.chunks, _TEMPLATE.postgres_manifest
        assert own is not None
        made = replace(
            _TEMPLATE,
            id=str(backup),
            started=at,
            finished=at + timedelta(minutes=1),
            wal=WalPosition(1, segment(first).start.plus(0x28), segment(first).start.plus(0x1000)),
            fingerprint=Fingerprint(str(backup), segment(first).start.plus(0x1100), ()),
            chunks=(replace(chunk, key=layout.chunk_key(backup, "a1", 0)),),
            postgres_manifest=replace(own, key=layout.postgres_manifest_key(backup, "a1")),
        )
        for each in made.objects:
            self._put(each.key, b"x" * each.size_bytes, at)
        self._put(layout.manifest_key(backup), records.to_json(made), at)
        return made

    def _point(self, full: Manifest, at: datetime, hour: int) -> None:
        backup = BackupId.of("kb", BackupKind.INCR, at)
        stop = segment(2 + self.day * SEGMENTS_A_DAY + hour // 8).start.plus(0x2000 + hour)
        made = replace(
            full,
            id=str(backup),
            kind=BackupKind.INCR,
            engine=RECOVERY_POINT,
            started=at,
            finished=at + timedelta(minutes=1),
            wal=replace(full.wal, stop=stop),
            fingerprint=Fingerprint(str(backup), stop, ()),
            chunks=(),
            plain_bytes=0,
            postgres_manifest=None,
            parent=full.id,
            parent_digest=manifest_digest(records.to_json(full)),
        )
        self._put(layout.manifest_key(backup), records.to_json(made), at)

    def _prove(self, full: Manifest) -> None:
        at = full.finished + HOUR
        proof = Proof(
            schema_version=records.SCHEMA_VERSION, id=f"{at:%Y%m%d-%H%M%S}-p", backup_id=full.id,
            manifest_digest=manifest_digest(records.to_json(full)), copy="primary",
            url=self.repository.url, started=at, finished=at, verdict=Verdict.PROVEN, reason="",
            checks=(Check("rows", Outcome.PASSED, "there"),), phases=(),
            reach=Reach(1, Lsn(1), 1, Lsn(1), None), tools={}, host="h",
        )  # fmt: skip
        key = layout.proof_key(full.backup_id, "primary", proof.id)
        self._put(key, records.to_json(proof), at)

    def _put(self, key: str, body: bytes, at: datetime) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        os.utime(path, (at.timestamp(), at.timestamp()))


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # a thousand files: seconds
    made = Service(tmp_path, monkeypatch)
    made.days(366, hourly=HOURLY_DAYS)
    return made


class Command:
    """`kb-dr retention`, and what it says."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def says(self, *words: str, status: int = 0) -> str:
        """What it prints when it ends so."""
        self._capsys.readouterr()
        ended = run(["retention", *words])
        said = self._capsys.readouterr()
        assert ended == status, said.err
        return said.out

    def plan(self) -> dict[str, Any]:
        """The plan for machines."""
        (found,) = json.loads(self.says("plan", "--json"))
        assert isinstance(found["plan"], dict)
        return found["plan"]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


def _goes(plan: dict[str, Any], keys: set[str]) -> set[str]:
    """The objects that go by what the plan says."""
    expire = [BackupId.parse(each["id"]) for each in plan["decisions"] if not each["keep"]]
    going = {layout.manifest_key(each) for each in expire}
    prefixes = tuple(layout.backup_prefix(BackupId.parse(name)) for name in plan["purge_now"])
    going |= {key for key in keys if key.startswith(prefixes)}
    named = {key: layout.wal_file_of(key) for key in keys}
    for gone in plan["wal"]:
        found = {
            key
            for key, parts in named.items()
            if parts is not None and gone["first"] <= parts[1] <= gone["last"]
        }
        assert len(found) == gone["files"]
        going |= found
    return going


def _cells(table: str) -> dict[str, list[str]]:
    """Each row by its id; what was folded is put together again."""
    rows: dict[str, list[str]] = {}
    row: list[str] = []
    for line in table.splitlines():
        cells = [each.strip() for each in line.strip("│").split("│")]
        if cells[0].startswith("kb-"):
            row = rows[cells[0]] = cells
        elif len(cells) == len(row) and not cells[0]:
            row[:] = [f"{one} {more}".strip() for one, more in zip(row, cells, strict=True)]
    return rows


def _apply_as_shown(service: Service, command: Command) -> dict[str, Any]:
    plan, before = command.plan(), service.keys()
    stays = {each["id"] for each in plan["decisions"] if each["keep"]}
    fingerprint = plan["fingerprint"][:16]

    command.says("apply", "--plan", fingerprint, "--yes")

    after = service.keys()
    assert before - after == _goes(plan, before)
    assert all(key.startswith((layout.TOMBSTONES, "purged-wal/")) for key in after - before)
    assert restorable(service.repository) == stays

    again = command.plan()
    assert [each["id"] for each in again["decisions"] if not each["keep"]] == []
    assert (again["purge_now"], again["wal"]) == ([], [])
    command.says("apply", "--yes")
    assert service.keys() == after
    return plan


def test_a_year_is_shown_with_reasons_and_goes_as_shown(service: Service, command: Command) -> None:
    before = service.keys()
    plan = command.plan()
    table = command.says("plan")

    assert len(plan["decisions"]) == 366 + HOURLY_DAYS * 23
    rows = _cells(table)
    for each in plan["decisions"]:
        *_, becomes, _, why = rows[each["id"]]
        assert becomes == ("keep" if each["keep"] else "expire")
        assert why == "; ".join(each["reasons"])
    command.says("apply")
    command.says("apply", "--plan", "0" * 16, "--yes", status=PlanChanged.exit_code)
    assert service.keys() == before, "nothing goes but by the plan's name, or without one and --yes"

    _apply_as_shown(service, command)
    for _ in range(2):
        # Nothing for long, then a backup on each day of three weeks.
        service.clock.pass_time(344 * DAY)
        service.days(21)
        applied = _apply_as_shown(service, command)
        assert applied["purge_now"], "what expired a year ago can be brought back no more"
