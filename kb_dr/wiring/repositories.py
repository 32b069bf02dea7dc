"""The repositories: where the copies lie, and how what lies there is written."""

from dataclasses import replace
from typing import TYPE_CHECKING

from kb_dr.errors import ConfigurationError
from kb_dr.settings import COPY_NAMES, DirectoryLocation, S3Settings, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kb_dr.adapters.s3_location import S3Location
    from kb_dr.ports import Bucket, Codec, Repository

_NO_FILE = (
    "No file with settings was read, and there is no .env here: go to where it is, or give it "
    "with `kb-dr --env-file FILE`. Only if there is none yet: "
)

_HASTY_SECONDS = 5.0
"""Four times as long at most for each call."""

_HOW_TO_CONFIGURE = {
    "offsite": "Set KB_DR_OFFSITE_URL to a bucket in another region, or a directory.",
    "local": "Set KB_DR_LOCAL_COPY_PATH to a directory on another disk than production's.",
}


def repository(settings: Settings, copy: str) -> "Repository":
    """The repository of one copy; see COPY_NAMES."""
    location = settings.location(copy)
    if location is not None:
        return _repository(settings, location, copy)
    if copy in _HOW_TO_CONFIGURE:
        raise ConfigurationError(
            f"open the {copy} repository: none is configured", hint=_HOW_TO_CONFIGURE[copy]
        )
    raise ConfigurationError(f"open repository {copy!r}: expected one of {', '.join(COPY_NAMES)}")


def hasty_repository(settings: Settings, copy: str) -> "Repository":
    """The repository of one copy, with short deadlines: alerts do not wait for it."""
    return repository(replace(settings, s3_timeout_seconds=_HASTY_SECONDS), copy)


def bucket(settings: Settings, copy: str) -> "Bucket | None":
    """The bucket one copy lies in; None for a directory, which does nothing by itself."""
    location = settings.location(copy)
    if not isinstance(location, S3Settings):
        return None
    from kb_dr.adapters.s3_bucket import S3Bucket

    return S3Bucket(_s3_location(settings, location))


def make_place(settings: Settings, copy: str) -> None:
    """Make the directory of a repository that is one; buckets are made by who owns the account."""
    location = settings.location(copy)
    if isinstance(location, DirectoryLocation):
        from kb_dr.adapters.directory_repository import DirectoryRepository

        DirectoryRepository(location.path, copy).create()


def overlay(real: "Repository", label: str, changes: "Mapping[str, bytes | None]") -> "Repository":
    """A throw-away repository over a real one, which is only read."""
    from kb_dr.adapters.overlay_repository import OverlayRepository

    return OverlayRepository(real, label, changes)


def codec(settings: Settings) -> "Codec":
    """Compression and encryption; without recipients nothing can be stored."""
    from kb_dr.adapters.age_codec import AgeCodec
    from kb_dr.adapters.identity_file import read_identities

    if not settings.recipients:
        raise ConfigurationError(
            "open the codec: no recipient to encrypt to",
            hint=("" if settings.env_file else _NO_FILE)
            + "Make a key with `age-keygen -o FILE`; put its public part, age1…, into "
            "KB_DR_AGE_RECIPIENTS.",
        )
    return AgeCodec(settings.recipients, read_identities(settings.identity_file))


def stranger() -> "Codec":
    """A codec that opens nothing: its identity is made now, and nobody has its recipient."""
    import pyrage

    from kb_dr.adapters.age_codec import AgeCodec

    identity = pyrage.x25519.Identity.generate()
    return AgeCodec([str(identity.to_public())], [str(identity)])


def _repository(
    settings: Settings, location: DirectoryLocation | S3Settings, copy: str
) -> "Repository":
    if isinstance(location, DirectoryLocation):
        from kb_dr.adapters.directory_repository import DirectoryRepository

        return DirectoryRepository(location.path, copy)
    from kb_dr.adapters.s3_repository import S3Repository

    return S3Repository(_s3_location(settings, location), copy)


def _s3_location(settings: Settings, location: S3Settings) -> "S3Location":
    from kb_dr.adapters.s3_location import S3Location

    return S3Location(
        bucket=location.bucket,
        prefix=location.prefix,
        endpoint_url=location.endpoint_url,
        region=location.region,
        access_key_id=location.access_key_id,
        secret_access_key=(
            location.secret_access_key.reveal() if location.secret_access_key else None
        ),
        session_token=location.session_token.reveal() if location.session_token else None,
        timeout_seconds=settings.s3_timeout_seconds,
        deadline_seconds=4 * settings.s3_timeout_seconds,
        sse_kms_key_id=location.sse_kms_key_id,
    )
