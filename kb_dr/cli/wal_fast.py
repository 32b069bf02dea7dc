"""`kb-dr wal push` and `kb-dr wal fetch`, on a path that imports little.

PostgreSQL starts one of these for each WAL segment and reads nothing but its exit status.
"""

import argparse
import hashlib
import logging
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kb_dr import logs
from kb_dr.domain.restore_command import ABORT, ABSENT
from kb_dr.domain.wal_names import is_segment
from kb_dr.scrub import scrub
from kb_dr.settings import COPY_NAMES

if TYPE_CHECKING:
    from kb_dr.cli.wal_ahead import Follower
    from kb_dr.operations.fetch_wal import ExpectedEnd
    from kb_dr.operations.push_notes import PushNotes
    from kb_dr.settings import Settings

logger = logging.getLogger(__name__)

_FAILED = 1


def main(argv: list[str]) -> int:
    """Run ``wal push …`` or ``wal fetch …``.

    fetch ends the process here and now with 0 (fetched), 12 (certainly absent) or 126, whatever
    happens: no output that cannot be written, no exit handler may turn that into another status.
    push returns the exit code of kb_dr.errors; above 125 the archiver itself would end.
    """
    if argv[1] == "fetch":
        _end(_fetch(argv[2:]))
    return _push(argv[2:])


def fetch_parser() -> argparse.ArgumentParser:
    """The words `kb-dr wal fetch` takes."""
    parser = argparse.ArgumentParser(
        prog="kb-dr wal fetch",
        description="Fetch one WAL file. Exits 0 when it is there and checked, 12 when it is "
        "certainly absent, 126 for anything else. Use `kb-dr wal restore-command` for the line "
        "PostgreSQL needs around it.",
    )
    parser.add_argument("file", help="name of the WAL file (%%f)")
    parser.add_argument("path", type=Path, help="where to put it (%%p)")
    parser.add_argument("--from", dest="copy", default="primary", choices=COPY_NAMES)
    parser.add_argument("--expect-end", help="LSN recovery must come to; absence below is an error")
    parser.add_argument("--expect-timeline", type=int, help="the timeline of that LSN")
    parser.add_argument("--segment-bytes", type=int, help="size of a segment, for --expect-end")
    parser.add_argument(
        "--ahead", type=Path, help="where the segments that follow are laid, for fetch-wal.sh"
    )
    _add_common(parser)
    return parser


def push_parser() -> argparse.ArgumentParser:
    """The words `kb-dr wal push` takes."""
    parser = argparse.ArgumentParser(
        prog="kb-dr wal push",
        description="Store one WAL file; the archive_command. Exits 0 only when it is stored "
        "and was looked at.",
    )
    parser.add_argument("path", type=Path, help="the WAL file (%%p)")
    parser.add_argument(
        "--notes", type=Path, help="where what was pushed ahead is noted, for push-wal.sh"
    )
    _add_common(parser)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--env-file", type=Path, help="read settings from this file")
    parser.add_argument(
        "--system-identifier", type=int, help="the cluster; default: pg_control of this directory"
    )


def _fetch(words: list[str]) -> int:
    try:
        return 0 if _fetch_file(fetch_parser().parse_args(words)) else ABSENT
    except BaseException as error:  # noqa: BLE001 - nothing may look like "absent" but absence
        try:
            # argparse has said already what is wrong with the words.
            if not isinstance(error, SystemExit):
                _say(error)
        except BaseException:  # noqa: BLE001 - a message nobody reads changes no status
            return ABORT
        return ABORT


def _fetch_file(given: argparse.Namespace) -> bool:
    from kb_dr import wiring
    from kb_dr.operations.fetch_wal import fetch_wal
    from kb_dr.settings import load_settings

    settings = load_settings(env_file=given.env_file)
    _log_as(settings)
    system_identifier = given.system_identifier or _required_system_identifier(given.path)
    with _follower(given, system_identifier) as follower:
        there = fetch_wal(
            given.file,
            given.path,
            repository=wiring.repository(settings, given.copy),
            codec=wiring.codec(settings),
            system_identifier=system_identifier,
            expected_end=_expected_end(given),
            found=follower.start if follower else lambda: None,
        )
        if there and follower is not None:
            follower.go(given.path.stat().st_size)
    return there


def _follower(
    given: argparse.Namespace, system_identifier: int
) -> "AbstractContextManager[Follower | None]":
    if given.ahead is None or not is_segment(given.file):
        return nullcontext()
    from kb_dr.cli.wal_ahead import Follower

    return Follower(
        given.file,
        given.ahead.absolute(),
        copy=given.copy,
        env_file=given.env_file,
        system_identifier=system_identifier,
    )


def _expected_end(given: argparse.Namespace) -> "ExpectedEnd | None":
    words = (given.expect_end, given.expect_timeline, given.segment_bytes)
    if all(word is None for word in words):
        return None
    if any(word is None for word in words):
        from kb_dr.errors import ConfigurationError

        raise ConfigurationError(
            "fetch: --expect-end, --expect-timeline and --segment-bytes go together"
        )
    from kb_dr.domain.lsn import Lsn
    from kb_dr.operations.fetch_wal import ExpectedEnd

    return ExpectedEnd(given.expect_timeline, Lsn.parse(given.expect_end), given.segment_bytes)


def _push(words: list[str]) -> int:
    from kb_dr.errors import KbDrError

    given = push_parser().parse_args(words)
    try:
        _push_file(given)
    except KbDrError as error:
        _say(error)
        return error.exit_code
    except (OSError, ValueError, KeyboardInterrupt, MemoryError) as error:
        _say(error)
        return _FAILED
    return 0


def _push_file(given: argparse.Namespace) -> None:
    from kb_dr import wiring
    from kb_dr.operations.archive_wal import archive_wal, pushed_ahead
    from kb_dr.operations.listed_wal import require_marker
    from kb_dr.settings import load_settings

    read_from = _state_of_settings(given)
    settings = load_settings(env_file=given.env_file)
    _log_as(settings)
    system_identifier = given.system_identifier or _system_identifier(given.path)
    notes = _notes(settings, system_identifier, given.notes, read_from)
    if notes is not None and pushed_ahead(given.path, notes) is not None:
        return  # before the store and its library are even opened
    repository = wiring.repository(settings, "primary")
    require_marker(repository)
    archive_wal(
        given.path,
        repository=repository,
        codec=wiring.codec(settings),
        system_identifier=system_identifier,
        notes=notes,
        transfers=settings.transfers,
        processes=_processes(settings),
    )


def _processes(settings: "Settings") -> int:
    """One more than cores, since each waits for its disk now and then.

    In a bucket it is the way there that is waited for, and its library has threads.
    """
    from kb_dr.settings import DirectoryLocation

    if not isinstance(settings.primary, DirectoryLocation):
        return 1
    return min(settings.transfers, (os.cpu_count() or 1) + 1)


def _state_of_settings(given: argparse.Namespace) -> str | None:
    from kb_dr.operations.push_notes import settings_read

    named = given.env_file or os.environ.get("KB_DR_ENV_FILE")
    return settings_read(Path(named) if named else None, os.environ, Path())


def _notes(
    settings: "Settings",
    system_identifier: int | None,
    directory: Path | None,
    read_from: str | None,
) -> "PushNotes | None":
    from kb_dr.adapters.clock import SystemClock
    from kb_dr.operations.push_notes import PushNotes

    if system_identifier is None:
        return None
    directory = directory or settings.state_dir / "wal-push" / str(system_identifier)
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        # Nowhere to remember anything: each segment is pushed at its turn.
        return None
    # Any change of the place makes the notes void; their secrets print as nothing.
    place = repr((settings.org, settings.primary, system_identifier))
    digest = hashlib.sha256(place.encode()).hexdigest()
    return PushNotes(directory, digest, SystemClock(), read_from=read_from)


def _required_system_identifier(path: Path) -> int:
    found = _system_identifier(path)
    if found is None:
        from kb_dr.errors import ConfigurationError

        raise ConfigurationError(
            "fetch: cannot tell which cluster this is, no global/pg_control here",
            hint="Run it in the data directory, or give --system-identifier.",
        )
    return found


def _system_identifier(path: Path) -> int | None:
    """The first 8 bytes of pg_control; PostgreSQL runs both commands in the data directory.

    Source: PostgreSQL, src/include/catalog/pg_control.h (ControlFileData).
    """
    for directory in (Path(), path.parent.parent):
        try:
            with (directory / "global" / "pg_control").open("rb") as control:
                head = control.read(8)
        except OSError:
            continue
        if len(head) == 8 and any(head):
            return int.from_bytes(head, sys.byteorder)
    return None


def _log_as(settings: "Settings") -> None:
    logs.configure(logging.WARNING, log_format=settings.log_format, service=settings.service)


def _say(error: BaseException) -> None:
    if logs.is_json():
        hint = getattr(error, "hint", "")
        logger.error("%s", error or type(error).__name__, extra={"hint": hint} if hint else None)
        return
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    print(scrub(f"{at} error: {error or type(error).__name__}"), file=sys.stderr)
    hint = getattr(error, "hint", "")
    if hint:
        print(scrub(f"{at} hint: {hint}"), file=sys.stderr)


def _end(status: int) -> NoReturn:
    try:
        sys.stderr.flush()
    finally:
        os._exit(status)
