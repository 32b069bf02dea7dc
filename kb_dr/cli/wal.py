"""`kb-dr wal audit|stream|restore-command`; push and fetch are in wal_fast."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import click

from kb_dr import wiring
from kb_dr.cli import wal_fast
from kb_dr.cli.opened import (
    from_option,
    installation,
    json_option,
    progress,
    read_settings,
)
from kb_dr.cli.output import print_json, print_table
from kb_dr.cli.program import program
from kb_dr.domain.archive_command import archive_command
from kb_dr.domain.restore_command import restore_command
from kb_dr.domain.wal_archive import WalProblemKind
from kb_dr.errors import ConfigurationError, KeyMissing, PostgresError, WalDamaged, WalGap
from kb_dr.operations.audit_wal import (
    WalAudit,
    audit_wal,
    clusters_present,
    stored_segment_bytes,
)
from kb_dr.operations.flush_stream import require_flushed
from kb_dr.operations.listed_wal import require_marker
from kb_dr.ports import Codec, Repository
from kb_dr.settings import COPY_NAMES, Settings, is_slot_name

SHELL = Path(__file__).parent / "shell"
"""The scripts around push and fetch; they come with the package."""


@click.group("wal")
def command() -> None:
    """Archive, stream, fetch and audit WAL."""


@command.command("audit")
@from_option("primary")
@click.option("--deep", is_flag=True, help="Read every file and follow the WAL record by record.")
@click.option("--system-identifier", type=int, help="One cluster; default: all that are stored.")
@click.option("--segment-bytes", type=int, help="Needed only where no identity can read one.")
@json_option
def audit(
    copy: str, deep: bool, system_identifier: int | None, segment_bytes: int | None, as_json: bool
) -> None:
    """Gaps, damage, strangers and missing histories in the WAL archive.

    Exits 24 when WAL is missing, 25 when some cannot be used.
    """
    settings = read_settings()
    repository, codec = wiring.repository(settings, copy), wiring.codec(settings)
    require_marker(repository)
    clusters = [system_identifier] if system_identifier else clusters_present(repository)
    audits = [
        _audit(settings, repository, codec, cluster, segment_bytes=segment_bytes, deep=deep)
        for cluster in clusters
    ]
    if as_json:
        print_json([_as_json(each) for each in audits])
    else:
        for each in audits:
            _print(each, copy)
    _raise_worst(audits, copy)


def _audit(
    settings: Settings,
    repository: Repository,
    codec: Codec,
    cluster: int,
    *,
    segment_bytes: int | None,
    deep: bool,
) -> WalAudit:
    size = segment_bytes
    if size is None:
        try:
            size = stored_segment_bytes(repository, codec, cluster)
        except KeyMissing as error:
            raise KeyMissing(
                f"audit WAL of cluster {cluster}: no identity to read a segment's size with",
                hint="Give --segment-bytes (`show wal_segment_size`), or an identity.",
            ) from error
    return audit_wal(
        repository,
        system_identifier=cluster,
        segment_bytes=size,
        codec=codec if settings.identity_file else None,
        deep=deep,
        progress=progress() if deep else None,
        transfers=settings.transfers,
    )


def _as_json(audit: WalAudit) -> dict[str, object]:
    return {
        "system_identifier": str(audit.system_identifier),
        "segment_bytes": audit.segment_bytes,
        "segments": audit.archive.segments,
        "deep": audit.deep,
        "read_files": audit.read_files,
        "passed": audit.passed,
        "timelines": [
            {
                "timeline": each.timeline,
                "has_history": each.has_history,
                "runs": [
                    {"first": run.first.name, "last": run.last.name, "segments": run.segments}
                    for run in each.runs
                ],
            }
            for each in audit.archive.timelines.values()
        ],
        "problems": [
            {"kind": str(each.kind), "name": each.name, "detail": each.detail}
            for each in audit.archive.problems
        ],
        "more_problems": audit.archive.more_problems,
    }


def _print(audit: WalAudit, copy: str) -> None:
    print_table(
        f"WAL of cluster {audit.system_identifier} in {copy}"
        + (" (every file read)" if audit.deep else " (listed, not read)"),
        ("timeline", "from", "to", "segments"),
        (
            (each.timeline, run.first.name, run.last.name, run.segments)
            for each in audit.archive.timelines.values()
            for run in each.runs
        ),
        caption="" if audit.archive.problems else "nothing wrong was found",
    )
    if audit.archive.problems:
        more = audit.archive.more_problems
        print_table(
            "Problems",
            ("kind", "file", "what was found"),
            ((each.kind, each.name, each.detail) for each in audit.archive.problems),
            caption=f"and {more} more" if more else "",
        )


def _raise_worst(audits: Sequence[WalAudit], copy: str) -> None:
    if not any(each.archive.segments for each in audits):
        raise WalGap(
            f"audit WAL in {copy}: no segment is stored",
            hint="Set archive_command to `kb-dr wal push %p` and look at pg_stat_archiver.",
        )
    problems = [problem for each in audits for problem in each.archive.problems]
    if not problems:
        return
    missing = {WalProblemKind.GAP, WalProblemKind.MISSING_HISTORY}
    kind: type[PostgresError] = WalDamaged
    if any(problem.kind in missing for problem in problems):
        kind = WalGap
    count = len(problems) + sum(each.archive.more_problems for each in audits)
    raise kind(
        f"audit WAL in {copy}: {count} problem{'s' * (count != 1)}, the first is "
        f"{problems[0].kind} at {problems[0].name}",
        hint="Take a new full backup now, unless one was taken since: recovery from older ones "
        "stops at the first problem after them. Then see whether the other copy has the file.",
    )


@command.command("stream")
@click.option("--slot", help="The replication slot; default: KB_DR_STREAM_SLOT.")
@click.option(
    "--every",
    type=click.FloatRange(0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="How often the segment being written is shipped.",
)
@click.option(
    "--accept-gap", is_flag=True,
    help="Begin anew at the server's present position, although WAL before it is lost.",
)  # fmt: skip
@click.option(
    "--flush", is_flag=True,
    help="Bring what was received to every copy, without the server, and end.",
)  # fmt: skip
def stream(slot: str | None, every: float, accept_gap: bool, flush: bool) -> None:
    """Receive WAL through a replication slot and ship it, until Ctrl-C.

    For hosts where archive_command cannot be set, and for an RPO of seconds; both may run side by
    side. The slot is made if need be, and makes the server keep WAL while nothing streams: drop
    it when you stop for good.
    """
    if slot is not None and not is_slot_name(slot):
        raise ConfigurationError(
            f"stream WAL through slot {slot!r}: expected lower-case letters, digits and _"
        )
    if flush:
        if accept_gap:
            raise ConfigurationError("stream WAL: --flush and --accept-gap exclude each other")
        _flush(slot)
        return
    installation().stream_wal(slot=slot, every_seconds=every, accept_gap=accept_gap)


def _flush(slot: str | None) -> None:
    flushed = installation().flush_stream(slot=slot)
    print_table(
        "What was received through the slot",
        ("copy", "reaches", "outcome"),
        (
            (each.copy, each.upto or "-", "all is there" if each.error is None else each.error)
            for each in flushed
        ),
    )
    require_flushed(flushed)


@command.command("restore-command")
@click.option("--from", "copy", type=click.Choice(COPY_NAMES), default="primary", show_default=True)
@click.option("--expect-end", help="LSN that recovery must come to.")
@click.option("--expect-timeline", type=int)
@click.option("--segment-bytes", type=int)
def show_restore_command(
    copy: str, expect_end: str | None, expect_timeline: int | None, segment_bytes: int | None
) -> None:
    """Print the restore_command PostgreSQL needs; never use `kb-dr wal fetch` without it."""
    settings = read_settings()
    words = [*_program(settings), "wal", "fetch", "--from", copy]
    for name, value in (
        ("--expect-end", expect_end),
        ("--expect-timeline", expect_timeline),
        ("--segment-bytes", segment_bytes),
    ):
        if value is not None:
            words += [name, str(value)]
    # Any other line, or repository, has a place of its own: what lies ready is what it would fetch.
    what = repr((words, settings.org, settings.location(copy)))
    digest = hashlib.sha256(what.encode()).hexdigest()[:16]
    ahead = str(settings.state_dir.absolute() / "wal-fetch" / digest)
    script = ["/bin/sh", str(SHELL / "fetch-wal.sh"), ahead]
    click.echo(restore_command([*words, "--ahead", ahead], script=script))


@command.command("archive-command")
def show_archive_command() -> None:
    """Print the archive_command that costs PostgreSQL the least.

    It does what `kb-dr wal push %p` does, and starts no Python for a segment that an earlier push
    stored ahead of its turn.
    """
    settings = read_settings()
    notes = str(settings.state_dir.absolute() / "wal-push" / "noted")
    env_file = "-" if settings.env_file is None else str(settings.env_file)
    script = ["/bin/sh", str(SHELL / "push-wal.sh"), notes, env_file]
    push = [*_program(settings), "wal", "push", "--notes", notes]
    click.echo(archive_command(push, script))


def _program(settings: Settings) -> list[str]:
    """The words that start this program with these settings."""
    if settings.env_file is None:
        return program()
    return [*program(), "--env-file", str(settings.env_file)]


@command.command("push", context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def push(words: tuple[str, ...]) -> int:
    """Store one WAL file; the archive_command: kb-dr wal push %p."""
    return wal_fast.main(["wal", "push", *words])


@command.command("fetch", context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def fetch(words: tuple[str, ...]) -> int:
    """Fetch one WAL file; what `wal restore-command` prints calls it."""
    return wal_fast.main(["wal", "fetch", *words])
