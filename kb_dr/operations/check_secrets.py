"""Try every secret and program that a rebuild from nothing needs."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kb_dr.domain.finding import Finding
from kb_dr.domain.manifest import Manifest, Source
from kb_dr.domain.proof import Outcome
from kb_dr.errors import ConfigurationError, KbDrError, KeyMissing
from kb_dr.operations.catalog import load_catalog, readable
from kb_dr.operations.copy_object import check_wal_object
from kb_dr.operations.needed_wal import find_needed_wal
from kb_dr.ports import Codec, Repository
from kb_dr.settings import Settings


class _Machine(Protocol):
    def check(self, source: Source, *, combines: bool = False) -> None: ...
    def tools(self, source: Source) -> dict[str, str]: ...


class Surroundings(Protocol):
    """What an installation is made of; each part may fail when it is first used."""

    @property
    def settings(self) -> Settings: ...
    @property
    def codec(self) -> Codec: ...
    @property
    def host(self) -> _Machine: ...
    def checked(self, copy: str) -> Repository: ...


def check_secrets(here: Surroundings, copy: str) -> tuple[Finding, ...]:
    """One finding each; what is missing says what to do. Nothing secret is in the answer."""
    newest: list[Manifest] = []

    def opened() -> str:
        found = readable(load_catalog(here.checked(copy)))
        if not found:
            raise ConfigurationError(f"look into {copy}: no backup is there")
        newest.append(found[-1].manifest)
        return f"{here.checked(copy).url} opened, {len(found)} backups listed"

    return (
        _tried("settings", lambda: _settings(here.settings)),
        _tried(f"credentials of {copy}", opened),
        _tried("age identity", lambda: _identity(here, copy, newest)),
        _tried("PostgreSQL programs", lambda: _programs(here, newest)),
        _tried("configuration files", lambda: _configuration(here, copy, newest)),
    )


def _tried(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, Outcome.PASSED, look())
    except KbDrError as error:
        return Finding(subject, Outcome.FAILED, str(error), error.hint)


def _settings(settings: Settings) -> str:
    file: Path | None = settings.env_file
    return f"read from {file}" if file is not None else "read from the environment"


def _required(newest: list[Manifest]) -> Manifest:
    if not newest:
        raise ConfigurationError("nothing to try it on: no backup could be listed")
    return newest[0]


def _identity(here: Surroundings, copy: str, newest: list[Manifest]) -> str:
    manifest = _required(newest)
    repository = here.checked(copy)
    wal = find_needed_wal(repository, manifest).objects
    if not wal:
        raise ConfigurationError(f"{manifest.id} has no WAL in {copy} to try it on")
    body = repository.read(wal[-1].key)
    if not check_wal_object(repository, here.codec, wal[-1].key, body):
        raise KeyMissing(f"open WAL of {manifest.id}: the identity at hand does not fit")
    return f"opens WAL of {manifest.id}, encrypted to {len(manifest.recipients)} recipients"


def _programs(here: Surroundings, newest: list[Manifest]) -> str:
    manifest = _required(newest)
    source = manifest.source
    here.host.check(source, combines=manifest.parent is not None and manifest.has_files)
    return ", ".join(f"{name} {version}" for name, version in here.host.tools(source).items())


def _configuration(here: Surroundings, copy: str, newest: list[Manifest]) -> str:
    manifest = _required(newest)
    if manifest.configuration is None:
        return "inside the data directory, restored with it"
    here.codec.decode(here.checked(copy).get(manifest.configuration))
    return f"stored beside {manifest.id}, and opened"
