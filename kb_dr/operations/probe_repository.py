"""Really write to a repository, and read back what was written: a listing proves neither."""

import logging
from datetime import UTC, datetime, timedelta

from kb_dr.domain import layout
from kb_dr.domain.watch.copies import Probed
from kb_dr.errors import ChecksumMismatch, RepositoryError
from kb_dr.ports import Clock, Repository

logger = logging.getLogger(__name__)

_QUARTER = timedelta(minutes=15)
_KEPT = timedelta(days=1)
_STAMP = "%Y%m%d-%H%M%S"


def probe_repository(repository: Repository, clock: Clock, host: str) -> Probed:
    """Read this host's probe of this quarter of an hour; write it first where there is none.

    So at most four objects an hour are written, and a repository that stopped taking them is seen
    within a quarter of an hour. Raises what the repository raises, ChecksumMismatch when the
    probe reads back as something else. Probes of more than a day ago are removed as far as the
    store lets us: one that is retained, or may not be deleted, is left.
    """
    began, now = clock.monotonic(), clock.now()
    quarter = now.astimezone(UTC) - (now - datetime.min.replace(tzinfo=UTC)) % _QUARTER
    key = layout.probe_key(quarter.strftime(_STAMP), host)
    found = repository.find(key)
    if found is not None and found.modified < quarter - _QUARTER:
        # Left by a clock that ran ahead: it says nothing of now. Stores allow so much skew.
        key = layout.probe_key(now.astimezone(UTC).strftime(_STAMP), f"{host}-again")
        found = repository.find(key)
    body = f"kb_dr could write here: {key}\n".encode()
    if found is None:
        repository.put(key, body)
    seen = repository.read(key)
    if seen != body:
        raise ChecksumMismatch(
            f"read {repository.url}/{key}: {len(seen)} bytes, expected the {len(body)} written",
            hint="What is stored there reads back as something else: use no backup of this copy "
            "before `kb-dr validate`.",
        )
    if found is None:
        _remove_old(repository, quarter - _KEPT)
    written_at = now if found is None else found.modified
    return Probed(written_at, clock.monotonic() - began)


def _remove_old(repository: Repository, before: datetime) -> None:
    try:
        # Listed to the end first: nothing is removed from under a listing.
        listed = [each.key for each in repository.list(layout.PROBES)]
        for key in listed:
            stamp = layout.stamp_of_probe(key)
            if stamp is not None and stamp < before.strftime(_STAMP):
                repository.delete(key)
    except RepositoryError as error:
        # Oldest first: where one is retained those behind it are, too.
        logger.debug("old probes stay in %s: %s", repository.name, error)
