"""Keep and read tombstones: what became of backups that retention let go of.

Each step is kept in the copy it happened in, where retention goes by it, and in the others as
well, where it survives that copy. Its name says which step it is, so that a listing tells what is
over and done with.
"""

import logging
import re
import secrets
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.stored import Listed
from kb_dr.domain.tombstone import PurgeStep, Tombstone, latest_step
from kb_dr.errors import RepositoryError, UnreadableRecord
from kb_dr.operations.kept_records import keep_record, parse_kept, read_kept
from kb_dr.ports import Clock, Repository

logger = logging.getLogger(__name__)

_TICK = timedelta(milliseconds=1)

_ID = re.compile(r"\d{8}-\d{6}-(expired|undeleted|purged)-[0-9a-f]+")


def store_tombstone(
    repository: Repository,
    others: Sequence[Repository],
    clock: Clock,
    backup: BackupId,
    step: PurgeStep,
    *,
    reason: str,
    digest: str,
    manifest: str = "",
    older: Sequence[Tombstone] = (),
) -> Tombstone:
    """Append one step in the copy it happens in, and then wherever else it can be kept.

    ``older`` are the steps known of this backup in this copy: whatever the clocks say, the new
    one is later. Raises what ``repository`` raises; nothing may be deleted then.
    """
    now = clock.now().astimezone(UTC)
    if (last := latest_step(older)) is not None:
        now = max(now, last.at + _TICK)
    tombstone = Tombstone(
        schema_version=records.SCHEMA_VERSION,
        id=f"{now:%Y%m%d-%H%M%S}-{step}-{secrets.token_hex(4)}",
        backup_id=str(backup),
        copy=repository.name,
        step=step,
        at=now,
        reason=reason,
        host=socket.gethostname(),
        digest=digest,
        manifest=manifest,
    )
    key = _key(tombstone)
    keep_record((repository,), key, tombstone)
    for other in others:
        try:
            keep_record((other,), key, tombstone)
        except RepositoryError as error:
            logger.warning("%s is not kept in %s: %s", key, other.name, error)
    return tombstone


def stand_again(
    repository: Repository,
    others: Sequence[Repository],
    clock: Clock,
    backup: BackupId,
    reason: str,
) -> Tombstone | None:
    """Say that a backup is one again, where the last step says that it goes and its manifest
    stands. None when nothing says that it goes.
    """
    older = read_steps(repository, backup, repository.name)
    last = latest_step(older)
    if last is None or last.step is not PurgeStep.EXPIRED:
        return None
    return store_tombstone(
        repository, others, clock, backup, PurgeStep.UNDELETED,
        reason=reason, digest=last.digest, older=older,
    )  # fmt: skip


def load_tombstones(repository: Repository) -> dict[str, list[Tombstone]]:
    """Every step kept in this repository, of whatever copy: backup id to its steps, oldest first.

    Without the manifests' texts, which read_steps() gives: there may be thousands. Raises
    UnreadableRecord for one that cannot be read, and what the repository raises.
    """
    found: dict[str, list[Tombstone]] = defaultdict(list)
    for listed in repository.list(layout.TOMBSTONES):
        if (step := _read(repository, listed.key)) is not None:
            found[step.backup_id].append(replace(step, manifest=""))
    return {name: _in_order(steps) for name, steps in found.items()}


@dataclass(frozen=True, slots=True)
class OpenSteps:
    """The steps in one copy of one backup that is not purged there."""

    backup_id: str
    steps: tuple[Tombstone, ...]
    """Whole, oldest first; at least one."""
    stored: datetime
    """When the newest was stored, by the store's clock."""

    @property
    def last(self) -> Tombstone:
        """Where the backup stands."""
        return self.steps[-1]


def open_tombstones(repository: Repository) -> Iterator[OpenSteps]:
    """The steps in this very copy of every backup that is not purged yet, one after the other.

    What is purged is told by the names alone, so that the cost does not grow with the years.
    Raises as load_tombstones() does.
    """
    for backup_id, listed in _grouped(repository):
        if _is_last(PurgeStep.PURGED, [each.key for each in listed]):
            continue
        read = [step for each in listed if (step := _read(repository, each.key)) is not None]
        if read:
            stored = max(each.modified for each in listed)
            yield OpenSteps(backup_id, tuple(_in_order(read)), stored)


def may_be_open(repository: Repository) -> set[str]:
    """The ids of backups that some copy has let go of and not purged, by the names of the records
    kept here: nothing is read, and what the names do not tell is named.
    """
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for listed in repository.list(layout.TOMBSTONES):
        backup_id, _, rest = listed.key.removeprefix(layout.TOMBSTONES).partition("/")
        found[backup_id, rest.partition("/")[0]].append(listed.key)
    return {name for (name, _), keys in found.items() if not _is_last(PurgeStep.PURGED, keys)}


def read_steps(repository: Repository, backup: BackupId, copy: str) -> list[Tombstone]:
    """The steps of one backup in one copy that are kept here, oldest first, whole."""
    prefix = f"{layout.tombstones_prefix(backup)}{copy}/"
    read = (_read(repository, listed.key) for listed in repository.list(prefix))
    return _in_order([each for each in read if each is not None])


def expired_in(tombstones: Mapping[str, Sequence[Tombstone]], copy: str) -> dict[str, Tombstone]:
    """The backups that this copy has let go of and not taken back, with the newest step of each.

    None of them is to be brought to that copy again.
    """
    found: dict[str, Tombstone] = {}
    for name, steps in tombstones.items():
        last = latest_step(each for each in steps if each.copy == copy)
        if last is not None and last.step is not PurgeStep.UNDELETED:
            found[name] = last
    return found


def _grouped(repository: Repository) -> Iterator[tuple[str, list[Listed]]]:
    """What is listed of this copy's steps, backup by backup, in order."""
    current, found = "", list[Listed]()
    for listed in repository.list(layout.TOMBSTONES):
        backup_id, _, rest = listed.key.removeprefix(layout.TOMBSTONES).partition("/")
        if not rest.startswith(f"{repository.name}/"):
            continue
        if backup_id != current and found:
            yield current, found
            found = []
        current = backup_id
        found.append(listed)
    if found:
        yield current, found


def _is_last(step: PurgeStep, keys: Sequence[str]) -> bool:
    """Whether the newest of these names, which begin with the time, says so.

    Of two within one second nobody can tell by the name.
    """
    names = [key.rpartition("/")[2] for key in keys]
    match = _ID.fullmatch(names[-1].removesuffix(".json"))
    alone = [name[:15] for name in names].count(names[-1][:15]) == 1
    return match is not None and match[1] == step and alone


def _read(repository: Repository, key: str) -> Tombstone | None:
    if not key.endswith(".json") or (body := read_kept(repository, key)) is None:
        return None
    return parse_kept(repository, key, body, Tombstone, _key)


def _in_order(steps: Sequence[Tombstone]) -> list[Tombstone]:
    return sorted(steps, key=lambda each: (each.at, each.id))


def _key(tombstone: Tombstone) -> str:
    try:
        backup = BackupId.parse(tombstone.backup_id)
    except ValueError as error:
        raise UnreadableRecord(f"read tombstone {tombstone.id}: {error}") from error
    return layout.tombstone_key(backup, tombstone.copy, tombstone.id)
