"""Small records as evidence: appended wherever they can be, never rewritten, read back strictly."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from kb_dr import records
from kb_dr.errors import KbDrError, ObjectMissing, RepositoryError, UnreadableRecord
from kb_dr.ports import Repository

logger = logging.getLogger(__name__)

T = TypeVar("T")


def keep_record(places: Sequence[Repository], key: str, record: object) -> None:
    """Append a record in each place; the error of the first place when it can be kept nowhere.

    Evidence kept once counts: each reader looks into every repository. A copy that broke while
    it was read must not keep its own red record from being kept elsewhere. Raises UnreadableRecord
    when it would not read back as it is.
    """
    body = records.to_json(record)
    if records.from_json(type(record), body, what=key) != record:
        raise UnreadableRecord(f"write {key}: it would not read back as what was written")
    keep_bytes(places, key, body)


def keep_bytes(places: Sequence[Repository], key: str, body: bytes) -> None:
    """The same with bytes as they are."""
    failures: list[RepositoryError] = []
    for place in places:
        try:
            place.put(key, body)
        except RepositoryError as error:
            logger.warning("%s is not kept in %s: %s", key, place.name, error)
            failures.append(error)
    if len(failures) == len(places):
        raise failures[0] if failures else KbDrError(f"store {key}: no repository given")


def read_kept(repository: Repository, key: str) -> bytes | None:
    """The bytes of a record that was listed; None when it has been removed since."""
    try:
        return repository.read(key)
    except ObjectMissing:
        return None


def parse_kept(
    repository: Repository, key: str, body: bytes, kind: type[T], key_of: Callable[[T], str]
) -> T:
    """One record; UnreadableRecord also when it stands where another one belongs."""
    record = records.from_json(kind, body, what=f"{key} of {repository.name}")
    if key_of(record) != key:
        raise UnreadableRecord(f"read {key} of {repository.name}: it belongs at {key_of(record)}")
    return record


def load_kept(
    repository: Repository, prefix: str, kind: type[T], key_of: Callable[[T], str]
) -> list[T]:
    """Every record under a prefix.

    One that cannot be read raises UnreadableRecord: it may be the one that says FAILED.
    """
    return [
        parse_kept(repository, listed.key, body, kind, key_of)
        for listed in repository.list(prefix)
        if listed.key.endswith(".json") and (body := read_kept(repository, listed.key)) is not None
    ]
