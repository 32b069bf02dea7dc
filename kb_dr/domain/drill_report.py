"""A drill as a report in markdown: for a person, an auditor, a page of Dagster."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from kb_dr.domain.drill import Drill


def drill_report(drill: Drill) -> str:
    """The whole report."""
    reach = drill.reach
    passed = "PASSED" if drill.passed else "NOT PASSED"
    parts = [
        f"# Recovery drill {drill.id}: {passed}",
        *(f"- {each}" for each in drill.shortfalls),
        "",
        _table(
            ("question", "answer"),
            (
                ("read from", f"{drill.copy} ({drill.url}), and from nowhere else"),
                ("backups in the rebuilt catalog", drill.backups_found),
                ("recoverable window", _window(drill)),
                ("asked for", f"{drill.asked} (seed {drill.seed})"),
                ("backup restored", drill.backup_id or "none"),
                ("manifest", f"sha256 {drill.manifest_digest or 'not known'}"),
                ("reached", _at(reach.reached_lsn, reach.reached_timeline) if reach else "nothing"),
                (
                    "expected",
                    _at(reach.expected_lsn, reach.expected_timeline) if reach else "not known",
                ),
                ("newest commit there", _moment(reach.newest_commit if reach else None)),
                ("verdict", f"{drill.verdict}: {drill.reason}"),
                ("proof", drill.proof_id or "none"),
                ("by", f"{drill.host}, {_moment(drill.started)} to {_moment(drill.finished)}"),
            ),
        ),
        "## Objectives",
        _table(
            ("objective", "allowed", "measured"),
            (
                ("RTO", f"{drill.rto_objective_seconds:.0f} s", f"{drill.rto_seconds:.1f} s"),
                (
                    "RPO",
                    f"{drill.rpo_objective_seconds:.0f} s",
                    "not known" if drill.rpo_seconds is None else f"{drill.rpo_seconds:.1f} s",
                ),
            ),
        ),
        "## RTO by phase",
        _table(
            ("phase", "seconds", "bytes"),
            (
                (
                    each.name,
                    f"{each.seconds:.2f}",
                    "" if each.size_bytes is None else each.size_bytes,
                )
                for each in drill.phases
            ),
        ),
        "## Checks",
        _table(
            ("check", "outcome", "seen"),
            ((each.name, each.outcome, each.seen) for each in drill.checks),
        ),
        "## Secrets and programs a rebuild from nothing needs",
        _table(
            ("what", "outcome", "seen", "what to do"),
            ((each.subject, each.outcome, each.seen, each.hint) for each in drill.checklist),
        ),
        "## Tools",
        _table(("program", "version"), sorted(drill.tools.items())),
    ]
    return "\n".join(parts)


def _window(drill: Drill) -> str:
    if drill.window is None:
        return "none"
    return f"{_moment(drill.window.begins_at)} to {_moment(drill.window.ends_at)}"


def _at(lsn: object, timeline: int | None) -> str:
    return f"{lsn or 'not known'} on timeline {timeline or 'not known'}"


def _moment(value: datetime | None) -> str:
    return value.isoformat(sep=" ").replace("+00:00", "Z") if value else "none"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    body = [" | ".join(_cell(value) for value in row) for row in rows]
    lines = [" | ".join(columns), " | ".join("---" for _ in columns), *body]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
