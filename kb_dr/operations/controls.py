"""Keep and read the records of negative controls: appended and never rewritten.

They are kept in every repository: that proofs are void must be known wherever one is read.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.control import ControlRun
from kb_dr.errors import KbDrError, ObjectMissing, RepositoryError, UnreadableRecord
from kb_dr.ports import Repository

logger = logging.getLogger(__name__)


def store_control_run(places: Sequence[Repository], run: ControlRun) -> None:
    """Append one record wherever it can be; the error of the first place when it can be nowhere.

    UnreadableRecord when it would not read back as it is.
    """
    key = layout.control_key(run.id)
    body = records.to_json(run)
    if records.from_json(ControlRun, body, what=key) != run:
        raise UnreadableRecord(f"write {key}: it would not read back as what was written")
    failures: list[RepositoryError] = []
    for place in places:
        try:
            place.put(key, body)
        except RepositoryError as error:
            logger.warning("controls %s are not kept in %s: %s", run.id, place.name, error)
            failures.append(error)
    if len(failures) == len(places):
        raise failures[0] if failures else KbDrError(f"store {key}: no repository given")


def load_control_runs(repository: Repository) -> tuple[ControlRun, ...]:
    """Every record kept in this repository.

    One that cannot be read raises UnreadableRecord: it may be the one of a blind verifier.
    """
    return tuple(
        _parse(repository, listed.key, body)
        for listed in repository.list(layout.CONTROLS)
        if (body := _read(repository, listed.key)) is not None
    )


@dataclass(frozen=True, slots=True)
class GatheredControls:
    """The records of all repositories together."""

    runs: tuple[ControlRun, ...]
    problems: tuple[RepositoryError, ...]
    """Why some may be missing: a repository that did not answer, a record that cannot be read
    in any of them."""


def gather_control_runs(repositories: Sequence[Repository]) -> GatheredControls:
    """All records, wherever they are kept: one that is damaged here may be whole there."""
    found: dict[str, ControlRun] = {}
    bad: dict[str, RepositoryError] = {}
    silent: list[RepositoryError] = []
    for repository in repositories:
        try:
            for listed in repository.list(layout.CONTROLS):
                if (body := _read(repository, listed.key)) is None:
                    continue
                try:
                    found[listed.key] = _parse(repository, listed.key, body)
                except UnreadableRecord as error:
                    bad[listed.key] = error
        except RepositoryError as error:
            silent.append(error)
    unread = [error for key, error in bad.items() if key not in found]
    return GatheredControls(tuple(found.values()), (*silent, *unread))


def _read(repository: Repository, key: str) -> bytes | None:
    try:
        return repository.read(key)
    except ObjectMissing:
        return None  # removed since the listing


def _parse(repository: Repository, key: str, body: bytes) -> ControlRun:
    run = records.from_json(ControlRun, body, what=f"{key} of {repository.name}")
    if layout.control_key(run.id) != key:
        raise UnreadableRecord(
            f"read {key} of {repository.name}: it belongs at {layout.control_key(run.id)}"
        )
    return run
