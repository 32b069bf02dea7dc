"""The marker of a repository: what this place is, and whose.

Without it an empty bucket, or another service's, would look like "no backups yet".
"""

from dataclasses import dataclass
from datetime import datetime

from kb_dr import records
from kb_dr.domain import layout
from kb_dr.domain.local_dump import is_local_file
from kb_dr.errors import ObjectMissing, WrongRepository
from kb_dr.ports import Clock, Repository


@dataclass(frozen=True, slots=True)
class Marker:
    """What ``repository.json`` says."""

    schema_version: int
    service: str
    org: str
    created: datetime


def init_repository(repository: Repository, clock: Clock, *, service: str, org: str) -> Marker:
    """Make this place the repository of ``service``; again is a success.

    Raises WrongRepository when it is another's already, and when something stands here without
    a marker: whatever took the marker may have taken backups with it.
    """
    if not is_ours(repository, service=service, org=org):
        marker = Marker(records.SCHEMA_VERSION, service, org, clock.now())
        repository.put(layout.MARKER, records.to_json(marker))
    return check_marker(repository, service=service, org=org)


def is_ours(repository: Repository, *, service: str, org: str) -> bool:
    """Whether this place is the repository of ``service``, or empty and may become it.

    Raises as init_repository() does, and changes nothing.
    """
    repository.check()
    if repository.find(layout.MARKER) is not None:
        check_marker(repository, service=service, org=org)
        return True
    # Dumps in files of their own may have been put into the same directory before.
    others = (each for each in repository.list("") if not is_local_file(each.key))
    found = next(others, None)
    if found is not None:
        raise WrongRepository(
            f"init {repository.name} ({repository.url}): not empty ({found.key}), no marker",
            hint=f"Choose an empty prefix, or put back its {layout.MARKER} from another copy.",
        )
    return False


def check_marker(repository: Repository, *, service: str, org: str) -> Marker:
    """Read whose repository this is.

    Raises WrongRepository when it is another's or nobody's, UnreadableRecord when the marker
    cannot be read, and what the repository raises when it could not be asked.
    """
    try:
        body = repository.read(layout.MARKER)
    except ObjectMissing as missing:
        raise WrongRepository(
            f"open {repository.name} ({repository.url}): no {layout.MARKER} here",
            hint="Check URL, bucket and prefix; `kb-dr init` makes a new repository. If this one "
            "held backups before, its contents are gone: look at the other copy first.",
        ) from missing
    marker = records.from_json(Marker, body, what=f"{layout.MARKER} of {repository.name}")
    if (marker.service, marker.org) != (service, org):
        raise WrongRepository(
            f"open {repository.name} ({repository.url}): it belongs to service "
            f"{marker.service!r} of {marker.org!r}, expected {service!r} of {org!r}",
            hint="Give each service a bucket or prefix of its own.",
        )
    return marker
