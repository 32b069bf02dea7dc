"""Values as JSON: every manifest, proof and record in the repository is written and read here.

Reading is strict: a missing field, a wrong type or an unknown schema version is an
UnreadableRecord, never a default. Fields this version does not know are passed over, so that an
older kb_dr can read what a newer one added without changing the meaning of the rest.
"""

from threading import Lock
from typing import Any, TypeVar, get_origin

import msgspec

from kb_dr.domain.lsn import Lsn
from kb_dr.errors import UnreadableRecord

SCHEMA_VERSION = 1

T = TypeVar("T")


def to_json(value: object) -> bytes:
    """The value as indented JSON with sorted keys: the same value gives the same bytes."""
    plain = msgspec.json.encode(as_builtins(value), order="sorted")
    return msgspec.json.format(plain, indent=2) + b"\n"


def as_builtins(value: object) -> Any:
    """The value as dicts, lists, strings and numbers, for other writers of JSON and YAML."""
    return msgspec.to_builtins(value, enc_hook=_encode)


def from_json(kind: type[T], body: bytes, *, what: str) -> T:
    """Read one record; ``what`` names it in the error."""
    try:
        version = _decoder(_Versioned).decode(body).schema_version
    except msgspec.MsgspecError as error:
        raise UnreadableRecord(f"read {what}: {error}") from error
    if version != SCHEMA_VERSION:
        raise UnreadableRecord(
            f"read {what}: schema version {version}, expected {SCHEMA_VERSION}",
            hint="It was written by another version of kb_dr; use that version, or a newer one.",
        )
    try:
        return _decoder(kind).decode(body)
    except msgspec.MsgspecError as error:
        raise UnreadableRecord(f"read {what}: {error}") from error


def schema_version_of(body: bytes) -> int | None:
    """The schema version a record claims; None when it claims none."""
    try:
        return _decoder(_Versioned).decode(body).schema_version
    except msgspec.MsgspecError:
        return None


def from_builtins(kind: type[T], plain: object) -> T:
    """A value from dicts, lists, strings and numbers, as strictly as from_json() reads one.

    Raises msgspec.ValidationError when they make none.
    """
    _decoder(kind)
    return msgspec.convert(plain, kind, dec_hook=_decode)


class _Versioned(msgspec.Struct):
    schema_version: int


_BUILDING = Lock()
_DECODERS: dict[Any, msgspec.json.Decoder[Any]] = {}


def _decoder(kind: type[T]) -> msgspec.json.Decoder[T]:
    """What reads such a record; one for the whole process.

    msgspec keeps what it knows of a class in that class, and puts it there before it is whole: two
    threads that read the first record of a kind at once end the process with SIGSEGV. So it gets
    to know each kind under a lock.
    """
    known = _DECODERS.get(kind)
    if known is None:
        with _BUILDING:
            known = _DECODERS.setdefault(kind, msgspec.json.Decoder(kind, dec_hook=_decode))
    return known


# Both are msgspec's hooks: NotImplementedError is how it is told that a type is not known here.
def _encode(value: object) -> object:
    if isinstance(value, Lsn):
        return str(value)
    raise NotImplementedError(f"no JSON form for {type(value).__name__}")


def _decode(kind: type, value: Any) -> object:
    if kind is Lsn and isinstance(value, str):
        return Lsn.parse(value)
    raise NotImplementedError(f"no reading of {get_origin(kind) or kind}")
