"""Take the hourly backup: a native increment, else a recovery point, else a full one."""

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId, BackupKind
from kb_dr.domain.increment import SourceState
from kb_dr.domain.manifest import StoredManifest
from kb_dr.errors import BrokenChain, PostgresError, WalSummariesMissing
from kb_dr.operations.backup_chain import load_chain
from kb_dr.operations.backup_run import BackupRun, BackupTools, backup_run
from kb_dr.operations.base_backup import Parent, take_into
from kb_dr.operations.catalog import read_manifest
from kb_dr.operations.choose_increment import Increment, NoParent, choose_increment
from kb_dr.operations.name_backup import next_backup_id
from kb_dr.operations.recovery_point import take_recovery_point
from kb_dr.operations.room import look_at_room, newest_full, require_room
from kb_dr.ports import BaseBackupProgram, Clock, Codec, Progress, Repository, SourceServer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChainRules:
    """What a parent has to be."""

    copies: Mapping[str, str]
    """Name to address of every copy: a parent that FAILED in one of them is none."""
    longest: int
    """Incremental backups on one full; hours a recovery point may come after it."""


def take_incremental_backup(
    repository: Repository,
    codec: Codec,
    source: SourceServer,
    program: BaseBackupProgram,
    clock: Clock,
    progress: Progress,
    tools: BackupTools,
    rules: ChainRules,
    *,
    backup: BackupId | None = None,
) -> StoredManifest:
    """Take what the server and the repository allow; the notes of the manifest say why no more.

    Without a usable parent it is a full backup, with an id of that kind: of the moment ``backup``
    names when that was promised; NotEnoughSpace, before a byte of it is asked for, when less is
    free there than the last one took. Else as take_base_backup(), whose errors it raises.
    """
    with backup_run(
        repository, codec, source, program, clock, progress, tools,
        lambda started: backup
        or next_backup_id(repository, tools.service, started, BackupKind.INCR),
    ) as run:  # fmt: skip
        state = SourceState(source.facts(), source.tablespaces())
        if state.facts.is_standby:
            raise PostgresError(
                f"back up {run.backup}: the source is a standby",
                hint="Point KB_DB_HOST at the primary: a restore point can only be written there.",
            )

        def choose(state: SourceState) -> Increment | NoParent:
            return choose_increment(
                repository,
                state,
                run.backup,
                clock,
                copies=rules.copies,
                longest_chain=rules.longest,
            )

        choice = choose(state)
        try:
            return _take(run, choice)
        except WalSummariesMissing as error:
            # Refused before its first byte. What it might have left is of another attempt.
            again = replace(run, attempt=secrets.token_hex(6))
            none = replace(state, facts=replace(state.facts, summarizes_wal=False))
            return _take(again, _because(choose(none), str(error)))


def _because(choice: Increment | NoParent, why: str) -> Increment | NoParent:
    """The same with the true reason: the server did not say it before it was asked."""
    return replace(choice, why=why) if isinstance(choice, Increment) else choice


def _take(run: BackupRun, choice: Increment | NoParent) -> StoredManifest:
    if isinstance(choice, NoParent):
        full = _as_full(run, choice.why)
        if full.repository.space() is not None:
            # As for one that was asked for: a disk that fills up takes the WAL archive with it.
            room = look_at_room(full.repository, 100.0, newest_full(full.repository))
            require_room(full.repository, room.needed_bytes, f"back up {full.backup}")
        return take_into(full)
    parent, body = choice.parent, choice.postgres_manifest_zst

    def chain_stands() -> None:
        """Another host may have expired or replaced a link of it while this was taken."""
        found = read_manifest(run.repository, parent.manifest.backup_id)
        if found.digest != parent.digest:
            raise BrokenChain(
                f"complete {run.backup}: {parent.manifest.id} is now {found.digest}, expected "
                f"{parent.digest}"
            )
        load_chain(run.repository, found)

    if body is None:
        return take_recovery_point(_as_point(run, choice.why), parent, last_question=chain_stands)
    return take_into(run, Parent(parent, body), last_question=chain_stands)


def _as_point(run: BackupRun, why: str) -> BackupRun:
    note = f"a recovery point, no native increment: {why}"
    logger.info("%s is %s", run.backup, note)
    return replace(run, notes=(note,))


def _as_full(run: BackupRun, why: str) -> BackupRun:
    wanted = BackupId(run.backup.service, BackupKind.FULL, run.backup.stamp)
    if run.repository.find(layout.manifest_key(wanted)) is not None:
        wanted = next_backup_id(run.repository, run.backup.service, run.started)
    note = f"a full backup, not {run.backup}, since it has no usable parent: {why}"
    logger.info("%s is %s", wanted, note)
    return replace(run, backup=wanted, notes=(note,))
