"""Keep and read the records of drills: evidence, appended and never rewritten."""

import logging

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.drill import Drill
from kb_dr.domain.drill_report import drill_report
from kb_dr.errors import KbDrError, ObjectMissing, RepositoryError, UnreadableRecord
from kb_dr.ports import Repository

logger = logging.getLogger(__name__)


def store_drill(places: tuple[Repository, ...], drill: Drill) -> None:
    """Append one drill, as a record and as a report, wherever it can be.

    The error of the first place when it can be nowhere.
    """
    key = layout.drill_key(drill.id)
    body = records.to_json(drill)
    if records.from_json(Drill, body, what=key) != drill:
        raise UnreadableRecord(f"write {key}: it would not read back as what was written")
    failures: list[RepositoryError] = []
    for place in places:
        try:
            place.put(layout.drill_key(drill.id, "md"), drill_report(drill).encode())
            place.put(key, body)
        except RepositoryError as error:
            logger.warning("drill %s is not kept in %s: %s", drill.id, place.name, error)
            failures.append(error)
    if len(failures) == len(places):
        raise failures[0] if failures else KbDrError(f"store {key}: no repository given")


def load_drills(repository: Repository) -> tuple[Drill, ...]:
    """Every drill kept in this repository, of whatever copy, oldest first.

    A record that cannot be read raises UnreadableRecord: it may be the one that failed.
    """
    found = []
    for listed in repository.list(layout.DRILLS):
        if not listed.key.endswith(".json"):
            continue
        try:
            body = repository.read(listed.key)
        except ObjectMissing:
            continue  # removed since the listing
        found.append(records.from_json(Drill, body, what=f"{listed.key} of {repository.name}"))
    return tuple(sorted(found, key=lambda drill: (drill.started, drill.id)))
