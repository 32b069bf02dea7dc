"""`kb-dr report`: what is kept, why, and what has been shown of it."""

from collections.abc import Sequence
from pathlib import Path

import click

from kb_dr.cli.opened import installation, json_option, progress
from kb_dr.cli.output import moment, print_json, print_table, say, size
from kb_dr.domain.coverage import Band, share
from kb_dr.domain.integrity_report import CopyReport, IntegrityReport
from kb_dr.domain.judge_integrity import RECENT_DAYS
from kb_dr.errors import ConfigurationError, VerificationError
from kb_dr.installation import Installation

_TREND_DAYS = 90


class _Report(click.Group):
    """A verb of its own; what is asked of it besides is loaded by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["readiness"]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name != "readiness":
            return None
        from kb_dr.cli.report_readiness import command as readiness

        return readiness


@click.group("report", cls=_Report, invoke_without_command=True)
@click.option("--last", is_flag=True, help="Show the newest report there is; make none.")
@click.option("--every-byte", is_flag=True, help="Read all of it again, not a thirtieth.")
@click.option(
    "--frames", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Write backups, storage and coverage as CSV files there, for pandas and others.",
)  # fmt: skip
@click.option(
    "--plot", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.png",
    help="Draw the recoverable window of each copy into FILE.",
)  # fmt: skip
@json_option
@click.pass_context
def command(
    context: click.Context,
    last: bool,
    every_byte: bool,
    frames: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Look at every copy, read a thirtieth of all bytes again, and keep a report.

    Made each day, it reads all bytes within 30 days. Exits 60 when anything is wrong; with --last
    also when there is none of every copy and of the last two days. The report is kept in every
    copy, as JSON and as markdown.
    """
    if context.invoked_subcommand is not None:
        return
    opened = installation()
    known = opened.reports(days=_TREND_DAYS)
    if last:
        if not known:
            raise ConfigurationError(
                f"show the last report: there is none of the last {_TREND_DAYS} days",
                hint="`kb-dr report` makes one.",
            )
        report = known[-1]
    else:
        report = opened.make_report(progress(), every_byte=every_byte)
        known = (*known, report)
    if plot is not None:
        plot.write_bytes(opened.draw_report(report))
    if frames is not None:
        _write_frames(frames, report, known)
    if as_json:
        print_json(report)
    else:
        _print(report)
    wrong = _wrong_by_now(opened, report) if last else report.shortfalls
    if wrong:
        raise VerificationError(
            f"report {report.id}: {len(wrong)} things are wrong, the first: {wrong[0]}",
            hint="`kb-dr copy --repair` mends a damaged copy from a good one; `kb-dr verify` "
            "proves one; docs/backup-audit.md says more.",
        )


def _wrong_by_now(opened: Installation, newest: IntegrityReport) -> Sequence[str]:
    """What an older report cannot say: one of long ago, or of fewer copies, is not good now."""
    judged = opened.reports_judged(days=RECENT_DAYS)
    if judged is not None:
        return judged.wrong
    days = (opened.clock.now() - newest.at).total_seconds() / 86400
    return (*newest.shortfalls, f"it is {days:.0f} days old: `kb-dr report` makes one")


def _write_frames(
    directory: Path, report: IntegrityReport, known: tuple[IntegrityReport, ...]
) -> None:
    from kb_dr.adapters.report_frames import (
        backups_frame,
        coverage_frame,
        storage_frame,
        storage_trend,
    )

    directory.mkdir(parents=True, exist_ok=True)
    storage = storage_frame(known)
    backups_frame(report).to_csv(directory / "backups.csv", index=False)
    storage.to_csv(directory / "storage.csv", index=False)
    storage_trend(storage).to_csv(directory / "trend.csv", index=False)
    coverage_frame(known).to_csv(directory / "coverage.csv", index=False)


def _print(report: IntegrityReport) -> None:
    say(f"{'good' if report.good else 'NOT GOOD'}: report {report.id} of {moment(report.at)}")
    print_table(
        "Copies",
        ("copy", "backups", "stored", "proven", "recoverable", "read again", "all read since"),
        (_row(copy) for copy in report.copies),
    )  # fmt: skip
    coverage = report.coverage
    print_table(
        f"Proven within {report.proof_age_seconds / 86400:g} days",
        ("retained backups", "window of the worst copy", "copies", "retained dumps"),
        (
            tuple(
                map(
                    _percent,
                    (coverage.backups, coverage.window, coverage.copies, coverage.dumps),
                )
            ),
        ),
    )
    if report.shortfalls:
        print_table("Wrong", ("what",), ((each,) for each in report.shortfalls))


def _row(copy: CopyReport) -> tuple[object, ...]:
    done = copy.reread
    return (
        copy.copy,
        copy.problem or len(copy.backups),
        size(copy.stored_bytes),
        _percent(share(copy.stretches, Band.PROVEN)),
        _percent(share(copy.stretches, Band.PROVEN, Band.RECOVERABLE)),
        f"{done.objects} objects, {len(done.damaged) + done.more_damaged} damaged"
        if done
        else "nothing",
        copy.read_since or "not yet",
    )


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{100 * part:.0f} %"
