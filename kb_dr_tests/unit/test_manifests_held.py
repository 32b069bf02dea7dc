"""Of all the backups in a copy, only those that something is done with are held whole."""

import gc
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kb_dr.domain import layout
from kb_dr.domain.control import Damage
from kb_dr.domain.manifest import Manifest
from kb_dr.operations.drill import run_drill
from kb_dr.operations.run_controls import ControlTools, run_controls
from kb_dr_tests.fakes import FakeClock, MemoryRepository, PlainCodec, RecordingProgress
from kb_dr_tests.stored_backups import STARTED, store_backup

CODEC = PlainCodec()
BACKUPS = 24
READ_AT_ONCE = 8


class Watching(MemoryRepository):
    """Counts, as the last manifest of a catalog is read, how many others are held whole."""

    def __init__(self) -> None:
        super().__init__()
        for number in range(BACKUPS):
            store_backup(self, CODEC, started=STARTED + timedelta(days=number))
        gc.collect()
        self.others = whole_manifests()
        self.manifests = 0
        self.held = 0

    def read(self, key: str) -> bytes:
        if layout.stamp_of_manifest(key) is not None:
            self.manifests += 1
            if self.manifests == BACKUPS:
                self.held = whole_manifests() - self.others
        return super().read(key)


def whole_manifests() -> int:
    return sum(
        isinstance(each, Manifest) and each.plain_sha256 == "0" * 64 for each in gc.get_objects()
    )


def drill(repository: Watching) -> None:
    limits = SimpleNamespace(rpo_seconds=1.0, rto_seconds=1.0)
    done = run_drill(
        repository, CODEC, FakeClock(), cast("Any", None), limits,
        seed=1, to_the_end=True, checklist=(),
    )  # fmt: skip
    assert done.backups_found == BACKUPS


def controls(repository: Watching) -> None:
    nothing = cast("Any", None)
    tools = ControlTools(
        codec=CODEC, stranger=CODEC, host=nothing, scratch=nothing, inspector=nothing,
        damager=nothing, overlay=nothing, clock=FakeClock(),
    )  # fmt: skip
    no_damages: tuple[Damage, ...] = ()
    run = run_controls(repository, tools, RecordingProgress(), damages=no_damages)
    assert run.manifest_digest


@pytest.mark.parametrize("verb", [controls, drill])
def test_a_catalog_is_not_held_whole(verb: Callable[[Watching], None]) -> None:
    repository = Watching()

    verb(repository)

    assert repository.manifests >= BACKUPS
    assert repository.held <= READ_AT_ONCE
