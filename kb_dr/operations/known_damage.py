"""What the newest integrity report found to be damaged in one copy, and has not seen mended."""

from collections.abc import Sequence

from kb_dr.domain import layout
from kb_dr.domain.integrity_report import CopyReport, IntegrityReport
from kb_dr.errors import UnreadableRecord
from kb_dr.operations.kept_records import parse_kept, read_kept
from kb_dr.ports import Repository


def known_damage(repository: Repository, places: Sequence[Repository]) -> str:
    """Why nothing may go from this copy for damage that was read in it; empty where none is known.

    A backup whose chunk has rotted since it was proven replaces no other. The newest report that
    speaks of this very place decides: what was damaged is read by every report until it is right.
    Raises what a place raises that cannot be listed.
    """
    stands: dict[str, Repository] = {}
    for place in places:
        for listed in place.list(layout.REPORTS):
            if listed.key.endswith(".json"):
                stands.setdefault(listed.key, place)
    for key in sorted(stands, reverse=True):
        body = read_kept(stands[key], key)
        if body is None:
            continue
        try:
            report = parse_kept(stands[key], key, body, IntegrityReport, _key)
        except UnreadableRecord as error:
            return f"the newest integrity report cannot be read: {error}"
        for copy in report.copies:
            if (copy.copy, copy.url) == (repository.name, repository.url):
                return _said(report, copy)
    return ""


def _said(report: IntegrityReport, copy: CopyReport) -> str:
    if copy.reread is None or not copy.reread.damaged:
        return ""
    count = len(copy.reread.damaged) + copy.reread.more_damaged
    return (
        f"report {report.id} found {count} damaged objects here, the first: "
        f"{copy.reread.damaged[0]}; mend them (`kb-dr copy --repair`), then `kb-dr report`"
    )


def _key(report: IntegrityReport) -> str:
    return layout.report_key(report.id)
