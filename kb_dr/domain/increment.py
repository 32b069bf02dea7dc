"""When an hourly backup is a native increment, when a recovery point, and when a full one.

Pure: what the server says of itself and the chain a backup would continue decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kb_dr.domain.manifest import Manifest
    from kb_dr.domain.source_facts import SourceFacts
    from kb_dr.domain.tablespaces import Tablespace

NATIVE = "native"
"""Engine: files as pg_basebackup sends them, all or those blocks that changed."""

RECOVERY_POINT = "recovery-point"
"""Engine: no files, but the WAL from the parent's start to a restore point."""

_NATIVE_SINCE = 170000
_SOUND_SINCE = {17: 170011, 18: 180006}
"""Older minors leave the visibility map out of WAL summaries: what pg_combinebackup makes of such
increments answers index-only scans wrongly, and neither pg_verifybackup nor amcheck sees it."""


def describe_kind(manifest: Manifest) -> str:
    """What a backup is made of, for people."""
    if manifest.parent is None:
        return str(manifest.kind)
    what = "recovery point" if manifest.engine == RECOVERY_POINT else "increment"
    return f"{what} on {manifest.parent}"


@dataclass(frozen=True, slots=True)
class SourceState:
    """The source as it is now, as far as it decides on increments."""

    facts: SourceFacts
    tablespaces: tuple[Tablespace, ...]


def why_no_native_server(server_version: int, summarizes_wal: bool | None) -> str | None:
    """Why a server of this ``server_version_num`` sends no increments; None when it may."""
    shown = f"{server_version // 10000}.{server_version % 10000}"
    if server_version < _NATIVE_SINCE:
        return f"PostgreSQL {shown} has no incremental backups, they came with 17"
    sound = _SOUND_SINCE.get(server_version // 10000, 0)
    if server_version < sound:
        return (
            f"incremental backups of PostgreSQL {shown} silently corrupt the visibility map "
            f"(index-only scans answer wrongly), expected {sound // 10000}.{sound % 10000} or newer"
        )
    if not summarizes_wal:
        return "summarize_wal is off"
    return None


def why_not_native(state: SourceState, parent: Manifest) -> str | None:
    """Why there can be no native increment to ``parent``; None when there can."""
    why = why_no_native_server(state.facts.server_version, state.facts.summarizes_wal)
    if why is not None:
        return why
    if state.tablespaces or parent.source.tablespaces:
        return "the cluster has extra tablespaces, which cannot be sent as a stream of increments"
    # WAL since the parent began may have been written, and summarized, by the older minor.
    then = why_no_native_server(parent.source.server_version, summarizes_wal=True)
    if then is not None:
        return f"{parent.id} was taken before an upgrade: {then}"
    return None


def why_no_parent(state: SourceState, parent: Manifest) -> str | None:
    """Why nothing may be built on a backup now; None when it may.

    A backup of another line: another cluster, another timeline, or a later state than the
    source is in, as after a file system snapshot was put back.
    """
    facts = state.facts
    if parent.source.system_identifier != facts.system_identifier:
        return (
            f"{parent.id} is of cluster {parent.source.system_identifier}, the source is "
            f"{facts.system_identifier}"
        )
    if parent.wal.timeline != facts.timeline:
        return (
            f"{parent.id} is on timeline {parent.wal.timeline}, the source writes {facts.timeline}"
        )
    if facts.written_lsn < parent.fingerprint.lsn:
        return (
            f"{parent.id} reaches {parent.fingerprint.lsn}, the source only {facts.written_lsn}: "
            "it was set back"
        )
    if parent.source.tablespaces != state.tablespaces:
        return f"tablespaces were created, dropped or renamed since {parent.id}"
    return None
