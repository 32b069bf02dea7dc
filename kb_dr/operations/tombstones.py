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
from dataclasses import replace
from datetime import UTC, timedelta

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
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


def load_open_tombstones(repository: Repository) -> dict[str, list[Tombstone]]:
    """The steps in this very copy of every backup that is not purged yet, oldest first.

    What is purged is told by the names alone, so that the cost does not grow with the years.
    Without the manifests' texts. Raises as load_tombstones() does.
    """
    found: dict[str, list[Tombstone]] = {}
    for backup_id, keys in _grouped(repository):
        if _is_last_purged(keys):
            continue
        read = [each for key in keys if (each := _read(repository, key)) is not None]
        if read:
            found[backup_id] = _in_order([replace(each, manifest="") for each in read])
    return found


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


def _grouped(repository: Repository) -> Iterator[tuple[str, list[str]]]:
    """The keys of this copy's steps, backup by backup, in order."""
    current, keys = "", list[str]()
    for listed in repository.list(layout.TOMBSTONES):
        backup_id, _, rest = listed.key.removeprefix(layout.TOMBSTONES).partition("/")
        if not rest.startswith(f"{repository.name}/"):
            continue
        if backup_id != current and keys:
            yield current, keys
            keys = []
        current = backup_id
        keys.append(listed.key)
    if keys:
        yield current, keys


def _is_last_purged(keys: Sequence[str]) -> bool:
    """Whether the newest of these names, which begin with the time, is of a purge.

    Of two within one second nobody can tell by the name: they are read.
    """
    stamps = [key.rpartition("/")[2][:15] for key in keys]
    return _step_of(keys[-1]) is PurgeStep.PURGED and stamps.count(stamps[-1]) == 1


def _step_of(key: str) -> PurgeStep | None:
    match = _ID.fullmatch(key.rpartition("/")[2].removesuffix(".json"))
    return PurgeStep(match[1]) if match else None


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
