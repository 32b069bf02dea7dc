"""What an operator, or an auditor, is shown of all that is kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kb_dr.errors import RepositoryError
from kb_dr.installation.evidence import Evidence

if TYPE_CHECKING:
    from kb_dr.domain.integrity_report import IntegrityReport
    from kb_dr.domain.judge_integrity import JudgedReports
    from kb_dr.operations.integrity_report import CopyBands, ReportSettings
    from kb_dr.ports import Progress, Repository


class Reports(Evidence):
    """Makes integrity reports, and reads those there are."""

    def make_report(self, progress: Progress, *, every_byte: bool = False) -> IntegrityReport:
        """Look at every copy, read a part of it again (or all), and keep what was seen.

        It is kept in each copy that is ours: another service's is a shortfall, and is left alone.
        """
        from kb_dr.operations.integrity_report import make_report

        return make_report(
            self._to_be_looked_at(),
            self.codec,
            self.clock,
            progress,
            self._report_settings(),
            void_through=self.void_through(),
            every_byte=every_byte,
            kept_in=self._our_own(),
        )

    def reports(self, *, days: float = 90) -> tuple[IntegrityReport, ...]:
        """The reports of late, wherever they are kept, oldest first; none from a copy that is
        down, and none from the future: it would be the newest for as long.
        """
        return self._reports_of_late(days)[0]

    def reports_judged(self, *, days: float) -> JudgedReports | None:
        """What the reports of late say of the copies as they are configured now."""
        from kb_dr.domain.judge_integrity import judge_reports

        reports, unread = self._reports_of_late(days)
        copies = {name: self.repository(name).url for name in self.copies}
        return judge_reports(reports, copies, unread=unread)

    def _reports_of_late(self, days: float) -> tuple[tuple[IntegrityReport, ...], tuple[str, ...]]:
        from kb_dr.domain.objective import CLOCK_SLACK_SECONDS
        from kb_dr.operations.report_records import gather_reports

        now, service = self.clock.now(), self.settings.service
        found = gather_reports(self._our_own(), now - timedelta(days=days))
        latest = now + timedelta(seconds=CLOCK_SLACK_SECONDS)
        ours = (each for each in found.reports if each.service == service and each.at <= latest)
        return tuple(ours), found.unread

    def _our_own(self) -> list[Repository]:
        """The copies that can be opened; another service's is none of ours. The first one's error
        when none can: no reports is not what was seen then.
        """
        found: list[Repository] = []
        failure: RepositoryError | None = None
        for copy in self.copies:
            try:
                found.append(self._opened(copy))
            except RepositoryError as error:
                failure = failure or error  # the report says it of the copy
        if failure is not None and not found:
            raise failure
        return found

    def bands(self) -> dict[str, CopyBands]:
        """Of each copy, what of the time until now is proven, recoverable, or a gap."""
        from kb_dr.operations.integrity_report import copy_bands

        places, void, now = self._to_be_looked_at(), self.void_through(), self.clock.now()
        settings = self._report_settings()
        return {
            each.name: copy_bands(each, places, self.codec, now, settings, void_through=void)
            for each in places
        }

    def draw_window(self, bands: dict[str, CopyBands], at: datetime) -> bytes:
        """The same as a picture (PNG)."""
        from kb_dr.adapters.window_picture import draw_windows

        return draw_windows(
            {name: each.stretches for name, each in bands.items()},
            {
                name: [backup.finished for backup in each.status.backups]
                for name, each in bands.items()
            },
            at,
            title=f"What of {self.settings.service} can be recovered",
        )

    def draw_report(self, report: IntegrityReport) -> bytes:
        """The picture of a report's moment (PNG)."""
        from kb_dr.adapters.window_picture import draw_windows

        return draw_windows(
            {copy.copy: copy.stretches for copy in report.copies},
            {
                copy.copy: [each.finished for each in copy.backups if each.finished is not None]
                for copy in report.copies
            },
            report.at,
            title=f"What of {report.service} can be recovered",
        )

    def _report_settings(self) -> ReportSettings:
        from kb_dr.operations.integrity_report import ReportSettings

        settings = self.settings
        return ReportSettings(
            service=settings.service,
            org=settings.org,
            policies=settings.retention,
            proof_age_seconds=settings.objectives.proof_age_seconds,
            transfers=settings.transfers,
        )
