"""This machine as a place to restore to: tar, PostgreSQL's programs, and scratch servers."""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from kb_dr.adapters.empty_cluster import make_empty_cluster
from kb_dr.adapters.postgres_programs import (
    PostgresPrograms,
    command_failed,
    find_programs,
    last_words,
)
from kb_dr.adapters.restored_server import LocalServer
from kb_dr.adapters.tablespace_links import require_own_tablespaces
from kb_dr.adapters.unprivileged import Unprivileged, end
from kb_dr.domain.lsn import Lsn
from kb_dr.domain.manifest import Source
from kb_dr.domain.recovery import ControlFile, ServerConfiguration, WorkArea
from kb_dr.domain.scratch_configuration import loading_settings
from kb_dr.domain.tablespaces import TABLESPACE_MAP, TABLESPACES
from kb_dr.errors import (
    BrokenChain,
    ChecksumMismatch,
    NotEnoughSpace,
    PostgresProgramMissing,
    RecoveryError,
)
from kb_dr.ports import RestoredServer, Writable

_NEEDED = ("postgres", "pg_verifybackup", "pg_controldata")
_COMBINES = "pg_combinebackup"
_LINKS_SINCE = 18
"""The major version from which it can link files that no increment changed, not copy them."""
_NO_CHAIN = (
    "but expected",
    "full backup",
    "incremental backup",
    "incremental magic",
    "system identifier",
)
"""What it says of directories that do not follow one another (pg_combinebackup.c,
check_backup_label_files and check_control_files); all else may be the fault of this host."""
_PIPE_BYTES = 1 << 20
_FULL = ("No space left on device", "Disk quota exceeded")
_CUT_SHORT = re.compile(r"wrote \d+ of \d+")
"""How pg_combinebackup says that a disk filled within one write."""
_DAY_SECONDS = 86400.0
_OPEN_SECONDS = 3600.0
"""An empty cluster is open at once; the machine may be starved."""

_AUTO = "postgresql.auto.conf"
_HBA = "local all all trust\n"
"""Only who may enter the private directory of the socket gets this far."""


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

    def check(self, source: Source, *, combines: bool = False) -> None:
        programs = self._programs(source)
        needed = (*_NEEDED, _COMBINES) if combines else _NEEDED
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
        directory.mkdir(mode=0o700)
        self._unprivileged.give(directory)
        command = ["tar", "--extract", "--file=-", f"--directory={directory}"]
        command += ["--no-same-owner", "--same-permissions", "--warning=no-timestamp"]
        with tempfile.TemporaryFile() as words:
            process = self._unprivileged.start(
                [shutil.which("tar") or "tar", *command[1:]],
                env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=words,
            )
            try:
                yield _opened_pipe(process)
                _close(process)
            except BrokenPipeError as error:
                # tar ended before the stream did: its own words say why.
                raise _tar_failed(directory, process.wait(), words) from error
            else:
                if process.wait() != 0:
                    raise _tar_failed(directory, process.returncode, words)
            finally:
                _abandon(process)

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
        programs = self._programs(source)
        # What is not yet safe on disk is made so when the server first starts there.
        how = ["--no-sync", *(["--link"] if programs.major >= _LINKS_SINCE else [])]
        done = programs.run_raw(
            _COMBINES, *how, "--output", directory, *links, timeout_seconds=_DAY_SECONDS
        )
        if done.returncode != 0:
            raise _combine_failed(directory, done.returncode, done.stderr)
        for each in links:
            shutil.rmtree(each)

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
        self._set_aside(area)
        self._configure(area, configuration)
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
        auto = area.data / _AUTO
        kept = area.root / "source.auto.conf"
        text = kept.read_text() if kept.exists() else ""
        if text and not text.endswith("\n"):
            text += "\n"
        auto.write_text(text + "".join(f"{line}\n" for line in lines))
        auto.chmod(0o600)
        self._unprivileged.give(auto)
        for name in ("backup_label.old", "backup_manifest", "tablespace_map.old"):
            (area.data / name).unlink(missing_ok=True)
        if not (area.data / "postgresql.conf").exists():
            # Debian keeps the configuration elsewhere; without any the cluster would not start.
            for name, content in _MINIMAL.items():
                path = area.data / name
                if not path.exists():
                    path.write_text(content)
                    path.chmod(0o600)
                    self._unprivileged.give(path)
        with auto.open("rb") as file:
            os.fsync(file.fileno())

    def _programs(self, source: Source) -> PostgresPrograms:
        return find_programs(source.major, self._bin_dirs, self._unprivileged)

    @staticmethod
    def _set_aside(area: WorkArea) -> None:
        """PostgreSQL reads this file whatever config_file says; it may name libraries, archive
        commands and primaries of production.
        """
        kept = area.root / "source.auto.conf"
        auto = area.data / _AUTO
        if auto.exists():
            if kept.exists():
                auto.unlink()
            else:
                auto.rename(kept)
        for name in ("standby.signal", "recovery.signal"):
            (area.data / name).unlink(missing_ok=True)

    def _configure(self, area: WorkArea, configuration: ServerConfiguration) -> None:
        settings = {
            **configuration.settings,
            "unix_socket_directories": str(area.sockets),
            "hba_file": str(area.root / "pg_hba.conf"),
            "ident_file": str(area.root / "pg_ident.conf"),
        }
        lines = "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())
        files = {
            area.root / "postgresql.conf": lines,
            area.root / "pg_hba.conf": _HBA,
            area.root / "pg_ident.conf": "",
        }
        if configuration.recover:
            files[area.data / "recovery.signal"] = ""
        for path, content in files.items():
            path.write_text(content)
            path.chmod(0o600)
            self._unprivileged.give(path)


_MINIMAL = {
    "postgresql.conf": "# Written by kb-dr: the backup held no postgresql.conf.\n",
    "pg_hba.conf": "# Written by kb-dr: the backup held no pg_hba.conf.\n"
    "local all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n",
    "pg_ident.conf": "",
}


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


class _Pipe:
    """Writes all of what it is given."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, data: bytes, /) -> int:
        with memoryview(data) as rest:
            done = 0
            while done < len(rest):
                done += os.write(self._stream.fileno(), rest[done:])
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""


def _opened_pipe(process: "subprocess.Popen[bytes]") -> _Pipe:
    stream = process.stdin
    if stream is None:
        raise RecoveryError("unpack: tar has no input")
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(stream.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except PermissionError:
            return _Pipe(stream)  # the limit for pipes of this user is used up: slower, no worse
    return _Pipe(stream)


def _close(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        process.stdin.close()


def _abandon(process: "subprocess.Popen[bytes]") -> None:
    try:
        end(process)
    except BrokenPipeError:
        return


def _tar_failed(directory: Path, status: int, words: IO[bytes]) -> Exception:
    words.seek(0)
    said = words.read(1 << 20)
    text = last_words(said)
    if any(sign in said.decode("utf-8", "replace") for sign in _FULL):
        return NotEnoughSpace(
            f"unpack into {directory}: {text}",
            hint="Make room there, or restore to another file system.",
        )
    how = f"signal {-status}" if status < 0 else f"status {status}"
    if status < 0:
        return RecoveryError(f"unpack into {directory}: tar ended by {how}")
    return ChecksumMismatch(f"unpack into {directory}: tar ended with {how}: {text}")


def _combine_failed(directory: Path, status: int, stderr: bytes) -> Exception:
    said = stderr.decode("utf-8", "replace")
    if any(sign in said for sign in _FULL) or _CUT_SHORT.search(said):
        return NotEnoughSpace(
            f"combine a chain into {directory}: {last_words(stderr)}",
            hint="Make room there, or restore to another file system.",
        )
    if status == 1 and any(sign in said for sign in _NO_CHAIN):
        return BrokenChain(f"combine a chain into {directory}: {last_words(stderr)}")
    return command_failed(_COMBINES, status, stderr)


def _quoted(value: str) -> str:
    return "'" + re.sub(r"(['\\])", r"\1\1", value) + "'"
