"""Keep and read the integrity reports."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from kb_dr.domain import layout
from kb_dr.domain.integrity_markdown import integrity_markdown
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.errors import RepositoryError, UnreadableRecord
from kb_dr.operations.kept_records import keep_bytes, keep_record, parse_kept, read_kept
from kb_dr.ports import Repository

logger = logging.getLogger(__name__)


def store_report(places: Sequence[Repository], report: IntegrityReport) -> None:
    """Append one report, for people and as a record; raises as keep_record() does."""
    keep_bytes(places, layout.report_key(report.id, "md"), integrity_markdown(report).encode())
    keep_record(places, layout.report_key(report.id), report)


@dataclass(frozen=True, slots=True)
class GatheredReports:
    """The reports of all places together."""

    reports: tuple[IntegrityReport, ...]
    """Oldest first."""
    unread: tuple[str, ...]
    """Why some are missing that stand somewhere, and can be read nowhere."""


def gather_reports(places: Sequence[Repository], since: datetime) -> GatheredReports:
    """The reports that began at ``since`` or later; a place that does not answer adds none."""
    after = f"{layout.REPORTS}{since.astimezone(UTC):%Y%m%d-%H%M%S}"
    known: dict[str, IntegrityReport] = {}
    bad: dict[str, str] = {}
    for place in places:
        try:
            for listed in place.list(layout.REPORTS, start_after=after):
                if listed.key in known or not listed.key.endswith(".json"):
                    continue
                body = read_kept(place, listed.key)
                if body is None:
                    continue
                try:
                    known[listed.key] = parse_kept(place, listed.key, body, IntegrityReport, _key)
                except UnreadableRecord as error:
                    bad[listed.key] = str(error)
        except RepositoryError as error:
            # Then more is read again than need be.
            logger.warning("earlier reports in %s are not known: %s", place.name, error)
    return GatheredReports(
        tuple(sorted(known.values(), key=lambda report: (report.at, report.id))),
        tuple(why for key, why in bad.items() if key not in known),
    )


def _key(report: IntegrityReport) -> str:
    return layout.report_key(report.id)
