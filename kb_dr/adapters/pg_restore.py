"""pg_restore and psql of this machine, against one server."""

import re
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from kb_dr.adapters.archive_contents import Archive, read_archive
from kb_dr.adapters.load_errors import LoadErrors
from kb_dr.adapters.postgres_programs import (
    PostgresPrograms,
    command_failed,
    find_programs,
    last_words,
)
from kb_dr.adapters.postgres_session import connection_words, conninfo, session
from kb_dr.adapters.run_psql import run_psql
from kb_dr.adapters.unprivileged import Unprivileged
from kb_dr.domain.dump_contents import DumpContents
from kb_dr.errors import ChecksumMismatch, LoadFailed, PostgresProgramMissing, RecoveryError
from kb_dr.ports import Readable
from kb_dr.settings import SourceSettings

_DAY_SECONDS = 86400.0
_OLDEST = 14
_NEWER = 5
"""Majors beyond the wanted one that are looked for when it is not there itself."""

_ENTRY = re.compile(rb"(\d+); \d+ \d+ (.*)")

_TARGET = """
select current_setting('server_version_num')::int / 10000,
       current_setting('is_superuser') = 'on',
       array(select spcname::text from pg_catalog.pg_tablespace)
"""


@dataclass(frozen=True, slots=True)
class _Target:
    """The database that is loaded, as far as the programs' words depend on it."""

    major: int
    superuser: bool
    tablespaces: frozenset[str]


class PgRestore:
    """Implements `kb_dr.ports.DumpLoader`."""

    def __init__(self, bin_dirs: Sequence[Path], address: SourceSettings) -> None:
        self._bin_dirs = tuple(bin_dirs)
        self._address = address
        self._used: dict[str, str] = {}

    @property
    def tools(self) -> dict[str, str]:
        return dict(self._used)

    def contents(self, archive: Path) -> DumpContents:
        read = read_archive(archive)
        programs = self._programs("pg_restore", at_least=read.major)
        done = programs.run_raw(
            "pg_restore", "--list", "--verbose", archive.absolute(), timeout_seconds=_DAY_SECONDS
        )
        if done.returncode < 0:
            raise command_failed("pg_restore", done.returncode, done.stderr)
        if done.returncode != 0:
            raise ChecksumMismatch(f"read archive {archive}: {last_words(done.stderr)}")
        _compare(archive, read, done.stdout)
        return read.contents

    def read_through(self, archive: Path) -> None:
        read = read_archive(archive)
        programs = self._programs("pg_restore", at_least=read.major)
        done = programs.run_raw(
            "pg_restore", "--file=/dev/null", archive.absolute(), timeout_seconds=_DAY_SECONDS
        )
        if done.returncode < 0:
            raise command_failed("pg_restore", done.returncode, done.stderr)
        if done.returncode != 0:
            raise ChecksumMismatch(f"read archive {archive}: {last_words(done.stderr)}")

    def load(
        self,
        archive: Path,
        database: str,
        *,
        jobs: int,
        entries: Collection[int] | None = None,
        owners: bool = True,
        grants: bool = True,
    ) -> tuple[str, ...]:
        read = read_archive(archive)
        target = self._ask(database)
        programs = self._programs("pg_restore", at_least=read.major, target=target.major)
        lacking = sorted(read.tablespaces - target.tablespaces)
        options = [
            *([] if owners else ["--no-owner"]),
            *([] if grants else ["--no-privileges"]),
            # Where a table lies is no part of what it holds.
            *(["--no-tablespaces"] if lacking else []),
        ]
        errors = LoadErrors()
        with _listed(read, entries) as chosen:
            status = self._run(
                programs,
                ["pg_restore", f"--jobs={jobs}", *options, *chosen],
                target,
                database,
                archive,
                errors,
            )
        check_status(status, errors)
        return (
            *(f"not in tablespace {each}: the server has none" for each in lacking),
            *errors.notes,
        )

    def run_sql(self, sql: Readable, database: str, *, of_roles: bool = False) -> None:
        target = self._ask(database)
        # One that is older than the server would do, too: it only passes statements on.
        programs = self._programs("psql", at_least=_OLDEST, target=target.major)
        self._used["psql"] = programs.version
        run_psql(
            programs,
            self._conninfo(database),
            sql,
            env=self._environment(target),
            server_major=target.major,
            of_roles=of_roles,
        )

    def _conninfo(self, database: str) -> str:
        return conninfo(connection_words(self._address) | {"dbname": database})

    def _run(
        self,
        programs: PostgresPrograms,
        words: Sequence[str],
        target: _Target,
        database: str,
        archive: Path,
        errors: LoadErrors,
    ) -> int:
        name, *options = words
        self._used[name] = programs.version
        command = [
            str(programs.path(name)),
            f"--dbname={self._conninfo(database)}",
            "--no-password",
            *options,
            str(archive.absolute()),
        ]
        with programs.unprivileged.running(
            command,
            env=programs.environment(self._environment(target)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            if process.stderr is None:
                raise RecoveryError(f"run {name}: it was started without pipes")
            errors.listen(process.stderr)
            return process.wait()

    def _environment(self, target: _Target) -> dict[str, str]:
        password = self._address.password
        # In the environment of this one process: an argument could be read by every user.
        env = {"PGPASSWORD": password.reveal()} if password else {}
        if target.superuser:
            # Its errors are told apart by their words. Others may not choose the language.
            env["PGOPTIONS"] = "-c lc_messages=C"
        return env

    def _ask(self, database: str) -> _Target:
        with session(
            replace(self._address, database=database), what=f"connect to database {database}"
        ) as asked:
            row = asked.execute(_TARGET).fetchone()
        if row is None:
            raise RecoveryError(f"ask database {database}: no answer to a question")
        return _Target(row[0], row[1], frozenset(row[2]))

    def _programs(self, name: str, *, at_least: int, target: int = 0) -> PostgresPrograms:
        """Those that suit the server best among those that can read the archive."""
        best = max(at_least, target)
        wanted = [best, *range(best + 1, best + _NEWER), *range(best - 1, at_least - 1, -1)]
        for major in wanted:
            try:
                programs = find_programs(major, self._bin_dirs, Unprivileged(as_ourselves=True))
            except PostgresProgramMissing:
                continue
            if programs.has(name):
                return programs
        newest = f"; the server is of version {target}" if target else ""
        raise PostgresProgramMissing(
            f"find {name}: none of version {at_least} or newer here, which it has to be{newest}"
        )


@contextmanager
def _listed(read: Archive, entries: Collection[int] | None) -> Iterator[list[str]]:
    """The option that chooses these entries, in the archive's order; its file is removed."""
    if entries is None:
        yield []
        return
    wanted = set(entries)
    unknown = wanted - {each.id for each in read.contents.entries}
    if unknown:
        raise RecoveryError(f"choose entries: {min(unknown)} is not in the archive")
    with tempfile.NamedTemporaryFile("w", prefix="kb-dr-", suffix=".list") as file:
        for each in read.contents.entries:
            if each.id in wanted:
                file.write(f"{each.id};\n")
        file.flush()
        yield [f"--use-list={file.name}"]


def _compare(archive: Path, read: Archive, listing: bytes) -> None:
    """Both readings have to be one: a list of entries that only we see would choose other ones."""
    seen = [
        (int(found[1]), found[2])
        for found in map(_ENTRY.fullmatch, listing.splitlines())
        if found is not None
    ]
    ours = [(each.id, each.kind.encode()) for each in read.contents.entries]
    if len(seen) != len(ours) or any(
        number != our or not words.startswith(kind + b" ")
        for (number, words), (our, kind) in zip(seen, ours, strict=True)
    ):
        raise ChecksumMismatch(
            f"read archive {archive}: its table of contents has {len(ours)} entries, "
            f"and pg_restore lists {len(seen)}, or others"
        )


def check_status(status: int, errors: LoadErrors) -> None:
    """Raise unless it ended well, or after errors that are all known and expected."""
    if errors.unexpected is not None:
        raise errors.unexpected
    if status < 0:
        raise LoadFailed(f"load: pg_restore ended with status {status}")
    if status != 0 and (errors.ignored is None or errors.ignored > errors.seen):
        raise LoadFailed(
            f"load: pg_restore ended with status {status} after {errors.seen} errors, of "
            f"{errors.ignored if errors.ignored is not None else 'an unknown number'}"
        )
    if status == 0 and errors.seen:
        raise LoadFailed(f"load: pg_restore ended well after {errors.seen} errors")
