"""The metrics of what was shown: proofs, drills, controls, reports."""

from collections.abc import Sequence

from kb_dr.domain.control import ControlRun, in_order
from kb_dr.domain.copies import copy_that_counts, further_copies
from kb_dr.domain.coverage import Band
from kb_dr.domain.integrity_report import IntegrityReport
from kb_dr.domain.measured import WINDOWS, Measured
from kb_dr.domain.metric_values import MetricValues
from kb_dr.domain.proof import Proof, Verdict


def add_proofs(values: MetricValues, measured: Measured) -> None:
    """What restores, drills and controls of late came to."""
    urls = {copy.copy: copy.url for copy in measured.status.copies} if measured.status else {}
    _add_limits(values, tuple(urls), measured.limits.get("proof_age"))
    if measured.proofs is not None:
        for copy, url in urls.items():
            # A proof of another place that bore the name says nothing of this copy; one of a dump
            # nothing of what a recovery needs.
            found = [
                each
                for each in measured.proofs
                if (each.copy, each.url) == (copy, url) and not each.of_dump
            ]
            _add_verdicts(values, measured, copy, found)
    if measured.report is not None:
        _add_report(values, measured.report, measured.report_wrong)
    values.add("kb_dr_proofs_void", measured.proofs_void)
    _add_controls(values, in_order(measured.controls or ()))
    for copy, url in urls.items():
        drills = [each for each in measured.drills or () if (each.copy, each.url) == (copy, url)]
        if drills:
            drill = max(drills, key=lambda each: each.finished)
            values.add("kb_dr_drill_last_timestamp_seconds", drill.finished, copy)
            values.add("kb_dr_drill_passed", drill.passed, copy)
            values.add("kb_dr_drill_rto_seconds", drill.rto_seconds, copy)


def _add_controls(values: MetricValues, known: Sequence[ControlRun]) -> None:
    """A round on a dump is no round on a base backup; one that is not passed counts for both."""
    of_files = [run for run in known if not run.of_dump][-1:]
    of_dumps = [run for run in known if run.of_dump][-1:]
    passed = all(run.passed for run in (*of_files, *of_dumps))
    for newest in of_files:
        values.add("kb_dr_controls_last_timestamp_seconds", newest.finished)
    if of_files or not passed:
        values.add("kb_dr_controls_passed", passed)


def _add_limits(values: MetricValues, copies: tuple[str, ...], limit: float | None) -> None:
    """As the objectives have it: the further copies take turns."""
    if limit is None or not copies:
        return
    counting = copy_that_counts(copies)
    values.add("kb_dr_proof_age_limit_seconds", limit, counting)
    for copy in further_copies(copies):
        if copy != counting:
            values.add("kb_dr_proof_age_limit_seconds", limit * len(copies), copy)


def _add_verdicts(values: MetricValues, measured: Measured, copy: str, found: list[Proof]) -> None:
    for word, span in WINDOWS.items():
        since = measured.looked_at - span
        for verdict in Verdict:
            count = sum(1 for p in found if p.verdict is verdict and p.finished >= since)
            values.add("kb_dr_proofs", count, copy, verdict, word)
    if found:
        newest = max(found, key=lambda proof: (proof.finished, proof.id))
        for verdict in Verdict:
            values.add("kb_dr_proof_verdict", newest.verdict is verdict, copy, verdict)


def _add_report(values: MetricValues, report: IntegrityReport, wrong: int) -> None:
    values.add("kb_dr_integrity_report_timestamp_seconds", report.at)
    values.add("kb_dr_integrity_report_shortfalls", wrong)
    for of in ("backups", "window", "copies"):
        values.add("kb_dr_coverage_ratio", getattr(report.coverage, of), of)
    for copy in report.copies:
        if not copy.problem:
            values.add("kb_dr_copy_stored_bytes", copy.stored_bytes, copy.copy)
            # The last stretch ends now: what is missing there is RPO, and no gap.
            gaps = sum(each.seconds for each in copy.stretches[:-1] if each.band is Band.GAP)
            values.add("kb_dr_copy_gap_seconds", gaps if copy.stretches else None, copy.copy)
