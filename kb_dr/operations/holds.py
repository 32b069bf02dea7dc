"""Keep and read holds: appended in every copy that answers, and read from all of them.

A backup is held when any copy says so: a hold that one copy lost, or never got, counts all the
same. So whoever deletes has to ask each of them, and stop when one of them cannot tell.
"""

import secrets
import socket
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.hold import HoldAction, HoldEvent, holds_in_force
from kb_dr.domain.tombstone import PurgeStep, latest_step
from kb_dr.errors import ConfigurationError, RepositoryError, UnreadableRecord
from kb_dr.operations.kept_records import keep_record, parse_kept, read_kept
from kb_dr.operations.tombstones import read_steps
from kb_dr.ports import Clock, Repository


@dataclass(frozen=True, slots=True)
class GatheredHolds:
    """The holds of all repositories together."""

    events: Mapping[str, tuple[HoldEvent, ...]]
    """Backup id to everything said of it, in no order."""
    problems: tuple[RepositoryError, ...]
    """Why some may be missing: a repository that did not answer, a record that can be read in
    none of them. Nothing may be purged while there is one."""

    def in_force(self, backup_id: str) -> tuple[HoldEvent, ...]:
        """The holds of one backup that nobody has released, oldest first."""
        return holds_in_force(self.events.get(backup_id, ()))


def gather_holds(
    repositories: Sequence[Repository], backup: BackupId | None = None
) -> GatheredHolds:
    """All holds and releases (of one backup), wherever they are kept.

    A record that is damaged here may be whole there. Raises nothing of ours.
    """
    prefix = layout.HOLDS if backup is None else layout.holds_prefix(backup)
    found: dict[str, HoldEvent] = {}
    bad: dict[str, RepositoryError] = {}
    silent: list[RepositoryError] = []
    for repository in repositories:
        try:
            for listed in repository.list(prefix):
                if listed.key in found or (body := read_kept(repository, listed.key)) is None:
                    continue
                try:
                    found[listed.key] = parse_kept(repository, listed.key, body, HoldEvent, _key)
                except UnreadableRecord as error:
                    bad[listed.key] = error
        except RepositoryError as error:
            silent.append(error)
    events: dict[str, list[HoldEvent]] = defaultdict(list)
    for event in found.values():
        events[event.backup_id].append(event)
    unread = [error for key, error in bad.items() if key not in found]
    return GatheredHolds({name: tuple(each) for name, each in events.items()}, (*silent, *unread))


def hold(places: Sequence[Repository], clock: Clock, backup: BackupId, reason: str) -> HoldEvent:
    """Hold a backup in every copy from here on; a second hold is one more, with its own reason.

    Raises ConfigurationError without a reason, and the error of the first copy when the hold can
    be kept nowhere.
    """
    return _keep(places, clock, backup, HoldAction.HOLD, reason)


def release(
    places: Sequence[Repository],
    clock: Clock,
    backup: BackupId,
    reason: str,
    holds: Sequence[HoldEvent],
) -> HoldEvent:
    """End these holds of a backup, by name: one that was not seen stays. Raises as hold() does."""
    names = tuple(each.id for each in holds)
    return _keep(places, clock, backup, HoldAction.RELEASE, reason, names)


def where_it_stands(
    backup: BackupId, places: Sequence[Repository]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The copies in which a backup stands, and those that have let go of it, or are about to.

    Asked behind a hold: retention writes that a backup goes, and then looks for holds once more.
    """
    here: list[str] = []
    expired: list[str] = []
    for place in places:
        stands = place.find(layout.manifest_key(backup)) is not None
        last = latest_step(read_steps(place, backup, place.name))
        if last is not None and last.step is PurgeStep.EXPIRED:
            expired.append(place.name)
        elif stands:
            here.append(place.name)
    return tuple(here), tuple(expired)


def _keep(
    places: Sequence[Repository],
    clock: Clock,
    backup: BackupId,
    action: HoldAction,
    reason: str,
    releases: tuple[str, ...] = (),
) -> HoldEvent:
    if not reason.strip():
        raise ConfigurationError(
            f"{action} {backup}: no reason given",
            hint='Say why, for whoever reads it in a year: --reason "audit of 2026".',
        )
    now = clock.now().astimezone(UTC)
    event = HoldEvent(
        schema_version=records.SCHEMA_VERSION,
        id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}",
        backup_id=str(backup),
        action=action,
        at=now,
        reason=reason.strip(),
        host=socket.gethostname(),
        releases=releases,
    )
    keep_record(places, _key(event), event)
    return event


def _key(event: HoldEvent) -> str:
    try:
        backup = BackupId.parse(event.backup_id)
    except ValueError as error:
        raise UnreadableRecord(f"read hold {event.id}: {error}") from error
    return layout.hold_key(backup, event.id)
