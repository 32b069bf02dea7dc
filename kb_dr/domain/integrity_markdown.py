"""An integrity report in markdown: for a person, an auditor, a page of Dagster."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from kb_dr.domain.coverage import Band, share
from kb_dr.domain.integrity_report import BackupLine, CopyReport, IntegrityReport
from kb_dr.domain.reread import SLICES

_COLUMNS = (
    "backup", "finished", "stored", "tiers", "standing", "proof", "proven", "holds", "problem",
)  # fmt: skip


def integrity_markdown(report: IntegrityReport) -> str:
    """The whole report."""
    days = report.proof_age_seconds / 86400
    parts = [
        f"# Integrity of {report.service}, {_moment(report.at)}: "
        + ("GOOD" if report.good else "NOT GOOD"),
        *(f"- {each}" for each in report.shortfalls),
        "",
        _table(
            (f"proven within {days:g} days", "share"),
            (
                ("retained backups", _percent(report.coverage.backups)),
                (
                    "recoverable window of the worst copy, ever proven",
                    _percent(report.coverage.window),
                ),
                ("copies", _percent(report.coverage.copies)),
                ("retained dumps", _percent(report.coverage.dumps)),
            ),
        ),
    ]
    for copy in report.copies:
        parts += _copy(copy)
    parts.append(f"Report {report.id}, made by {report.host}, done {_moment(report.finished)}.")
    return "\n".join(parts)


def _copy(copy: CopyReport) -> list[str]:
    parts = [f"## {copy.copy} ({copy.url})"]
    if copy.problem:
        parts.append(f"**{copy.problem}**\n")
    tiers = copy.tier_bytes()
    parts.append(
        _table(
            ("what", "seen"),
            (
                ("backups", len(copy.backups)),
                ("stored", _size(copy.stored_bytes)),
                ("WAL", f"{copy.wal_files} files, {_size(copy.wal_bytes)}"),
                *(
                    (f"of tier {name}", _size(size))
                    for name, size in tiers.items()
                    if name != "wal"
                ),
                ("window proven", _percent(share(copy.stretches, Band.PROVEN))),
                (
                    "window recoverable",
                    _percent(share(copy.stretches, Band.PROVEN, Band.RECOVERABLE)),
                ),
                ("read again now", _reread(copy)),
                (
                    "every byte read since",
                    _moment(copy.read_since)
                    if copy.read_since
                    else f"not yet: a part of {SLICES} each day",
                ),
            ),
        )
    )
    if copy.reread and copy.reread.damaged:
        parts.append(_table(("damaged",), ((each,) for each in copy.reread.damaged)))
    parts.append("### Backups\n")
    parts.append(
        _table(
            _COLUMNS,
            (_line(each) for each in copy.backups),
        )
    )  # fmt: skip
    parts.append("### Moments that can be reached\n")
    parts.append(
        _table(
            ("from", "to", "is"),
            ((_moment(s.begins), _moment(s.ends), s.band) for s in copy.stretches),
        )
    )
    return parts


def _line(each: BackupLine) -> Sequence[object]:
    return (
        each.id,
        _moment(each.finished),
        _size(each.stored_bytes),
        ", ".join(each.tiers) or ("kept" if each.keep else "expires"),
        each.standing,
        each.proof_id or "-",
        _moment(each.proven_at),
        "; ".join(each.holds) or "-",
        each.problem or "-",
    )


def _reread(copy: CopyReport) -> str:
    if copy.reread is None:
        return "nothing"
    done = copy.reread
    text = f"{done.objects} objects, {_size(done.size_bytes)}"
    if done.unchecked:
        text += f", {done.unchecked} of them WAL no key here opens"
    bad = len(done.damaged) + done.more_damaged
    return f"{text}; **{bad} damaged**" if bad else f"{text}; none damaged"


def _moment(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}Z" if at else "-"


def _percent(part: float | None) -> str:
    return "nothing to count" if part is None else f"{100 * part:.1f} %"


def _size(count: int) -> str:
    return f"{count / 1024**2:.1f} MiB"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = [" | ".join(_cell(value) for value in row) for row in rows]
    lines = [" | ".join(columns), " | ".join("---" for _ in columns), *body]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
