"""What a server may send, and what may be a parent: the rule alone."""

from dataclasses import replace

import pytest

from kb_dr.domain.increment import (
    SourceState,
    describe_kind,
    why_no_native_server,
    why_no_parent,
    why_not_native,
)
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Manifest
from kb_dr.domain.tablespaces import Tablespace
from kb_dr_tests.fakes import MemoryRepository, PlainCodec
from kb_dr_tests.made_chains import store_increment
from kb_dr_tests.made_stream import FACTS
from kb_dr_tests.stored_backups import SYSTEM, store_backup

SPACES = (Tablespace(16400, "fast", "/mnt/fast"),)


def state(
    version: int = 170011,
    *,
    summarizes: bool | None = True,
    system: int = SYSTEM,
    timeline: int = 1,
    written: Lsn | None = None,
    tablespaces: tuple[Tablespace, ...] = (),
) -> SourceState:
    """A source; by default one that may send increments."""
    facts = replace(
        FACTS,
        server_version=version,
        summarizes_wal=summarizes,
        system_identifier=system,
        timeline=timeline,
        written_lsn=written or Lsn(0x10000000),
    )
    return SourceState(facts, tablespaces)


def a_parent(version: int = 170011, tablespaces: tuple[Tablespace, ...] = ()) -> Manifest:
    """A full backup."""
    made = store_backup(MemoryRepository(), PlainCodec()).manifest
    return replace(
        made, source=replace(made.source, server_version=version, tablespaces=tablespaces)
    )


@pytest.mark.parametrize("version", [170011, 170012, 180006, 180010, 190000, 190003])
def test_sound_minors_send_increments(version: int) -> None:
    assert why_no_native_server(version, summarizes_wal=True) is None


@pytest.mark.parametrize("version", [170000, 170010, 180000, 180004, 180005])
def test_minors_that_corrupt_silently_are_refused_with_that_reason(version: int) -> None:
    why = why_no_native_server(version, summarizes_wal=True)

    assert why is not None
    assert "silently corrupt the visibility map" in why
    assert f"{version // 10000}.{version % 10000} " in why
    assert ("17.11" if version < 180000 else "18.6") in why


@pytest.mark.parametrize("version", [140023, 160015])
def test_before_17_there_are_none(version: int) -> None:
    assert "came with 17" in (why_no_native_server(version, summarizes_wal=None) or "")


@pytest.mark.parametrize("summarizes", [False, None])
def test_without_wal_summaries_there_are_none(summarizes: bool | None) -> None:
    assert why_no_native_server(170011, summarizes) == "summarize_wal is off"


def test_a_parent_of_an_older_minor_is_none_for_a_native_increment() -> None:
    """Its WAL was written, and may have been summarized, before the upgrade."""
    why = why_not_native(state(170011), a_parent(170010))

    assert why is not None
    assert "before an upgrade" in why
    assert why_not_native(state(170012), a_parent(170011)) is None


def test_extra_tablespaces_allow_no_native_increment() -> None:
    parent = a_parent(tablespaces=SPACES)

    assert "tablespaces" in (why_not_native(state(tablespaces=SPACES), parent) or "")
    assert why_no_parent(state(tablespaces=SPACES), parent) is None, "a recovery point may follow"


def test_a_backup_of_the_same_line_is_a_parent() -> None:
    assert why_no_parent(state(), a_parent()) is None


@pytest.mark.parametrize(
    ("source", "word"),
    [
        (state(system=SYSTEM + 1), f"the source is {SYSTEM + 1}"),
        (state(timeline=2), "the source writes 2"),
        (state(written=Lsn(0x300000)), "set back"),
        (state(tablespaces=SPACES), "tablespaces"),
    ],
)
def test_a_backup_of_another_line_is_none(source: SourceState, word: str) -> None:
    assert word in (why_no_parent(source, a_parent()) or "")


def test_a_kind_is_said_in_words() -> None:
    repository, codec = MemoryRepository(), PlainCodec()
    full = store_backup(repository, codec)
    native = store_increment(repository, codec, full)
    point = store_increment(repository, codec, native, files=False)

    assert describe_kind(full.manifest) == "full"
    assert describe_kind(native.manifest) == f"increment on {full.manifest.id}"
    assert describe_kind(point.manifest) == f"recovery point on {native.manifest.id}"
