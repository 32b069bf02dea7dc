"""Keep and read the integrity reports."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from kb_dr.domain import layout
from kb_dr.domain.integrity_markdown import integrity_markdown
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.errors import RepositoryError
from kb_dr.operations.kept_records import keep_bytes, keep_record, parse_kept, read_kept
from kb_dr.ports import Repository

logger = logging.getLogger(__name__)


def store_report(places: Sequence[Repository], report: IntegrityReport) -> None:
    """Append one report, for people and as a record; raises as keep_record() does."""
    keep_bytes(places, layout.report_key(report.id, "md"), integrity_markdown(report).encode())
    keep_record(places, layout.report_key(report.id), report)


def load_reports(repository: Repository, since: datetime) -> tuple[IntegrityReport, ...]:
    """The reports kept here that began at ``since`` or later, oldest first.

    Raises UnreadableRecord for one that cannot be read.
    """
    after = f"{layout.REPORTS}{since.astimezone(UTC):%Y%m%d-%H%M%S}"
    found: list[IntegrityReport] = []
    for listed in repository.list(layout.REPORTS, start_after=after):
        if not listed.key.endswith(".json"):
            continue
        body = read_kept(repository, listed.key)
        if body is not None:
            found.append(parse_kept(repository, listed.key, body, IntegrityReport, _key))
    return tuple(sorted(found, key=lambda report: (report.at, report.id)))


def gather_reports(places: Sequence[Repository], since: datetime) -> tuple[IntegrityReport, ...]:
    """The same of all places together; one that does not answer, or cannot be read, adds none."""
    known: dict[str, IntegrityReport] = {}
    for place in places:
        try:
            known |= {report.id: report for report in load_reports(place, since)}
        except RepositoryError as error:
            # Then more is read again than need be.
            logger.warning("earlier reports in %s are not known: %s", place.name, error)
    return tuple(sorted(known.values(), key=lambda report: (report.at, report.id)))


def _key(report: IntegrityReport) -> str:
    return layout.report_key(report.id)
