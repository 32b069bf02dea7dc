"""This machine as a place to restore to: tar, PostgreSQL's programs, and scratch servers."""

import os
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from kb_dr.adapters.combine_chain import COMBINES, combine_chain
from kb_dr.adapters.empty_cluster import make_empty_cluster
from kb_dr.adapters.postgres_programs import (
    PostgresPrograms,
    command_failed,
    find_programs,
    last_words,
)
from kb_dr.adapters.restored_server import LocalServer
from kb_dr.adapters.scratch_files import configure, set_aside, settle_files
from kb_dr.adapters.sync_method import sync_settings
from kb_dr.adapters.tablespace_links import require_own_tablespaces
from kb_dr.adapters.unpack_tar import unpacked
from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Source
from kb_dr.domain.recovery import ControlFile, ServerConfiguration, WorkArea
from kb_dr.domain.scratch_configuration import loading_settings
from kb_dr.domain.tablespaces import TABLESPACE_MAP, TABLESPACES
from kb_dr.errors import (
    ChecksumMismatch,
    PostgresProgramMissing,
    RecoveryError,
)
from kb_dr.ports import RestoredServer, Writable

_NEEDED = ("postgres", "pg_verifybackup", "pg_controldata")
_DAY_SECONDS = 86400.0
_OPEN_SECONDS = 3600.0
"""An empty cluster is open at once; the machine may be starved."""


class LocalPostgresHost:
    """Implements `kb_dr.ports.PostgresHost`.

    ``users`` are names of roles to try when the superuser of a restored cluster is looked for.
    """

    def __init__(
        self,
        bin_dirs: Sequence[Path],
        *,
        unprivileged: Unprivileged | None = None,
        users: Sequence[str] = (),
    ) -> None:
        self._bin_dirs = tuple(bin_dirs)
        self._unprivileged = unprivileged or Unprivileged()
        self._users = tuple(dict.fromkeys(("postgres", *users)))
        self._found: dict[int, PostgresPrograms] = {}

    def check(self, source: Source, *, combines: bool = False) -> None:
        programs = self._programs(source)
        needed = (*_NEEDED, COMBINES) if combines else _NEEDED
        missing = [name for name in needed if not programs.has(name)]
        if missing:
            raise PostgresProgramMissing(
                f"restore PostgreSQL {source.major}: no {', '.join(missing)} in {programs.bin_dir}"
            )
        if shutil.which("tar") is None:
            raise PostgresProgramMissing("restore: the program tar is missing")
        extensions = _extension_directory(programs)
        absent = [
            f"{name} {version}"
            for name, version in source.extensions.items()
            if not (extensions / f"{name}.control").is_file()
        ]
        if absent:
            raise PostgresProgramMissing(
                f"restore PostgreSQL {source.major}: extensions missing in {extensions}: "
                f"{', '.join(absent)}",
                hint="Install them for this major version, or point KB_DR_POSTGRES_BIN_DIRS at an "
                "installation that has them.",
            )

    def tools(self, source: Source) -> dict[str, str]:
        return {"postgres": self._programs(source).version}

    def free_bytes(self, directory: Path) -> int:
        place = directory.absolute()
        while not place.exists():
            place = place.parent
        seen = os.statvfs(place)
        # What root may take beyond is reserved: a restore must not fill the last of it.
        return seen.f_bavail * seen.f_frsize

    @contextmanager
    def unpack(self, directory: Path) -> Iterator[Writable]:
        with unpacked(directory, self._unprivileged) as pipe:
            yield pipe

    def verify_files(self, directory: Path, source: Source) -> None:
        # What lies in TABLESPACES is listed, and found, by way of the links.
        done = self._programs(source).run_raw(
            "pg_verifybackup",
            *("-n", "-q", f"--ignore={TABLESPACES}", f"--ignore={TABLESPACE_MAP}"),
            directory,
            timeout_seconds=_DAY_SECONDS,
        )
        if done.returncode < 0 or done.returncode > 1:
            # It was killed, or could not be run: nothing was learned of the files.
            raise command_failed("pg_verifybackup", done.returncode, done.stderr)
        if done.returncode == 1:
            raise ChecksumMismatch(
                f"verify restored files: {last_words(done.stderr)}",
                hint="This copy of the backup is damaged: use another copy or backup.",
            )

    def combine(self, links: Sequence[Path], directory: Path, source: Source) -> None:
        combine_chain(self._programs(source), links, directory)

    def verify_checksums(self, directory: Path, source: Source) -> None:
        done = self._programs(source).run_raw(
            "pg_checksums", "--check", "-D", directory, timeout_seconds=_DAY_SECONDS
        )
        if done.returncode == 0:
            return
        if b"Bad checksums:" in done.stdout:
            raise ChecksumMismatch(
                f"verify page checksums: {last_words(done.stderr)}",
                hint="This copy of the backup is damaged: use another copy or backup.",
            )
        raise command_failed("pg_checksums", done.returncode, done.stderr)

    def control(self, directory: Path, source: Source) -> ControlFile:
        told = self._programs(source).run("pg_controldata", directory)
        fields = {
            name.strip(): value.strip()
            for name, colon, value in (line.partition(":") for line in told.splitlines())
            if colon
        }
        try:
            return ControlFile(
                system_identifier=int(fields["Database system identifier"]),
                state=fields["Database cluster state"],
                timeline=int(fields["Latest checkpoint's TimeLineID"]),
                checkpoint=Lsn.parse(fields["Latest checkpoint location"]),
            )
        except (KeyError, ValueError) as error:
            raise RecoveryError(f"read pg_control of {directory}: {error}") from error

    @contextmanager
    def start(
        self,
        area: WorkArea,
        configuration: ServerConfiguration,
        source: Source,
        *,
        users: Sequence[str] = (),
    ) -> Iterator[RestoredServer]:
        programs = self._programs(source)
        require_own_tablespaces(area.data)
        set_aside(area)
        if configuration.settings.get("fsync") != "off":
            settings = {**configuration.settings, **sync_settings()}
            configuration = ServerConfiguration(settings, recover=configuration.recover)
        configure(area, configuration, self._unprivileged)
        with area.log.open("ab") as log:
            process = self._unprivileged.start(
                [
                    programs.path("postgres"),
                    *("-D", area.data, "-c", f"config_file={area.root / 'postgresql.conf'}"),
                ],
                env=programs.environment(),
                stdout=log,
                stderr=log,
                # Killed with us: it shuts down at once, its files are thrown away anyway.
                tied=signal.SIGQUIT,
            )
        server = LocalServer(process, area, users or self._users)
        try:
            yield server
        finally:
            server.end()

    @contextmanager
    def new_cluster(
        self, area: WorkArea, source: Source, *, superuser: str
    ) -> Iterator[RestoredServer]:
        make_empty_cluster(self._programs(source), self._unprivileged, area, superuser)
        configuration = ServerConfiguration(loading_settings(source), recover=False)
        with self.start(area, configuration, source, users=(superuser,)) as server:
            server.wait_for_promotion(_OPEN_SECONDS)
            yield server

    def settle(self, area: WorkArea, lines: Sequence[str]) -> None:
        settle_files(area, lines, self._unprivileged)

    def _programs(self, source: Source) -> PostgresPrograms:
        # Looked for once: each time every postgres there is would be asked for its version.
        if (found := self._found.get(source.major)) is None:
            found = find_programs(source.major, self._bin_dirs, self._unprivileged)
            self._found[source.major] = found
        return found


def _extension_directory(programs: PostgresPrograms) -> Path:
    """Where the control files are; asked of pg_config, else looked for beside the programs."""
    places = [
        programs.bin_dir.parent / "share" / "extension",
        programs.bin_dir.parent / "share" / "postgresql" / "extension",
        Path("/usr/share/postgresql") / str(programs.major) / "extension",
    ]
    if programs.has("pg_config"):
        done = programs.run_raw("pg_config", "--sharedir", timeout_seconds=30)
        if done.returncode == 0:
            places.insert(0, Path(done.stdout.decode().strip()) / "extension")
    return next((place for place in places if place.is_dir()), places[0])
