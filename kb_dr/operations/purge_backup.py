"""Let go of a backup: first its manifest, so that it is no backup any more; later its objects.

A tombstone that holds the manifest's text is written before the manifest goes, so the backup can be
brought back for as long as its objects stand. Each step may be done again: killed anywhere, the
next run finds what is left to do.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kb_dr.domain import layout
from kb_dr.domain.backup_id import BackupId
from kb_dr.domain.manifest import manifest_digest
from kb_dr.domain.stored import NO_END
from kb_dr.domain.tombstone import PurgeStep, latest_step
from kb_dr.domain.wording import moment
from kb_dr.errors import (
    ObjectMissing,
    ObjectRetained,
    PlanChanged,
    RepositoryError,
    RetentionBlocked,
)
from kb_dr.operations.gather_retention import buried_manifest
from kb_dr.operations.holds import gather_holds
from kb_dr.operations.run_parallel import run_parallel
from kb_dr.operations.tombstones import read_steps, stand_again, store_tombstone
from kb_dr.ports import Clock, Repository

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    """What became of one backup."""

    EXPIRED = "expired"
    PURGED = "purged"
    BROUGHT_BACK = "brought back"
    RETAINED = "retained"
    """The store refuses to delete it. It stands as before."""
    SPARED = "spared"
    """Something came that speaks for it after the plan was made. It stands as before."""
    GONE = "gone"
    """Somebody else was faster."""


@dataclass(frozen=True, slots=True)
class Dealt:
    """What was done with one backup, and why."""

    backup_id: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class PurgeTools:
    """The copy at work, and what is asked before anything goes."""

    repository: Repository
    places: Sequence[Repository]
    """Every copy, this one among them: a hold in any of them counts."""
    clock: Clock
    needed_by: Callable[[str], str | None]
    """Which backup that stands is built upon this one."""
    at_once: int = 4
    """Objects removed at once."""

    @property
    def others(self) -> tuple[Repository, ...]:
        """The other copies, which keep each step as well."""
        return tuple(each for each in self.places if each.name != self.repository.name)


def expire_backup(tools: PurgeTools, backup: BackupId, digest: str, reason: str) -> Dealt:
    """Write the tombstone, then remove the manifest; the objects stay.

    What speaks for the backup is asked before the tombstone and again behind it: whoever holds a
    backup looks, after that, whether it has expired. So one of the two always sees the other.
    Raises PlanChanged when another manifest stands, RetentionBlocked when a hold cannot be read.
    """
    repository, key = tools.repository, layout.manifest_key(backup)
    if (retained := _retained(repository, layout.backup_prefix(backup))) is not None:
        return Dealt(str(backup), Outcome.RETAINED, retained)
    if (why := _why_it_stays(tools, backup)) is not None:
        return Dealt(str(backup), Outcome.SPARED, why)
    try:
        body = repository.read(key)
    except ObjectMissing:
        return Dealt(str(backup), Outcome.GONE, "its manifest had gone already")
    if manifest_digest(body) != digest:
        raise PlanChanged(f"expire {backup} of {repository.name}: another manifest stands there")
    older = read_steps(repository, backup, repository.name)
    expired = store_tombstone(
        repository, tools.others, tools.clock, backup, PurgeStep.EXPIRED,
        reason=reason, digest=digest, manifest=body.decode(), older=older,
    )  # fmt: skip
    buried_manifest(expired)  # what could not be brought back does not go
    if (why := _why_it_stays(tools, backup)) is not None:
        _stand_again(tools, backup, why)
        return Dealt(str(backup), Outcome.SPARED, why)
    try:
        repository.delete(key)
    except ObjectRetained as error:
        _stand_again(tools, backup, str(error))
        return Dealt(str(backup), Outcome.RETAINED, str(error))
    if repository.find(key) is not None:
        raise RepositoryError(f"expire {backup}: its manifest still stands in {repository.name}")
    logger.info("%s expired in %s: %s", backup, repository.name, reason)
    return Dealt(str(backup), Outcome.EXPIRED, reason)


def purge_backup(tools: PurgeTools, backup: BackupId) -> Dealt:
    """Remove the objects of a backup that expired; never while its manifest stands.

    Chunks first, PostgreSQL's manifest last. Raises RetentionBlocked when a hold cannot be read,
    UnreadableRecord when the tombstone cannot.
    """
    repository, name = tools.repository, str(backup)
    steps = read_steps(repository, backup, repository.name)
    last = latest_step(steps)
    if last is None or last.step is not PurgeStep.EXPIRED:
        return Dealt(name, Outcome.GONE, f"the last step was {last.step if last else 'none'}")
    manifest = buried_manifest(last)
    prefix = layout.attempt_prefix(backup, manifest.attempt)
    if (retained := _retained(repository, prefix)) is not None:
        return Dealt(name, Outcome.RETAINED, retained)
    if (why := _why_it_stays(tools, backup)) is not None:
        return Dealt(name, Outcome.SPARED, why)
    own = layout.postgres_manifest_key(backup, manifest.attempt)
    keys = sorted((each.key for each in repository.list(prefix)), key=lambda key: (key == own, key))
    if repository.find(layout.manifest_key(backup)) is not None:
        return Dealt(name, Outcome.SPARED, "its manifest stands")
    try:
        run_parallel([key for key in keys if key != own], repository.delete, at_once=tools.at_once)
        if own in keys:
            repository.delete(own)
    except ObjectRetained as error:
        return Dealt(name, Outcome.RETAINED, str(error))
    if (left := next(iter(repository.list(prefix)), None)) is not None:
        raise RepositoryError(f"purge {backup}: {left.key} still stands in {repository.name}")
    store_tombstone(
        repository, tools.others, tools.clock, backup, PurgeStep.PURGED,
        reason=last.reason, digest=last.digest, older=steps,
    )  # fmt: skip
    logger.info("%s purged from %s, %d objects", backup, repository.name, len(keys))
    return Dealt(name, Outcome.PURGED, f"{len(keys)} objects, expired {moment(last.at)}")


def _stand_again(tools: PurgeTools, backup: BackupId, reason: str) -> None:
    stand_again(tools.repository, tools.others, tools.clock, backup, reason)


def _why_it_stays(tools: PurgeTools, backup: BackupId) -> str | None:
    gathered = gather_holds(tools.places, backup)
    if gathered.problems:
        raise RetentionBlocked(
            f"look for holds of {backup}: {gathered.problems[0]}"
        ) from gathered.problems[0]
    if held := gathered.in_force(str(backup)):
        return f"held: {held[0].reason}"
    if (child := tools.needed_by(str(backup))) is not None:
        return f"{child}, which stands, is built upon it"
    return None


def _retained(repository: Repository, prefix: str) -> str | None:
    until = repository.retained_until(prefix)
    if until is None:
        return None
    return "held by the store (legal hold)" if until == NO_END else f"until {moment(until)}"
